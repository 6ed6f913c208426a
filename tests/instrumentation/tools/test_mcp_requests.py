"""One request of a server, told by the layers between its arrival and its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap, catalogue, faults, outcomes
from metertap.measuring import calls
from metertap.outcomes import Ending
from metertap.recording import OperationFigures, ToolFigures
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import names, requests, weights
from metertap_instrumentation.tools.mcp.names import KnownNames, ToolList
from metertap_instrumentation.tools.mcp.operations import (
    HTTP,
    PROMPTS_GET,
    TOOLS_CALL,
    Kind,
    Transport,
    record_session,
)
from metertap_instrumentation.tools.mcp.requests import Request
from metertap_instrumentation.tools.mcp.served import Served
from support.metric_data import points
from support.stopped_clock import StoppedClock, stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]

BROKEN = Ending(outcomes.EXCEPTION, "KeyError")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, requests)


@pytest.fixture(autouse=True)
def outside_of_calls() -> Iterator[None]:
    token = calls.current.set(None)
    yield
    calls.current.reset(token)


@pytest.fixture
def served() -> Served:
    return Served("shop")


def call(served: Served, name: object = "search") -> Request:
    return Request.arrived(served, TOOLS_CALL, {"name": name})


def tools() -> dict[str, ToolFigures]:
    return {item.name: item for item in recorder().figures().tools}


def ended() -> dict[str, dict[str, int]]:
    return {
        name: {ending: count for ending, count in item.counts.items() if count}
        for name, item in tools().items()
    }


def operations() -> dict[tuple[str, str | None], OperationFigures]:
    return {(item.method, item.name): item for item in recorder().figures().operations}


# A call, and its clock


def test_a_call_takes_as_long_as_its_handler_and_its_request_longer(
    served: Served, clock: StoppedClock
) -> None:
    request = call(served)
    request.exists()
    clock.now += 1
    request.begins()
    clock.now += 2
    request.begins()  # a layer inside
    request.returns()
    clock.now += 4
    request.returns()  # a layer outside
    clock.now += 8
    request.end()
    assert tools()["search"].total_ms == 2000
    assert operations()[TOOLS_CALL, "search"].total_ms == 15000


def test_the_innermost_layer_says_when_the_handler_raised(
    served: Served, clock: StoppedClock
) -> None:
    request = call(served)
    inner = KeyError()
    request.exists()
    clock.now += 1
    request.stops(inner)
    clock.now += 2
    request.stops(inner)
    outer = RuntimeError()
    outer.__cause__ = inner
    request.stops(outer)
    around = RuntimeError()
    around.__context__ = outer
    request.fails(around)
    request.end(BROKEN)
    assert tools()["search"].total_ms == 1000


def test_another_error_is_a_later_end(served: Served, clock: StoppedClock) -> None:
    request = call(served)
    request.exists()
    clock.now += 1
    first, second = KeyError(), ValueError()
    request.stops(first)
    clock.now += 2
    request.stops(second)
    request.returns()
    clock.now += 4
    request.end(BROKEN)
    assert tools()["search"].total_ms == 3000
    again = call(served)
    clock.now += 1
    again.stops()
    clock.now += 2
    again.stops()  # an answer was made of what was returned
    clock.now += 4
    again.end()
    assert tools()["search"].total_ms == 6000


def test_a_handler_that_is_tried_again_takes_as_long_as_all_of_its_tries(
    served: Served, clock: StoppedClock
) -> None:
    """Each try raises the same object, or another one in the place of one that is gone."""
    request = call(served)
    request.exists()
    error = KeyError()
    for _ in range(3):
        request.begins()
        clock.now += 1
        request.stops(error)
    clock.now += 4
    request.fails(error)
    request.end(BROKEN)
    assert tools()["search"].total_ms == 3000


def test_a_try_that_fails_before_the_handlers_own_function_ends_nothing_of_the_next(
    served: Served, clock: StoppedClock
) -> None:
    """As where a dependency cannot be had at first, and a middleware tries again."""
    request = call(served)
    request.exists()
    request.begins()
    clock.now += 0.3
    request.fails(ConnectionError())
    clock.now += 0.4
    request.begins()
    request.calls()
    clock.now += 0.25
    request.returns()
    request.end()
    assert tools()["search"].total_ms == pytest.approx(250.0)


def test_a_call_that_ends_before_it_starts_takes_no_time(
    served: Served, clock: StoppedClock
) -> None:
    request = call(served)
    request.exists()
    request.stops()
    clock.now += 0.4
    request.calls()
    request.end()
    assert tools()["search"].total_ms == 0.0


def test_a_circle_of_errors_is_followed_for_a_while(served: Served) -> None:
    request = call(served)
    request.stops(KeyError())
    one, other = ValueError(), ValueError()
    one.__context__, other.__context__ = other, one
    request.stops(one)
    assert request._error == id(one)


@pytest.mark.parametrize(("depth", "is_seen"), [(20, True), (21, False)])
def test_so_many_errors_are_looked_at_behind_one(depth: int, is_seen: bool, served: Served) -> None:
    request = call(served)
    outermost: BaseException = KeyError()
    request.stops(outermost)
    for _ in range(depth):
        outer = ValueError()
        outer.__cause__, outermost = outermost, outer
    assert request._has_seen(outermost) is is_seen


def test_a_request_of_no_tool_has_a_clock_of_its_own(served: Served, clock: StoppedClock) -> None:
    request = Request.arrived(served, "ping", None)
    assert (request.frame, request.is_registered, request.name) == (None, False, None)
    for note in (request.exists, request.begins, request.returns, request.stops, request.abandon):
        note()
    clock.now += 2
    request.end()
    assert request.is_ended
    assert operations()["ping", None].total_ms == 2000
    assert tools() == {}


# Names


@pytest.mark.parametrize("fields", [None, {}, {"name": 5}, {"name": ""}, {"name": None}])
def test_a_call_without_a_name_is_of_no_tool_that_there_is(fields: Any, served: Served) -> None:
    request = Request.arrived(served, TOOLS_CALL, fields)
    assert request.name == catalogue.OTHER
    request.end(requests.MALFORMED, -32602)
    assert ended() == {"_OTHER": {"caller_error": 1}}
    [point] = operations().values()
    assert (point.name, point.error_types) == ("_OTHER", {"-32602": 1})


@pytest.mark.parametrize("name", ["", "_OTHER"])
def test_a_call_by_the_name_of_no_tool_is_the_callers_error(name: str, served: Served) -> None:
    for _ in range(2):  # the second finds nothing that the first has left
        request = Request.arrived(served, TOOLS_CALL, {"name": name})
        assert not request.is_registered
        request.noted = requests.TOOL_ERROR
        request.end(requests.TOOL_ERROR)
    assert ended() == {"_OTHER": {"caller_error": 2}}


def test_a_call_waits_elsewhere_until_its_tool_is_known(served: Served) -> None:
    request = call(served)
    assert not request.is_registered
    assert {name: item.active for name, item in tools().items()} == {"_OTHER": 1}
    request.exists()
    assert request.is_registered
    assert {name: item.active for name, item in tools().items()} == {"search": 1}
    request.exists()
    request.end()
    assert ended() == {"search": {"ok": 1}}
    assert call(served).is_registered  # from the start


def test_requests_of_one_kind_share_it_once_their_tool_is_known(served: Served) -> None:
    waiting = call(served)
    assert call(served).kind is not waiting.kind
    waiting.exists()
    assert call(served).kind is call(served).kind
    assert Request.arrived(served, "ping", None).kind is Request.arrived(served, "ping", None).kind


@pytest.mark.parametrize("known", [None, True])
def test_what_a_request_raises_may_say_that_its_tool_is_unknown(
    known: bool | None, served: Served
) -> None:
    refused = type("NotFoundError", (Exception,), {"__module__": "fastmcp.exceptions"})
    space: dict[str, Any] = {"__name__": "fastmcp.server.server", "refused": refused}
    exec("def find():\n    raise refused", space)
    request = call(served)
    if known:
        request.exists()
    with pytest.raises(refused) as raised:
        space["find"]()
    error = raised.value.with_traceback(raised.tb.tb_next)
    request.raised(error)
    # As in a tool that is there and looks for another one.
    assert ended() == {"search" if known else "_OTHER": {"caller_error": 1}}
    assert request.known is bool(known)


def test_a_call_that_was_recorded_is_not_moved(served: Served) -> None:
    request = call(served)
    request.end(requests.CANCELLED)
    request.exists()
    assert ended() == {"_OTHER": {"cancelled": 1}}


@pytest.mark.parametrize(
    ("known", "ending", "expected"),
    [
        (None, None, {"search": {"ok": 1}}),  # its answer is the proof
        (None, BROKEN, {"_OTHER": {"exception": 1}}),
        (True, BROKEN, {"search": {"exception": 1}}),
        (True, None, {"search": {"ok": 1}}),
        (False, BROKEN, {"_OTHER": {"caller_error": 1}}),
        (False, requests.INTERIM, {"_OTHER": {"interim": 1}}),
        (False, requests.CANCELLED, {"_OTHER": {"cancelled": 1}}),
    ],
)
def test_what_is_known_of_a_tool_decides_where_its_call_counts(
    known: bool | None, ending: Ending | None, expected: dict[str, Any], served: Served
) -> None:
    request = call(served)
    request.known = known
    request.end(ending)
    assert ended() == expected
    assert {item.active for item in tools().values()} == {0}


@pytest.mark.parametrize("listed", [True, False])
def test_what_a_server_has_listed_is_known(listed: bool, served: Served) -> None:
    name = "search" if listed else "other"
    served.listed({name: {"name": name}}, weights.of_wire)
    request = call(served)
    request.end(requests.TOOL_ERROR)
    expected = {"search": {"tool_error": 1}} if listed else {"_OTHER": {"caller_error": 1}}
    assert {name: found for name, found in ended().items() if found} == expected


def test_a_prompt_is_a_label_once_it_was_answered(served: Served) -> None:
    for name, ending in (("greet", BROKEN), ("greet", None), ("greet", None), ("odd", BROKEN)):
        Request.arrived(served, PROMPTS_GET, {"name": name}).end(ending)
    found = {name: (item.calls, item.failed) for (_, name), item in operations().items()}
    assert found == {"_OTHER": (2, 2), "greet": (2, 0)}


# How it ended


def test_what_a_layer_inside_noted_counts_if_the_answer_is_an_error(served: Served) -> None:
    request = call(served)
    request.exists()
    request.fails(TimeoutError())
    assert request.noted == Ending(outcomes.TIMEOUT, "TimeoutError")
    request.end(requests.TOOL_ERROR)
    made_good = call(served)
    made_good.fails(TimeoutError())
    made_good.end()
    given_up = call(served)
    given_up.fails(TimeoutError())
    given_up.end(requests.CANCELLED)
    assert ended() == {"search": {"timeout": 1, "ok": 1, "cancelled": 1}}


def test_a_code_is_the_error_type_of_the_request_and_not_of_the_call(
    served: Served, reader: InMemoryMetricReader
) -> None:
    request = call(served)
    request.exists()
    request.raised(KeyError(), -32603)
    assert tools()["search"].error_types == {"KeyError": 1}
    [point] = points(reader, "mcp.server.operation.duration")
    assert (
        point.attributes["error.type"] == point.attributes["rpc.response.status_code"] == "-32603"
    )


def test_without_a_code_a_request_has_the_error_type_of_its_call(served: Served) -> None:
    request = call(served)
    request.exists()
    request.end(BROKEN)
    assert operations()[TOOLS_CALL, "search"].error_types == {"KeyError": 1}


@pytest.mark.faults
def test_a_call_that_a_fault_left_open_is_abandoned(served: Served) -> None:
    request = call(served)
    request.exists()
    request.abandon()
    assert ended() == {"search": {}}
    assert tools()["search"].active == 0
    done = call(served)
    done.end()
    done.abandon()
    assert ended() == {"search": {"ok": 1}}
    assert faults.fault_counts() == {}


# Names that the other side made known


def test_names_are_learnt_once_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_LIMIT", 2)
    known = KnownNames()
    for name in ("a", "a", "b", "c", "a"):
        known.learn(name)
    assert list(map(known.label, "abc")) == ["a", "b", catalogue.OTHER]


def test_a_list_is_complete_after_an_unbroken_row_of_pages() -> None:
    listed = ToolList()
    assert listed.knows("a") is None
    listed.add(["a"], None, "1")
    assert (listed.knows("a"), listed.knows("b"), listed.is_paged) == (True, None, True)
    listed.add(["b"], "2", None)  # a page was left out
    assert (listed.knows("b"), listed.knows("c")) == (True, None)
    listed.add(["x"], "1", "2")
    listed.add(["b"], "2", None)
    assert listed.knows("c") is False
    listed.add(["a"], None, "1")  # it is read again
    assert listed.knows("c") is False
    whole = ToolList()
    whole.add(["a"], None, None)
    assert (whole.knows("a"), whole.knows("b"), whole.is_paged) == (True, False, False)


# What is recorded


def attributes_of(reader: InMemoryMetricReader, metric: str) -> list[dict[str, Any]]:
    return [dict(point.attributes) for point in points(reader, metric)]


def test_a_kind_has_the_attributes_of_its_method(reader: InMemoryMetricReader) -> None:
    there = Transport("tcp", "http", "example.org", 8443)
    kind = Kind(catalogue.CLIENT_DURATION, (TOOLS_CALL, "search", "2025-11-25", there))
    kind.record(0.5, 1.0)
    kind.record(0.25, 2.0)
    Kind(catalogue.CLIENT_DURATION, (PROMPTS_GET, "greet", None, HTTP)).record_as(
        "greet", "408", 408, 0.5, 1.0
    )
    tool, prompt = points(reader, "mcp.client.operation.duration")
    assert (tool.count, tool.sum, prompt.count) == (2, 0.75, 1)
    assert dict(tool.attributes) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.operation.name": "execute_tool",
        "mcp.protocol.version": "2025-11-25",
        "network.transport": "tcp",
        "network.protocol.name": "http",
        "server.address": "example.org",
        "server.port": 8443,
    }
    assert dict(prompt.attributes) == {
        "mcp.method.name": "prompts/get",
        "gen_ai.prompt.name": "greet",
        "error.type": "408",
        "rpc.response.status_code": "408",
        "network.transport": "tcp",
        "network.protocol.name": "http",
    }


def test_a_session_has_its_version_and_how_it_ended(reader: InMemoryMetricReader) -> None:
    record_session(catalogue.SERVER_SESSION, 2.0, "KeyError", "2025-11-25", HTTP)
    record_session(catalogue.SERVER_SESSION, 1.0, None, 5, HTTP)  # type: ignore[arg-type]
    http = {"network.transport": "tcp", "network.protocol.name": "http"}
    assert attributes_of(reader, "mcp.server.session.duration") == [
        {**http, "error.type": "KeyError", "mcp.protocol.version": "2025-11-25"},
        http,
    ]


def test_a_kind_of_no_series_is_counted_anew_after_a_reset(tap: Tap, served: Served) -> None:
    for _ in range(2):
        request = call(served)
        request.exists()
        request.end()
        metertap.reset_metrics()
    assert ended() == {"search": {}}
