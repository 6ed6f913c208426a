"""What the layers around a handler tell the request in progress, each called by itself."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls
from metertap.outcomes import EXCEPTION, Ending
from metertap_instrumentation.tools.mcp import handlers, requests
from metertap_instrumentation.tools.mcp.operations import TOOLS_CALL
from metertap_instrumentation.tools.mcp.requests import Request
from metertap_instrumentation.tools.mcp.served import Served
from support.stopped_clock import StoppedClock, stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]

LIVE, UNDONE = [True], list[bool]()
BROKEN = Ending(EXCEPTION, "KeyError")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, requests)


@pytest.fixture(autouse=True)
def outside_of_calls() -> Iterator[None]:
    token = calls.current.set(None)
    yield
    calls.current.reset(token)


@pytest.fixture
def request_of(clock: StoppedClock) -> Request:
    """A call of `search` in progress, of which nobody knows whether it exists."""
    return Request.arrived(Served("shop"), TOOLS_CALL, {"name": "search"})


class Server:
    """Does what the frameworks do, as far as it is wrapped."""

    def __init__(
        self, clock: StoppedClock, *known: str, error: BaseException | None = None
    ) -> None:
        self.clock = clock
        self.known = known
        self.error = error
        self.asked: list[str] = []

    def get_tool(self, name: str) -> str | None:
        self.asked.append(name)
        return name if name in self.known else None

    async def find(self, name: str) -> str | None:
        if self.error is not None:
            raise self.error
        return self.get_tool(name)

    async def work(self, *_args: Any, **_kwargs: Any) -> str:
        return self.convert()

    def convert(self, *_args: Any, **_kwargs: Any) -> str:
        self.clock.takes(2)
        if self.error is not None:
            raise self.error
        return "done"


def dispatched(make: Any, server: Server, *args: Any, live: list[bool] = LIVE, **named: Any) -> Any:
    """Call what is made of the server's work."""
    return asyncio.run(make(Server.work, live)(server, *args, **named))


def shows_us(error: BaseException) -> bool:
    files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
    ours = {handlers.__file__, "<metertap>"}
    return not ours.isdisjoint(files) and sys.version_info >= (3, 11)


def outcomes() -> dict[str, dict[str, int]]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    return {
        name: {ended: count for ended, count in tool["outcomes"].items() if count}
        for name, tool in tools.items()
        if tool["total_calls"]
    }


dispatches = pytest.mark.parametrize(
    "dispatch", [handlers.dispatch_by_manager, handlers.dispatch_by_fastmcp]
)


# Which request is meant


def test_the_request_is_found_if_it_is_the_innermost_call(request_of: Request) -> None:
    assert handlers.request_in_progress() is request_of
    with metertap.measure_tool("search"):  # the same call, which is left out
        assert handlers.request_in_progress() is request_of
    assert handlers.request_in_progress() is request_of  # that one has ended
    with metertap.measure_tool("inner"):
        assert handlers.request_in_progress() is None
    request_of.end()
    assert handlers.request_in_progress() is None


def test_without_a_request_there_is_none() -> None:
    assert handlers.request_in_progress() is None
    assert handlers.claimed_request() is None
    assert handlers.claim("search") is None
    with metertap.measure_tool("outer"):
        pass
    assert handlers.request_in_progress() is None


def test_a_request_is_claimed_once_and_by_its_name(request_of: Request) -> None:
    assert handlers.claim("other") is None
    assert handlers.claimed_request() is None
    assert handlers.claim("search") is request_of
    assert handlers.claim("search") is None
    assert handlers.claimed_request() is request_of


# Dispatching


def test_a_manager_is_asked_once_whether_it_has_the_tool(
    request_of: Request, clock: StoppedClock
) -> None:
    server = Server(clock, "search")
    assert dispatched(handlers.dispatch_by_manager, server, "search") == "done"
    assert (request_of.known, request_of.is_registered) == (True, True)
    assert dispatched(handlers.dispatch_by_manager, server, "search") == "done"
    request_of.end()
    registered = Request.arrived(request_of.served, TOOLS_CALL, {"name": "search"})
    dispatched(handlers.dispatch_by_manager, server, name="search")
    assert registered.is_claimed
    assert server.asked == ["search"]


