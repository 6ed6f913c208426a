"""The function of the SDK 2.x that every request of a server passes, called by itself."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import TypeAdapter, ValidationError

import metertap
from kits.cache_kit import shows_us
from metertap import catalogue, faults
from metertap.measuring import calls
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import requests, served, sessions, v2, weights
from metertap_instrumentation.tools.mcp.operations import PIPE, Kind
from metertap_instrumentation.tools.mcp.served import find_served, served_by
from support.interrupting import everywhere
from support.metric_data import points
from support.stopped_clock import stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]


class Server:
    """Has handlers for some methods."""

    name = "shop"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_request_handler(self, method: str) -> object:
        self.asked.append(method)
        return method if method in {"tools/call", "tools/list", "ping"} else None


class Runner:
    """Stands for the SDK's `ServerRunner`: it answers by what `result` is."""

    def __init__(self, result: Any = None) -> None:
        self.server = Server()
        self.connection = SimpleNamespace(protocol_version="2025-11-25")
        self.result = {} if result is None else result

    async def on_request(self, dctx: Any, method: str, params: Any) -> Any:
        del dctx, method, params
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result() if callable(self.result) else self.result


on_request = v2.serve


def context(kind: str = "jsonrpc", *, over_http: bool = False, is_cancelled: bool = False) -> Any:
    metadata = SimpleNamespace(request_context=object()) if over_http else None
    cancelled = asyncio.Event()
    if is_cancelled:
        cancelled.set()
    return SimpleNamespace(
        cancel_requested=cancelled,
        transport=SimpleNamespace(kind=kind),
        message_metadata=metadata,
    )


def answered(
    runner: Runner, method: str, params: Any = None, dctx: Any = None, live: bool = True
) -> Any:
    made = on_request(Runner.on_request, [True] if live else [])
    return asyncio.run(made(runner, dctx or context(), method, params))


def outcomes() -> dict[str, dict[str, int]]:
    tools = metertap.get_all_metrics()["tool_metrics"]
    assert all(tool["active_calls"] == 0 for tool in tools.values())
    return {
        name: {ended: count for ended, count in tool["outcomes"].items() if count}
        for name, tool in tools.items()
    }


def attributes(reader: InMemoryMetricReader) -> list[dict[str, Any]]:
    return [dict(point.attributes) for point in points(reader, "mcp.server.operation.duration")]


CALL = ("tools/call", {"name": "search"})


def test_a_method_that_the_server_has_no_handler_for_is_no_label(
    reader: InMemoryMetricReader,
) -> None:
    runner = Runner()
    for method in ("ping", "ping", "made/up", "made/up", "initialize"):
        assert answered(runner, method) == {}
    found = {item["mcp.method.name"] for item in attributes(reader)}
    assert found == {"ping", "_OTHER", "initialize"}
    # Of the same request it is asked once; `initialize` the SDK answers itself.
    assert runner.server.asked == ["ping", "made/up", "made/up"]


@pytest.mark.parametrize(
    ("dctx", "transport"),
    [
        (context("streamable-http"), "tcp"),
        (SimpleNamespace(_inner=context("streamable-http")), "tcp"),
        (context(over_http=True), "tcp"),
        (context(), "pipe"),
        (context("memory"), None),
        (context("memory", over_http=True), None),
    ],
)
def test_a_request_says_what_it_came_over(
    dctx: Any, transport: str | None, reader: InMemoryMetricReader
) -> None:
    token = sessions._carrier.set(sessions._Carrier(PIPE))
    try:
        answered(Runner(), "ping", dctx=dctx)
    finally:
        sessions._carrier.reset(token)
    [found] = attributes(reader)
    assert found.get("network.transport") == transport
    assert found["mcp.protocol.version"] == "2025-11-25"


@pytest.mark.parametrize(
    ("result", "dctx", "expected"),
    [
        ({}, context(), {"search": {"ok": 1}}),
        ({"resultType": "complete", "isError": False}, context(), {"search": {"ok": 1}}),
        ({"isError": True}, context(), {"search": {"tool_error": 1}}),
        ({"isError": "yes"}, context(), {"search": {"ok": 1}}),
        ({"resultType": "input_required", "isError": True}, context(), {"search": {"interim": 1}}),
        ({"isError": True}, context(is_cancelled=True), {"search": {"cancelled": 1}}),
        (KeyError(), context(), {"search": {"exception": 1}}),
        (TimeoutError(), context(), {"search": {"timeout": 1}}),
    ],
)
def test_a_call_ends_as_its_answer_says(result: Any, dctx: Any, expected: Any) -> None:
    runner = Runner(result)
    served_by(runner.server).tools.add(["search"], None, None)
    with contextlib.suppress(KeyError, TimeoutError):
        assert answered(runner, *CALL, dctx) is result
    assert outcomes() == expected


