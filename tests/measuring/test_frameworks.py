"""What runs all tools of a framework: which one, how it ended, and what another counts already."""

from __future__ import annotations

import logging
import sys
import traceback
import types
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls, frameworks, wrappers
from metertap.measuring.frameworks import Handlers
from metertap.outcomes import CALLER_ERROR, TOOL_ERROR, Ending
from metertap.patching.patch_set import PatchSet
from support.any_framework import MODULE, Named, NoSuchTool, both, outcomes, run

pytestmark = pytest.mark.interpreter


@both
def test_a_call_counts_for_the_tool_that_is_named(framework: Any, means: str) -> None:
    framework.tools["shout"] = str.upper
    assert run(framework, means, "search", 1, 2) == [1, 2]
    assert run(framework, means, "shout", "a") == "A"
    assert run(framework, means, "shout", "b") == "B"
    assert outcomes() == {"search": {"ok": 1}, "shout": {"ok": 2}}


@both
def test_how_it_ended_is_what_the_framework_says(framework: Any, means: str) -> None:
    framework.tools["search"] = lambda: ["failed"]
    assert run(framework, means, "search") == ["failed"]
    framework.tools["slow"] = timing_out
    with pytest.raises(TimeoutError):
        run(framework, means, "slow")
    with pytest.raises(NoSuchTool):
        run(framework, means, "made up")
    assert outcomes() == {
        "search": {"tool_error": 1},
        "slow": {"timeout": 1},
        "_OTHER": {"caller_error": 1},
    }


def timing_out() -> None:
    raise TimeoutError


@both
def test_a_layer_inside_knows_better(framework: Any, means: str) -> None:
    framework.tools["search"] = lambda: framework.handlers.note(Ending(TOOL_ERROR, "KeyError"))
    run(framework, means, "search")
    assert outcomes() == {"search": {"tool_error": 1}}
    assert metertap.get_all_metrics()["tool_metrics"]["search"]["error_types"] == {"KeyError": 1}


def test_what_is_noted_outside_of_a_call_is_nobodys(framework: Any) -> None:
    framework.handlers.note(Ending(TOOL_ERROR))
    run(framework, "run", "search")
    framework.handlers.note(Ending(TOOL_ERROR))
    run(framework, "run", "search")
    assert outcomes() == {"search": {"ok": 2}}


def test_a_note_is_not_for_a_call_of_other_means_inside(framework: Any) -> None:
    def outer() -> None:
        with metertap.measure_tool("inner"):
            framework.handlers.note(Ending(TOOL_ERROR))

    framework.tools["search"] = outer
    run(framework, "run", "search")
    assert outcomes() == {"search": {"ok": 1}, "inner": {"ok": 1}}


@both
def test_what_is_no_call_of_a_tool_is_left_alone(framework: Any, means: str) -> None:
    framework.tools[None] = lambda: "inner business"
    assert run(framework, means, None) == "inner business"
    assert outcomes() == {}


@both
def test_a_tool_that_is_decorated_is_counted_once(framework: Any, means: str) -> None:
    framework.tools["search"] = metertap.tool(name="search")(lambda: "found")
    assert run(framework, means, "search") == "found"
    assert outcomes() == {"search": {"ok": 1}}


def test_a_tool_that_one_framework_runs_for_another_is_counted_once(framework: Any) -> None:
    other = Named("other")
    inner = wrappers.plain_wrapper(other)
    framework.tools["search"] = lambda: inner(lambda _name: "found", framework, ("search",), {})
    assert run(framework, "run", "search") == "found"
    assert outcomes() == {"search": {"ok": 1}}
    assert list(metertap.get_all_metrics()["tool_metrics"]) == ["search"]


def test_a_tool_that_calls_another_makes_two(framework: Any) -> None:
    framework.tools["outer"] = lambda: framework.run("search")
    framework.run("outer")
    framework.tools["outer"] = lambda depth: depth and framework.run("outer", depth - 1)
    framework.run("outer", 2)
    assert outcomes() == {"outer": {"ok": 4}, "search": {"ok": 1}}


@both
def test_exceptions_pass_unchanged(framework: Any, means: str) -> None:
    error = ValueError("k")

    def fail() -> None:
        raise error

    framework.tools["search"] = fail
    with pytest.raises(ValueError, match="k") as raised:
        run(framework, means, "search")
    assert raised.value is error
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if sys.version_info >= (3, 11):
        assert frameworks.__file__ not in files