def test_a_manager_that_has_no_such_tool_says_so(request_of: Request, clock: StoppedClock) -> None:
    assert dispatched(handlers.dispatch_by_manager, Server(clock), "search") == "done"
    assert (request_of.known, request_of.is_registered) == (False, False)


@dispatches
@pytest.mark.parametrize("how", [{"name": "search"}, {"key": "search"}, "search"])
def test_a_dispatch_claims_the_request_by_its_name(
    how: Any, dispatch: Any, request_of: Request, clock: StoppedClock
) -> None:
    if how == {"key": "search"} and dispatch is handlers.dispatch_by_manager:
        return  # fastmcp alone calls it so
    args, named = ((), how) if isinstance(how, dict) else ((how,), {})
    assert dispatched(dispatch, Server(clock, "search"), *args, **named) == "done"
    assert request_of.is_claimed


@dispatches
def test_a_dispatch_of_another_tool_tells_nothing(
    dispatch: Any, request_of: Request, clock: StoppedClock
) -> None:
    error = KeyError()
    with pytest.raises(KeyError) as raised:
        dispatched(dispatch, Server(clock, error=error), "other")
    assert raised.value is error
    assert not shows_us(error)
    assert (request_of.is_claimed, request_of.noted, request_of.known) == (False, None, None)


@dispatches
def test_what_a_dispatch_raises_is_noted(
    dispatch: Any, request_of: Request, clock: StoppedClock
) -> None:
    error = KeyError()
    with pytest.raises(KeyError) as raised:
        dispatched(dispatch, Server(clock, "search", error=error), "search")
    assert raised.value is error
    assert not shows_us(error)
    assert request_of.noted == BROKEN


@dispatches
def test_a_cancellation_is_no_error_of_a_tool(
    dispatch: Any, request_of: Request, clock: StoppedClock
) -> None:
    async def cancelled() -> None:
        with pytest.raises(asyncio.CancelledError):
            await dispatch(Server.work, LIVE)(
                Server(clock, "search", error=asyncio.CancelledError()), "search"
            )

    asyncio.run(cancelled())
    assert request_of.noted is None


@dispatches
def test_where_it_is_undone_a_dispatch_tells_nothing(
    dispatch: Any, request_of: Request, clock: StoppedClock
) -> None:
    assert dispatched(dispatch, Server(clock), "search", live=UNDONE) == "done"
    assert not request_of.is_claimed


@pytest.mark.faults
def test_a_manager_that_cannot_be_asked_is_a_fault_and_nothing_else(
    request_of: Request, clock: StoppedClock
) -> None:
    server = Server(clock)
    server.get_tool = None  # type: ignore[assignment, method-assign]
    assert dispatched(handlers.dispatch_by_manager, server, "search") == "done"
    assert faults.fault_counts() == {"mcp.handler": 1}


# Looking up


@pytest.mark.parametrize(
    ("name", "live", "known"),
    [("search", LIVE, True), ("other", LIVE, None), ("none", LIVE, None), ("search", UNDONE, None)],
)
@pytest.mark.parametrize("by", [None, "name", "key"])
def test_a_tool_that_was_found_exists(
    name: str,
    live: list[bool],
    known: bool | None,
    by: str | None,
    request_of: Request,
    clock: StoppedClock,
) -> None:
    async def find(self: Server, **named: Any) -> str | None:
        return self.get_tool(*named.values())

    server = Server(clock, "search", "other")
    made = handlers.lookup(Server.find if by is None else find, live)
    found = asyncio.run(made(server, name) if by is None else made(server, **{by: name}))
    assert found == (None if name == "none" else name)
    assert request_of.known is known