def test_the_pages_of_a_list_are_put_together() -> None:
    runner = Runner({"tools": [{"name": "a"}], "nextCursor": "1"})
    assert answered(runner, "tools/list") == runner.result
    tools = served_by(runner.server).tools
    assert (tools.knows("a"), tools.knows("b")) == (True, None)
    runner.result = {"tools": [{"name": "b"}]}
    answered(runner, "tools/list", {"cursor": 5})  # refused by whoever knows its pages
    assert outcomes() == {"a": {}, "b": {}}
    runner.result = {"tools": [{"name": "b"}]}
    answered(runner, "tools/list", {"cursor": "1"})
    assert tools.knows("c") is False


def refusing(module: str) -> Any:
    """Make what asks a model in that module, and raises what this says."""
    space: dict[str, Any] = {"__name__": module, "adapter": TypeAdapter(int)}
    exec("def parse():\n    return adapter.validate_python('many')", space)
    return space["parse"]


@pytest.mark.parametrize(
    ("module", "outcome", "error_type"),
    [
        ("mcp.server.runner", "caller_error", "-32602"),
        ("shop", "exception", "ValidationError"),
    ],
)
def test_a_model_that_does_not_fit_is_the_callers_if_the_sdk_says_so(
    module: str, outcome: str, error_type: str, reader: InMemoryMetricReader
) -> None:
    runner = Runner(refusing(module))
    with pytest.raises(ValidationError):
        answered(runner, *CALL)
    assert outcomes() == {"_OTHER": {outcome: 1}}
    [tool] = metertap.get_all_metrics()["tool_metrics"].values()
    assert tool["error_types"] == {error_type: 1}
    [found] = attributes(reader)
    assert found["error.type"] == found["rpc.response.status_code"] == "-32602"


def test_the_code_of_an_error_is_what_the_client_is_told(reader: InMemoryMetricReader) -> None:
    refused = type("MCPError", (Exception,), {"__module__": "mcp.shared.exceptions"})()
    refused.error = SimpleNamespace(code=-32601)
    with pytest.raises(type(refused)):
        answered(Runner(refused), *CALL)
    assert outcomes() == {"_OTHER": {"caller_error": 1}}
    [found] = attributes(reader)
    assert found["rpc.response.status_code"] == "-32601"


@pytest.mark.faults
@pytest.mark.parametrize("result", [5, {"isError": False, "tools": None}])
def test_an_answer_that_cannot_be_read_is_a_fault_and_its_call_is_over(result: Any) -> None:
    runner = Runner(result)
    assert answered(runner, *CALL) == result
    assert answered(runner, "tools/list") == result
    assert faults.fault_counts() == {"mcp.request": 2 if result == 5 else 1}
    assert {
        tool["active_calls"] for tool in metertap.get_all_metrics()["tool_metrics"].values()
    } <= {0}


@pytest.mark.faults
def test_a_call_whose_error_cannot_be_read_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.errors, "meaning", None)
    with pytest.raises(KeyError):
        answered(Runner(KeyError()), *CALL)
    assert faults.fault_counts() == {"mcp.request": 1}
    assert outcomes() == {}


@pytest.mark.faults
def test_a_request_that_cannot_be_read_is_a_fault_and_nothing_else() -> None:
    assert answered(Runner(), "ping", dctx=object()) == {}
    assert faults.fault_counts() == {"mcp.request": 1}