@pytest.mark.faults
@both
def test_a_fault_of_ours_is_no_fault_of_the_call(
    framework: Any, means: str, caplog: pytest.LogCaptureFixture
) -> None:
    framework.handlers.returned = framework.handlers.raising = lambda _: 1 / 0
    assert run(framework, means, "search", 1) == [1]
    framework.tools["slow"] = timing_out
    with pytest.raises(TimeoutError):
        run(framework, means, "slow")
    with pytest.raises(TypeError, match="unhashable"):
        run(framework, means, ["no name"])
    assert outcomes() == {"search": {"ok": 1}, "slow": {"timeout": 1}}
    assert "metertap: tool framework: ZeroDivisionError" in caplog.text
    assert faults.fault_counts() == {"tool framework": 3}


def test_a_call_inside_another_is_looked_at_by_the_framework(framework: Any) -> None:
    looked_at: list[tuple[str, str, bool]] = []
    framework.handlers.inside = lambda outer, _instance, name, _kwargs: looked_at.append(
        (outer[calls.OWNER].name, name, outer[calls.INSTANCE] == id(framework))
    )
    framework.run("search")
    assert looked_at == []
    framework.tools["outer"] = lambda: framework.run("search")
    framework.run("outer")
    assert looked_at == [("outer", "search", True)]


@pytest.mark.faults
def test_a_method_that_the_framework_lacks_is_a_problem_unless_it_is_optional() -> None:
    module: Any = types.ModuleType(MODULE)
    module.Framework = type("Framework", (), {})
    sys.modules[MODULE] = module
    logging.disable(logging.CRITICAL)
    try:
        for method in (frameworks.plain_method, frameworks.coroutine_method):
            for optional, options in ((True, {"optional": True}), (False, {})):
                patches = PatchSet(MODULE, [method("Framework.gone", Named(), **options)])
                patches.install()
                assert (patches.status == "failed") is not optional
                patches.uninstall()
    finally:
        logging.disable(logging.NOTSET)
        del sys.modules[MODULE]


def test_a_note_is_not_for_a_call_of_another_framework_inside(framework: Any) -> None:
    other = Named("other")
    inner = wrappers.plain_wrapper(other)
    framework.tools["inner"] = lambda: framework.handlers.note(Ending(TOOL_ERROR))
    framework.tools["outer"] = lambda: inner(
        lambda _name: framework.tools["inner"](), framework, ("inner",), {}
    )
    framework.run("outer")
    assert outcomes() == {"outer": {"ok": 1}, "inner": {"ok": 1}}


def test_who_does_not_name_its_tools_is_no_framework() -> None:
    with pytest.raises(NotImplementedError):
        Handlers().name_of(None, (), {})


def test_names_are_bounded(framework: Any) -> None:
    metertap.reset()
    with metertap.instrument(series_limit=3):
        for number in range(10):
            framework.tools[f"tool {number}"] = str
            begun = framework.handlers.begin(framework, (f"tool {number}",), {})
            framework.handlers.ended(begun, None)
        assert len(framework.handlers._slots) == 3
        assert outcomes()["_OTHER"] == {"ok": 7}


@both
def test_exceptions_of_calls_that_are_not_counted_pass_unchanged(
    framework: Any, means: str
) -> None:
    error = ValueError("k")

    def fail() -> None:
        raise error

    framework.tools[None] = fail
    with pytest.raises(ValueError, match="k"):
        run(framework, means, None)
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    if sys.version_info >= (3, 11):
        assert frameworks.__file__ not in files


def test_a_note_stands_whatever_is_raised(framework: Any) -> None:
    def search() -> None:
        framework.handlers.note(Ending(CALLER_ERROR, "Refused"))
        raise KeyError

    framework.tools["search"] = search
    with pytest.raises(KeyError):
        framework.run("search")
    assert outcomes() == {"search": {"caller_error": 1}}


@pytest.mark.faults
def test_a_fault_in_looking_for_the_call_in_progress_is_told(
    framework: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "in_progress", lambda: 1 / 0)
    framework.handlers.note(Ending(TOOL_ERROR))
    framework.handlers.handler_ended()
    assert framework.handlers.untimed(lambda: 5, None, (), {}) == 5
    assert faults.fault_counts() == {"tool framework": 3}


def test_a_reset_makes_new_series() -> None:
    named = Named()
    call = wrappers.plain_wrapper(named)
    for _ in range(2):
        with metertap.instrument(json_endpoint=False):
            call(lambda _name: "found", Sources(), ("search",), {})
            assert outcomes() == {"search": {"ok": 1}}
        metertap.reset()


class Sources:
    """What `Named` looks for names in."""

    tools = ("search",)
