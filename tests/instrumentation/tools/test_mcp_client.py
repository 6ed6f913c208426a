"""What is recorded of each request that a client sends, and which of its names become labels."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap import faults
from metertap.state import recorder
from metertap_instrumentation.tools.mcp import client, sessions
from metertap_instrumentation.tools.mcp.names import KnownNames
from metertap_instrumentation.tools.mcp.operations import HTTP, Kinds
from support.interrupting import everywhere
from support.metric_data import points
from support.stopped_clock import StoppedClock, stopped

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_tools", KnownNames())
    monkeypatch.setattr(client, "_prompts", KnownNames())
    kinds = Kinds()
    monkeypatch.setattr(client, "_kinds", kinds)
    monkeypatch.setattr(client, "_find_kind", kinds.find)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, client)


class Session:
    """Answers each request by what it is given in the place of the result's type."""

    protocol_version = "2025-11-25"
    sends: Any
    """The method that the SDK's version has."""

    async def send_request(
        self,
        request: Any,
        result_type: Any,
        request_read_timeout_seconds: Any = None,
        metadata: Any = None,
        progress_callback: Any = None,
    ) -> Any:
        del request, request_read_timeout_seconds, progress_callback
        if metadata is not None:
            metadata.takes(2)
        if isinstance(result_type, BaseException):
            raise result_type
        return result_type

    async def send_request_of_later(
        self, request: Any, result_type: Any, *, metadata: Any = None
    ) -> Any:
        return await self.send_request(request, result_type, None, metadata)


session = Session()


