"""The frameworks on top of the SDK: what is watched in which version, and when a function runs."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls
from metertap_instrumentation.tools.mcp import frameworks, handlers, mcpserver, requests
from metertap_instrumentation.tools.mcp.operations import TOOLS_CALL
from metertap_instrumentation.tools.mcp.requests import Request
from metertap_instrumentation.tools.mcp.served import Served
from support.stopped_clock import StoppedClock, stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, requests)


@pytest.fixture
def claimed(clock: StoppedClock) -> Iterator[Request]:
    """A call of `search` that a framework runs, until the end of the test."""
    token = calls.current.set(None)
    made = Request.arrived(Served("shop"), TOOLS_CALL, {"name": "search"})
    made.known = made.is_claimed = True
    yield made
    calls.current.reset(token)


class Metadata:
    """Runs a handler's function as `FuncMetadata` of mcp 2.x does; what is around it takes time."""

    def __init__(self, clock: StoppedClock) -> None:
        self.clock = clock

    async def call_fn(self, fn: Any, fn_is_async: bool, argument: Any) -> Any:
        self.clock.takes(10)
        result = fn(argument)
        return await result if fn_is_async else result

    async def call_fn_with_arg_validation(self, fn: Any, fn_is_async: bool, argument: Any) -> Any:
        return await self.call_fn(fn, fn_is_async, argument)


def ended(request: Request) -> float:
    """End the request, and return how long its call took in seconds."""
    request.end()
    total: float = metertap.get_all_metrics()["tool_metrics"]["search"]["total_latency_ms"]
    return total / 1000


def shows_us(error: BaseException) -> bool:
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    return frameworks.__file__ in files and sys.version_info >= (3, 11)


RUNS = [
    ("call_fn", False, 2),
    ("call_fn", True, 12),  # an async function is called at once
    ("call_fn_with_arg_validation", False, 2),
    ("call_fn_with_arg_validation", True, 2),  # its arguments are validated before
]


@pytest.mark.parametrize(("name", "is_async", "expected"), RUNS)
@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("error", [None, KeyError("broken")])
def test_a_call_takes_as_long_as_its_function(
    error: Exception | None,
    by_name: bool,
    name: str,
    is_async: bool,
    expected: float,
    clock: StoppedClock,
    claimed: Request,
) -> None:
    def work(argument: str) -> str:
        clock.takes(2)
        if error is not None:
            raise error
        return argument

    async def later(argument: str) -> str:
        return work(argument)

    run = frameworks.call_function(getattr(Metadata, name), [True])
    function = later if is_async else work
    clock.takes(7)  # before that the framework validates
    named = {"fn_is_async": is_async, "argument": "done"}

    def main() -> Any:
        if by_name:
            return asyncio.run(run(Metadata(clock), function, **named))
        return asyncio.run(run(Metadata(clock), function, is_async, "done"))

    if error is None:
        assert main() == "done"
    else:
        with pytest.raises(KeyError) as raised:
            main()
        assert raised.value is error
        assert not shows_us(error)
    clock.takes(5)
    assert ended(claimed) == expected


@pytest.mark.parametrize("live", [[], [True]])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_that_is_not_watched_runs_as_it_is(
    is_async: bool, live: list[bool], clock: StoppedClock, claimed: Request
) -> None:
    ran: list[Any] = []

    class Bare(Metadata):
        async def call_fn(self, fn: Any, fn_is_async: bool, argument: Any) -> Any:
            ran.append(fn)
            return argument

    claimed.is_claimed = bool(not live)  # undone, or in a call that no framework runs

    def work() -> None:
        """Is not called."""

    run = frameworks.call_function(Bare.call_fn, live)
    assert asyncio.run(run(Bare(clock), work, is_async, "done")) == "done"
    assert ran == [work]
    clock.takes(5)
    assert ended(claimed) == 5


@pytest.mark.faults
def test_a_fault_of_ours_keeps_no_function_from_running(
    clock: StoppedClock, claimed: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    async def later(argument: str) -> str:
        return argument

    run = frameworks.call_function(Metadata.call_fn, [True])
    with monkeypatch.context() as patched:
        patched.setattr(claimed, "stops", broken)
        assert asyncio.run(run(Metadata(clock), later, True, "done")) == "done"
    assert faults.fault_counts() == {handlers.PLACE: 1}
    monkeypatch.setattr(handlers, "claimed_request", broken)
    assert asyncio.run(run(Metadata(clock), later, True, "done")) == "done"
    assert faults.fault_counts() == {handlers.PLACE: 2}
    watched = frameworks.watch_function(lambda function: function, None, (later,), {})
    assert watched is later
    assert faults.fault_counts() == {handlers.PLACE: 3}


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_of_fastmcp_is_watched_in_a_call_of_a_framework_alone(
    is_async: bool, clock: StoppedClock, claimed: Request
) -> None:
    def work(number: int) -> int:
        """Do it."""
        clock.takes(2)
        return 10 // number

    async def later(number: int) -> int:
        """Do it."""
        return work(number)

    function: Callable[..., Any] = later if is_async else work

    def found() -> Any:
        return frameworks.watch_function(lambda given: given, None, (function,), {})

    def called(made: Any, number: int) -> Any:
        return asyncio.run(made(number)) if is_async else made(number)

    watched = found()
    assert watched is not function
    assert found() is watched
    assert inspect.signature(watched) == inspect.signature(function)
    assert inspect.iscoroutinefunction(watched) is is_async
    given = frameworks.watch_function(lambda *given: given, None, (function, 1, 2), {})
    assert given == (watched, 1, 2)
    claimed.is_claimed = False
    assert found() is function
    claimed.is_claimed = True
    clock.takes(10)
    assert called(watched, 5) == 2
    with pytest.raises(ZeroDivisionError) as raised:
        called(watched, 0)
    assert not shows_us(raised.value)
    assert ended(claimed) == 4


@pytest.mark.parametrize(
    ("version", "module", "expected"),
    [
        (None, None, {}),
        (
            "2.14.5",
            "tool",
            {"FastMCP._call_tool_middleware", "FunctionTool.run", "_convert_to_content"},
        ),
        ("3.0.0", "tool", {"FastMCP.call_tool", "Tool._run", "Tool.convert_result"}),
        ("3.1.9", "tool", {"FastMCP.call_tool", "Tool._run", "Tool.convert_result"}),
        ("3.2", "base", {"FastMCP.call_tool", "Tool._run", "Tool.convert_result"}),
        ("4.1", "base", {"FastMCP.call_tool", "Tool._run", "Tool.convert_result"}),
    ],
)
def test_what_is_watched_in_fastmcp_is_what_that_version_has(
    version: str | None,
    module: str | None,
    expected: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frameworks.distributions, "version", lambda _name: version)
    found = frameworks._fastmcp_patch_sets()
    always = {"FastMCP.get_tool", "without_injected_parameters"}
    attributes = {target.attribute for item in found for target in item.targets}
    assert attributes == (expected | always if version else set())
    modules = {item.module for item in found}
    assert modules & {"fastmcp.tools.tool", "fastmcp.tools.base"} == (
        {f"fastmcp.tools.{module}"} if module else set()
    )


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.0.3", "FuncMetadata.call_fn_with_arg_validation"),
        ("2.1.0", "FuncMetadata.call_fn"),
        ("2.3.0", "FuncMetadata.call_fn"),
    ],
)
def test_what_runs_a_function_is_watched_by_the_name_that_it_has(
    version: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcpserver.distributions, "version", lambda _name: version)
    targets = [target.attribute for found in mcpserver.patch_sets() for target in found.targets]
    assert expected in targets