def test_a_lookup_that_fails_says_nothing(request_of: Request, clock: StoppedClock) -> None:
    with pytest.raises(KeyError) as raised:
        asyncio.run(handlers.lookup(Server.find, LIVE)(Server(clock, error=KeyError()), "search"))
    assert not shows_us(raised.value)
    assert request_of.known is None


# Running, and making an answer


@pytest.mark.parametrize("error", [None, KeyError()])
def test_a_tool_that_runs_has_the_request_take_its_time(
    error: KeyError | None, request_of: Request, clock: StoppedClock
) -> None:
    request_of.exists()
    request_of.is_claimed = True
    clock.takes(1)
    server = Server(clock, error=error)
    if error is None:
        assert dispatched(handlers.run, server) == "done"
    else:
        with pytest.raises(KeyError) as raised:
            dispatched(handlers.run, server)
        assert raised.value is error
        assert not shows_us(error)
    clock.takes(4)
    request_of.end(None if error is None else BROKEN)
    [tool] = metertap.get_all_metrics()["tool_metrics"].values()
    assert tool["total_latency_ms"] == 2000


@pytest.mark.parametrize("is_claimed", [False, True])
def test_a_tool_that_runs_for_another_reason_tells_nothing(
    is_claimed: bool, request_of: Request, clock: StoppedClock
) -> None:
    request_of.exists()
    request_of.is_claimed = is_claimed
    dispatched(handlers.run, Server(clock), live=UNDONE if is_claimed else LIVE)
    clock.takes(4)
    request_of.end()
    [tool] = metertap.get_all_metrics()["tool_metrics"].values()
    assert tool["total_latency_ms"] == 6000


@pytest.mark.parametrize(
    ("is_claimed", "live", "expected"),
    [(True, LIVE, 1000), (False, LIVE, 7000), (True, UNDONE, 7000)],
)
def test_making_an_answer_begins_where_the_handler_ended(
    is_claimed: bool, live: list[bool], expected: int, request_of: Request, clock: StoppedClock
) -> None:
    request_of.exists()
    request_of.is_claimed = is_claimed
    clock.takes(1)
    assert handlers.convert(Server.convert, live)(Server(clock), 5) == "done"
    clock.takes(4)
    request_of.end()
    [tool] = metertap.get_all_metrics()["tool_metrics"].values()
    assert tool["total_latency_ms"] == expected


def test_the_content_of_an_answer_is_made_by_what_runs_a_tool(
    request_of: Request, clock: StoppedClock
) -> None:
    request_of.exists()
    request_of.is_claimed = True
    made = handlers.convert_content(Server.convert, LIVE)

    def run() -> str:
        result: str = made(Server(clock))
        return result

    def elsewhere() -> str:
        result: str = made(Server(clock))
        return result

    clock.takes(1)
    assert (run(), elsewhere()) == ("done", "done")
    request_of.end()
    [tool] = metertap.get_all_metrics()["tool_metrics"].values()
    assert tool["total_latency_ms"] == 1000


@pytest.mark.parametrize("make", [handlers.convert, handlers.convert_content])
def test_an_answer_that_cannot_be_made_raises_unchanged(make: Any, clock: StoppedClock) -> None:
    error = KeyError()
    with pytest.raises(KeyError) as raised:
        make(Server.convert, LIVE)(Server(clock, error=error))
    assert raised.value is error
    assert not shows_us(error)


# Before a function


@pytest.mark.faults
def test_what_is_told_before_a_function_changes_nothing_of_it(clock: StoppedClock) -> None:
    told: list[Any] = []
    noted = handlers.before("place", lambda *call: told.append(call))
    assert noted(lambda *args, **named: (args, named), "self", (1,), {"a": 2}) == ((1,), {"a": 2})
    assert told == [("self", (1,), {"a": 2})]
    broken = handlers.before("place", lambda *_call: 1 / 0)
    with pytest.raises(KeyError) as raised:
        broken(Server(clock, error=KeyError()).convert, None, (), {})
    assert not shows_us(raised.value)
    assert faults.fault_counts() == {"place": 1}