@pytest.fixture(autouse=True, params=["send_request", "send_request_of_later"])
def sends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the method have the parameters that are known, or others."""
    monkeypatch.setattr(Session, "sends", getattr(Session, request.param), raising=False)


def request(method: str, name: str | None = None) -> Any:
    return SimpleNamespace(
        method=method, params=None if name is None else SimpleNamespace(name=name)
    )


def answer(**fields: Any) -> Any:
    return SimpleNamespace(**fields)


def send(request: Any, answer: Any, clock: StoppedClock | None = None, live: bool = True) -> Any:
    made = client.send(Session.sends, [True] if live else [])
    return asyncio.run(made(session, request=request, result_type=answer, metadata=clock))


def found(reader: InMemoryMetricReader) -> dict[tuple[Any, ...], int]:
    """Requests by method, tool or prompt, error type and code."""
    names = ("mcp.method.name", "gen_ai.tool.name", "gen_ai.prompt.name", "error.type")
    return {
        tuple(
            point.attributes[name]
            for name in (*names, "rpc.response.status_code")
            if name in point.attributes
        ): point.count
        for point in points(reader, "mcp.client.operation.duration")
    }


def test_a_tool_is_a_label_once_it_was_answered_for(reader: InMemoryMetricReader) -> None:
    with pytest.raises(KeyError):
        send(request("tools/call", "search"), KeyError())
    good = answer(content=[])
    for _ in range(3):
        assert send(request("tools/call", "search"), good) is good
    with pytest.raises(KeyError):
        send(request("tools/call", "search"), KeyError())
    assert found(reader) == {
        ("tools/call", "_OTHER", "KeyError"): 1,
        ("tools/call", "search"): 3,
        ("tools/call", "search", "KeyError"): 1,
    }


@pytest.mark.parametrize("field", ["is_error", "isError"])
def test_an_answer_that_is_an_error_is_one_of_the_tool(
    field: str, reader: InMemoryMetricReader
) -> None:
    send(request("tools/call", "search"), answer(**{field: True}))
    send(request("tools/call", "search"), answer(**{field: False}))
    send(request("tools/call", "search"), answer(**{field: True}))
    assert found(reader) == {
        ("tools/call", "_OTHER", "tool_error"): 1,
        ("tools/call", "search"): 1,
        ("tools/call", "search", "tool_error"): 1,
    }


@pytest.mark.faults
def test_the_names_of_each_list_become_labels(reader: InMemoryMetricReader) -> None:
    for listed in (["search"], ["buy"]):
        send(request("tools/list"), answer(tools=[SimpleNamespace(name=name) for name in listed]))
    send(request("tools/list"), answer())
    for name in ("search", "buy", "made_up"):
        with pytest.raises(KeyError):
            send(request("tools/call", name), KeyError())
    assert found(reader) == {
        ("tools/list",): 3,
        ("tools/call", "search", "KeyError"): 1,
        ("tools/call", "buy", "KeyError"): 1,
        ("tools/call", "_OTHER", "KeyError"): 1,
    }


def test_an_answer_may_be_of_any_type(reader: InMemoryMetricReader) -> None:
    for result in ({"content": "of no model"}, "text", None):
        assert send(request("shop/price"), result) is result
    assert found(reader) == {("shop/price",): 3}
    assert faults.fault_counts() == {}


def test_prompts_and_tools_are_known_apart(reader: InMemoryMetricReader) -> None:
    send(request("prompts/get", "greet"), answer(messages=[]))
    send(request("ping"), answer())
    with pytest.raises(KeyError):
        send(request("tools/call", "greet"), KeyError())
    send(request("resources/read", "never a label"), answer())
    assert found(reader) == {
        ("prompts/get", "greet"): 1,
        ("ping",): 1,
        ("tools/call", "_OTHER", "KeyError"): 1,
        ("resources/read",): 1,
    }


def test_a_request_has_its_duration_its_version_and_its_transport(
    reader: InMemoryMetricReader, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sessions._of_clients, id(session), HTTP)
    for _ in range(2):
        send(SimpleNamespace(root=request("ping")), answer(), clock)
    refused = type("MCPError", (Exception,), {"__module__": "mcp.shared.exceptions"})()
    refused.error = SimpleNamespace(code=-32601)
    with pytest.raises(type(refused)):
        send(request("ping"), refused, clock)
    good, bad = points(reader, "mcp.client.operation.duration")
    common = {
        "mcp.method.name": "ping",
        "mcp.protocol.version": "2025-11-25",
        "network.transport": "tcp",
        "network.protocol.name": "http",
    }
    assert (good.count, good.sum, dict(good.attributes)) == (2, 4.0, common)
    refusal = {"error.type": "-32601", "rpc.response.status_code": "-32601"}
    assert (bad.count, bad.sum, dict(bad.attributes)) == (1, 2.0, {**common, **refusal})


def test_where_it_is_undone_or_no_request_nothing_is_recorded(
    reader: InMemoryMetricReader,
) -> None:
    good = answer()
    assert send(request("ping"), good, live=False) is good
    assert send(None, good) is good
    assert found(reader) == {}
    assert faults.fault_counts() == {}


@pytest.mark.faults
def test_a_request_that_cannot_be_read_is_a_fault_and_nothing_else() -> None:
    good = answer()
    assert send(SimpleNamespace(), good) is good
    with pytest.raises(LookupError):
        send(SimpleNamespace(), LookupError())
    assert faults.fault_counts() == {"mcp.client": 2}


def test_a_call_of_a_known_tool_that_is_interrupted_counts_once_at_most() -> None:
    made = client.send(Session.sends, [True])
    good = answer(content=[SimpleNamespace(text="done")], is_error=False)

    def call() -> None:
        coroutine = made(session, request("tools/call", "search"), good)
        try:
            with contextlib.suppress(StopIteration):
                coroutine.send(None)
        finally:
            coroutine.close()

    def counted() -> tuple[int, int]:
        (operation,) = recorder().figures().operations
        return operation.calls - operation.failed, recorder().weight(
            "search", "mcp-client", "client"
        ).figures().results

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        before = counted()[0]

        def check(number: int) -> None:
            calls, results = counted()
            assert calls == results, number
            assert calls - before in {0, 1}, number

        return call, check

    for _ in range(2):  # the first one opens what the others are kept in
        call()
    assert everywhere(prepare) > 8
    assert faults.fault_counts() == {}


def test_what_a_server_answers_is_a_label_of_bounded_length(
    reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "protocol_version", "\ud800" * 10_000)
    refused = type("MCPError", (Exception,), {"__module__": "mcp.shared.exceptions"})()
    refused.error = SimpleNamespace(code=10**4000)
    with pytest.raises(type(refused)):
        send(request("ping"), refused)
    (point,) = points(reader, "mcp.client.operation.duration")
    assert {"rpc.response.status_code", "mcp.protocol.version"} < point.attributes.keys()
    for value in point.attributes.values():
        assert len(str(value).encode()) <= 200