@pytest.mark.parametrize("calls_another", [False, True])
@pytest.mark.parametrize(("method", "milliseconds"), [("tools/call", 1000), ("tools/list", 3000)])
def test_a_handler_has_ended_when_its_result_is_serialized(
    method: str, milliseconds: int, calls_another: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = stopped(monkeypatch, calls, requests, v2)

    def serialize(self: Any, method: str, version: str, result: Any) -> Any:
        del self
        clock.takes(2)
        return method, version, result

    def work() -> dict[str, Any]:
        if calls_another:
            with metertap.measure_tool("inner"):
                clock.takes(1)
        else:
            clock.takes(1)
        made = v2.note(serialize, [True])
        assert made(runner, method, "v", 5) == (method, "v", 5)
        return {}

    runner = Runner(work)
    served_by(runner.server).tools.add(["search"], None, None)
    answered(runner, *CALL)
    tool = metertap.get_all_metrics()["tool_metrics"]["search"]
    assert tool["total_latency_ms"] == milliseconds


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_further_call_of_a_known_tool_needs_no_request(
    is_folded: bool, monkeypatch: pytest.MonkeyPatch, reader: InMemoryMetricReader
) -> None:
    clock = stopped(monkeypatch, calls, requests, v2)
    content = {"content": [{"type": "text", "text": "done"}]}

    def serialize(self: Any, method: str, version: str, result: Any) -> dict[str, Any]:
        del self, method, version, result
        return content

    def work() -> dict[str, Any]:
        frame = calls.around()
        assert frame is not None
        clock.takes(1)
        frame[calls.STARTED] = clock()  # as a framework does when the handler begins
        clock.takes(2)
        result: dict[str, Any] = noted(runner, "tools/call", "v", 5)
        clock.takes(4)
        return result

    noted = v2.note(serialize, [True])
    runner = Runner({**content})
    tool = recorder().tool("search", "mcp:shop")
    made = on_request(Runner.on_request, [True])

    async def session() -> None:
        for _ in range(2):
            await made(runner, context(), *CALL)
        runner.result = work
        monkeypatch.delattr(v2, "_begin")
        monkeypatch.delattr(v2.handlers, "request_in_progress")
        if is_folded:
            tool.tick = iter(()).__next__  # as when waiting calls are to be folded
        await made(runner, context(), *CALL)
        runner.result = lambda: work() and {**content, "isError": True}
        await made(runner, context(), *CALL)

    asyncio.run(session())
    figures = tool.figures()
    assert (figures.total_ms, figures.counts["ok"], figures.with_cache) == (4000.0, 3, None)
    assert sorted(point.sum for point in points(reader, "mcp.server.operation.duration")) == [
        7.0,
        7.0,
    ]


def test_an_error_of_serializing_a_result_has_no_frame_of_ours() -> None:
    def serialize(self: Any, method: str, version: str, result: Any) -> None:
        raise ValueError(self, method, version, result)

    with pytest.raises(ValueError, match="tools/call") as raised:
        v2.note(serialize, [True])(Runner(), "tools/call", "v", 5)
    assert not shows_us(raised.value)


def test_what_is_known_of_a_server_goes_with_it() -> None:
    server = Server()
    known = served_by(server)
    assert served_by(server) is find_served(key := id(server)) is known
    del server
    gc.collect()
    assert find_served(key) is None


def test_a_kind_that_a_reset_overtakes_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    known, key = served_by(server := Server()), ("ping", None, "v", PIPE)
    assert known.kind(*key) is known.find_kind(key)
    recorder().forget_slots()

    def made(*arguments: Any) -> Kind:
        recorder().reset()
        return Kind(*arguments)

    monkeypatch.setattr(served, "Kind", made)
    assert known.kind(*key).method == "ping"
    assert known.find_kind(key) is None
    assert known.answers(server, "ping")


def test_a_result_of_a_clients_other_request_has_no_weight() -> None:
    kind = Kind(catalogue.CLIENT_DURATION, ("made/up", None, "v", PIPE))
    weights.received(kind, {"content": [{"type": "text", "text": "done"}]})
    assert recorder().figures().weights == ()


def test_further_requests_are_recorded_by_the_data_point_itself() -> None:
    kind = Kind(catalogue.CLIENT_DURATION, ("ping", None, "v", PIPE))
    first = kind.record
    kind.record(0.5, 1.0)
    assert kind.record != first
    kind.record(0.5, 2.0)
    (operation,) = recorder().figures().operations
    assert operation.calls == 2


def test_a_result_of_no_request_is_serialized_as_it_was() -> None:
    v2._serializes(None, "tools/call")
    with metertap.measure_tool("inner"):
        v2._serializes(None, "tools/call")
    assert faults.fault_counts() == {}


@pytest.mark.parametrize("traces", [False, True])
def test_a_call_of_a_known_tool_that_is_interrupted_is_over_and_counts_once_at_most(
    traces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder(), "sampled_context", None)
    if traces:
        recorder().trace_with(Context)
    runner = Runner({"content": [{"type": "text", "text": "done"}]})
    made = on_request(Runner.on_request, [True])
    tool = recorder().tool("search", "mcp:shop")

    def call() -> None:
        coroutine = made(runner, context("direct"), *CALL)
        try:
            with contextlib.suppress(StopIteration):
                coroutine.send(None)
        finally:
            coroutine.close()

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        inside = contextvars.Context()
        before = tool.figures().counts["ok"]

        def check(number: int) -> None:
            assert tool.active == 0, number
            assert tool.figures().counts["ok"] - before in {0, 1}, number
            (operation,) = recorder().figures().operations
            assert operation.calls - operation.failed == tool.figures().counts["ok"], number

        return lambda: inside.run(call), check

    for _ in range(2):  # the first one opens what the others are kept in
        contextvars.Context().run(call)
    assert everywhere(prepare) > 20
    assert tool.routes
