"""What runs all tools of a framework: which one, how it ended, and what another counts already."""

from __future__ import annotations

import asyncio
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap import catalogue
from metertap.measuring import frameworks, wrappers
from metertap.measuring.frameworks import Handlers
from metertap.outcomes import CALLER_ERROR, TOOL_ERROR, Ending
from metertap.patching.patch_set import PatchSet, Target

pytestmark = pytest.mark.interpreter

MODULE = "metertap_test_framework"


class NoSuchTool(Exception):
    """Raised by the framework, not by a tool."""


class Framework:
    """Runs what it is given by name."""

    tools: dict[str, Any]

    def run(self, name: Any, *args: Any) -> Any:
        return self.find(name)(*args)

    async def later(self, name: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        return self.find(name)(*args)

    def find(self, name: Any) -> Any:
        if name not in self.tools:
            raise NoSuchTool
        return self.tools[name]


class Named(Handlers):
    def __init__(self, source: str = "framework") -> None:
        self.source = source
        super().__init__()

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str | None:
        if args[0] is None:
            return None
        return args[0] if args[0] in instance.tools else catalogue.OTHER

    def returned(self, result: Any) -> Ending | None:
        return Ending(TOOL_ERROR, TOOL_ERROR) if result == ["failed"] else None

    def raising(self, error: BaseException) -> Ending:
        if isinstance(error, NoSuchTool):
            return Ending(CALLER_ERROR, "NoSuchTool")
        return super().raising(error)


@pytest.fixture(params=["function", "wrapt"])
def framework(request: pytest.FixtureRequest) -> Iterator[Framework]:
    module = types.ModuleType(MODULE)
    owner = type("Framework", (Framework,), dict(vars(Framework)))
    module.Framework = owner  # type: ignore[attr-defined]
    sys.modules[MODULE] = module
    named = Named()
    targets = [
        frameworks.plain_method("Framework.run", named),
        frameworks.coroutine_method("Framework.later", named),
    ]
    if request.param == "wrapt":
        targets = [Target(target.attribute, target.wrapper) for target in targets]
    patches = PatchSet(MODULE, targets)
    with metertap.instrument(json_endpoint=False):
        patches.install()
        made = owner()
        made.handlers = named
        made.tools = {"search": lambda *args: list(args)}
        yield made
        patches.uninstall()
    del sys.modules[MODULE]


def run(framework: Any, means: str, *args: Any) -> Any:
    result = getattr(framework, means)(*args)
    return asyncio.run(result) if means == "later" else result


def outcomes() -> dict[str, dict[str, int]]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    assert all(tool["active_calls"] == 0 for tool in tools.values())
    return {
        name: {ended: calls for ended, calls in tool["outcomes"].items() if calls}
        for name, tool in tools.items()
        if tool["total_calls"]
    }


both = pytest.mark.parametrize("means", ["run", "later"])


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
    framework.tools["search"] = lambda *args: "found"
    framework.handlers.returned = framework.handlers.raising = lambda _: 1 / 0
    assert run(framework, means, "search") == "found"
    framework.tools["slow"] = timing_out
    with pytest.raises(TimeoutError):
        run(framework, means, "slow")
    with pytest.raises(TypeError, match="unhashable"):
        run(framework, means, ["no name"])
    assert outcomes() == {"search": {"ok": 1}, "slow": {"timeout": 1}}
    assert "metertap: tool framework: ZeroDivisionError" in caplog.text


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
