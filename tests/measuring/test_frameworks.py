"""What runs all tools of a framework: which one, how it ended, and what another counts already."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import traceback
import types
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap import catalogue, faults
from metertap.measuring import calls, frameworks, wrappers
from metertap.measuring.frameworks import Handlers
from metertap.outcomes import CALLER_ERROR, TOOL_ERROR, Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.state import recorder
from metertap.weight.definitions import Definition
from support.stopped_clock import StoppedClock, stopped

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
    module: Any = types.ModuleType(MODULE)
    owner = type("Framework", (Framework,), dict(vars(Framework)))
    module.Framework = owner
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, frameworks)


def milliseconds(framework: Any, body: Any) -> float:
    """What is published of one call of a tool with that body."""
    framework.tools["search"] = body
    with contextlib.suppress(KeyError):
        framework.run("search")
    took: float = metertap.get_all_metrics()["tool_metrics"]["search"]["total_latency_ms"]
    assert faults.fault_counts() == {}
    return took


def test_a_call_takes_as_long_as_its_handler(framework: Any, clock: StoppedClock) -> None:
    handlers = framework.handlers
    handlers.handler_begins()  # of no call
    handlers.handler_ended()

    def body() -> None:
        clock.takes(1)
        handlers.handler_begins()
        clock.takes(2)
        handlers.handler_ended()
        clock.takes(4)
        handlers.handler_ended()

    assert milliseconds(framework, body) == 2000


def test_a_handler_that_is_tried_again_takes_all_of_its_tries(
    framework: Any, clock: StoppedClock
) -> None:
    handlers = framework.handlers

    def body() -> None:
        for seconds in (1, 2):
            clock.takes(8)
            handlers.handler_begins()
            clock.takes(seconds)
            handlers.handler_ended()

    assert milliseconds(framework, body) == 11000  # with what the framework does between them


@pytest.mark.parametrize("error", [None, KeyError("k")])
def test_what_is_untimed_is_not_the_handlers(
    error: KeyError | None, framework: Any, clock: StoppedClock
) -> None:
    def log() -> int:
        clock.takes(4)
        if error is not None:
            raise error
        return 5

    def body() -> None:
        clock.takes(1)
        with contextlib.suppress(KeyError):
            assert framework.handlers.untimed(log, None, (), {}) == 5
        framework.handlers.handler_ended()
        with contextlib.suppress(KeyError):
            framework.handlers.untimed(log, None, (), {})

    assert milliseconds(framework, body) == 1000
    with contextlib.suppress(KeyError):
        framework.handlers.untimed(log, None, (), {})  # in no call
    if error is not None and sys.version_info >= (3, 11):
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        assert frameworks.__file__ not in files


@pytest.mark.parametrize("error", [None, KeyError("k")])
def test_a_handler_that_is_watched_tells_its_time(
    error: KeyError | None, framework: Any, clock: StoppedClock
) -> None:
    def handle() -> None:
        clock.takes(2)
        if error is not None:
            raise error

    watched = wrappers.plain_wrapper(frameworks.HandlerTime(framework.handlers))

    def body() -> None:
        clock.takes(1)
        try:
            watched(handle, None, (), {})
        finally:
            clock.takes(4)

    assert milliseconds(framework, body) == 2000
    if error is not None and sys.version_info >= (3, 11):
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        assert files.isdisjoint({frameworks.__file__, wrappers.__file__})


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
    framework.handlers.handler_begins()
    framework.handlers.handler_ended()
    assert framework.handlers.untimed(lambda: 5, None, (), {}) == 5
    assert faults.fault_counts() == {"tool framework": 4}


class Sized:
    """A tool with a definition of that size."""

    def __init__(self, size: int) -> None:
        self.size = size


class Weighed(Named):
    """A framework whose tools have definitions."""

    def __init__(self) -> None:
        super().__init__("weighed")
        self.tools: dict[str, Sized] = {"search": Sized(10), "fetch": Sized(20)}
        self.asked: list[str] = []

    def name_of(self, instance: Any, args: Any, kwargs: Any) -> str:
        return str(args[0])

    def tool_of(self, instance: Any, args: Any, kwargs: Any) -> Sized:
        return self.tools[args[0]]

    def definitions(self, instance: Any, args: Any, kwargs: Any) -> Any:
        self.asked.append(args[0])
        return self.tools.items()

    def define(self, tool: Sized) -> Definition:
        return Definition(tool.size, 0, 0)

    def size_of(self, result: str) -> int:
        return len(result)


def test_definitions_and_results_are_weighed() -> None:
    weighed = Weighed()
    call = wrappers.plain_wrapper(weighed)

    def run(name: str) -> None:
        assert call(lambda _name: "found", None, (name,), {}) == "found"

    def found() -> dict[str, tuple[int, int]]:
        weights = recorder().weight_figures()
        assert weights is not None
        return {
            weight.name: (0 if weight.definition is None else weight.definition.total, weight.total)
            for weight in weights
        }

    tap = metertap.instrument(json_endpoint=False)
    run("search")
    assert found() == {"search": (10, 5), "fetch": (20, 0)}
    run("search")
    assert weighed.asked == ["search"]  # the same tool is defined as it was
    weighed.tools["search"] = Sized(30)
    run("search")
    run("fetch")
    assert found() == {"search": (30, 15), "fetch": (20, 5)}
    assert weighed.asked == ["search", "search", "fetch"]
    tap.shutdown()
    weighed.tools["search"] = Sized(40)
    run("search")
    assert weighed.asked == ["search", "search", "fetch"]


def test_definitions_are_weighed_again_after_a_reset() -> None:
    weighed = Weighed()
    call = wrappers.plain_wrapper(weighed)
    for _ in range(2):
        with metertap.instrument(json_endpoint=False):
            call(lambda _name: "found", None, ("search",), {})
        metertap.reset()
    assert weighed.asked == ["search", "search"]


def test_nothing_is_defined_where_nothing_is_weighed() -> None:
    weighed = Weighed()
    with metertap.instrument(json_endpoint=False, weight=False):
        wrappers.plain_wrapper(weighed)(lambda _name: "found", None, ("search",), {})
    assert weighed.asked == []


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
