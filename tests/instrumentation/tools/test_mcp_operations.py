"""The histograms of MCP requests, seen from the server and from the client, and the gauges."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic import AnyUrl

from metertap import Tap, faults
from metertap.state import recorder
from servers.mcp_stacks import MCP, Stack, of_this_sdk, stacks
from servers.mcp_tools import Gate
from support.metric_data import points
from support.waiting import wait_for

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]

sdk = of_this_sdk()
SERVER, CLIENT = "mcp.server.operation.duration", "mcp.client.operation.duration"
ALL = stacks()
HIGH_LEVEL = [stack for stack in ALL if stack.empty is not None]


def operations(reader: InMemoryMetricReader, metric: str) -> Counter[tuple[Any, ...]]:
    """(method, tool or prompt, error type, code) of each request; every duration is one."""
    found: Counter[tuple[Any, ...]] = Counter()
    for point in points(reader, metric):
        attributes = point.attributes
        name = attributes.get("gen_ai.tool.name") or attributes.get("gen_ai.prompt.name")
        error, code = attributes.get("error.type"), attributes.get("rpc.response.status_code")
        found[attributes["mcp.method.name"], name, error, code] += point.count
    return found


def uri(text: str) -> Any:
    return AnyUrl(text) if MCP < (2,) else text


def a_server_with_everything(stack: Stack) -> Any:
    def note() -> str:
        return "note"

    def greet() -> str:
        return "hello"

    assert stack.empty is not None
    server = stack.empty("shop")
    server.tool()(note)
    server.prompt()(greet)
    server.resource("data://note")(note)
    return server


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_every_request_is_timed_by_its_method_on_both_sides(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    async def session() -> None:
        async with stack.connect(a_server_with_everything(stack)) as session:
            await session.list_tools()
            await session.call_tool("note", {})
            await session.call_tool("made_up", {})
            await session.list_prompts()
            await session.get_prompt("greet")
            await session.list_resources()
            await session.read_resource(uri("data://note"))
            if "2026" not in stack.name:
                await session.send_ping()

    asyncio.run(session())
    expected = Counter(
        {
            ("tools/call", "note", None, None): 1,
            ("tools/call", "_OTHER", "tool_error", None): 1,
            ("prompts/list", None, None, None): 1,
            ("prompts/get", "greet", None, None): 1,
            ("resources/list", None, None, None): 1,
            ("resources/read", None, None, None): 1,
        }
    )
    if "2026" not in stack.name:
        expected.update({("initialize", None, None, None): 1, ("ping", None, None, None): 1})
    for metric in (SERVER, CLIENT):
        found = operations(reader, metric)
        # Some clients list the tools by themselves.
        assert found.pop(("tools/list", None, None, None)) >= 1
        found.pop(("server/discover", None, None, None), None)
        assert found == expected, metric
    # What views are made of says the same as what is exported.
    for side, metric in (("server", SERVER), ("client", CLIENT)):
        exported: Counter[tuple[Any, ...]] = Counter()
        for (method, name, *_), count in operations(reader, metric).items():
            exported[method, name] += count
        figures = recorder().figures().operations
        shown = {(item.method, item.name): item.calls for item in figures if item.side == side}
        assert shown == exported, side


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_resources_alone_are_activity(stack: Stack) -> None:
    seen: list[str] = []
    recorder().on_activity(lambda: seen.append("seen"))

    async def session() -> None:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.resource("data://note", name="note")(lambda: "note")
        async with stack.connect(server) as session:
            await session.read_resource(uri("data://note"))

    asyncio.run(session())
    assert seen == ["seen"]


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_refused_request_has_its_code_and_no_name_of_the_clients(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    async def session() -> None:
        async with stack.connect(a_server_with_everything(stack)) as session:
            with contextlib.suppress(Exception):
                await session.get_prompt("made_up")
            with contextlib.suppress(Exception):
                await session.read_resource(uri("data://made_up"))

    asyncio.run(session())
    clients = operations(reader, CLIENT)
    for method, name in (("prompts/get", "_OTHER"), ("resources/read", None)):
        [(error, code)] = [key[2:] for key in clients if key[:2] == (method, name)]
        assert error == code
        assert int(code) <= 0
    servers = operations(reader, SERVER)
    assert [key[1] for key in servers if key[0] == "prompts/get"] == ["_OTHER"]
    assert all(key[2] is not None for key in servers if key[0] in {"prompts/get", "resources/read"})


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_prompt_that_was_listed_has_its_name_where_it_always_fails(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    def broken() -> str:
        raise LookupError

    async def session() -> None:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.prompt()(broken)
        async with stack.connect(server) as session:
            await session.list_prompts()
            for name in ("broken", "made_up"):
                with contextlib.suppress(Exception):
                    await session.get_prompt(name)

    asyncio.run(session())
    for metric in (SERVER, CLIENT):
        keys = [key for key in operations(reader, metric) if key[0] == "prompts/get"]
        assert sorted(key[1] for key in keys) == ["_OTHER", "broken"]
        assert all(key[2] is not None for key in keys)


@pytest.mark.parametrize("stack", ALL, ids=str)
def test_attributes_of_a_tool_call_are_those_of_the_conventions(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    async def session() -> None:
        async with stack.connect(stack.build(Gate())) as session:
            await session.call_tool("fine", {})

    asyncio.run(session())
    expected = {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "fine",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.type": "function",
    }
    if MCP >= (2,):
        expected["mcp.protocol.version"] = stack.name.split()[-1]
    for metric in (SERVER, CLIENT):
        found = [
            point
            for point in points(reader, metric)
            if point.attributes["mcp.method.name"] == "tools/call"
        ]
        assert [dict(point.attributes) for point in found] == [expected], metric
        assert found[0].explicit_bounds[0] == 0.01
        assert found[0].explicit_bounds[-1] == 300


@pytest.mark.skipif(MCP < (2,), reason="the SDK 1.x refuses methods that are none by itself")
@pytest.mark.parametrize("stack", ALL, ids=str)
def test_a_method_that_no_server_knows_is_no_label(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    import mcp_types

    class MadeUp(mcp_types.Request[Any, str]):
        method: str = "made/up"
        params: Any = None

    async def session() -> None:
        async with stack.connect(stack.build(Gate())) as session:
            with contextlib.suppress(Exception):
                await session.send_request(MadeUp(), mcp_types.EmptyResult)

    asyncio.run(session())
    assert operations(reader, SERVER)["_OTHER", None, "-32601", "-32601"] == 1


def test_a_client_that_waits_no_longer_records_the_timeout(reader: InMemoryMetricReader) -> None:
    async def session() -> None:
        gate = Gate()
        stack = ALL[0]
        seconds = 0.05
        limit = timedelta(seconds=seconds) if MCP < (2,) else seconds
        async with stack.connect(stack.build(gate)) as session:
            await session.call_tool("fine", {})  # else its name would be new to the client
            with contextlib.suppress(Exception):
                await session.call_tool("waits", {}, read_timeout_seconds=limit)
            gate.released.set()
            await session.call_tool("fine", {})  # the server has seen to both when it answers

    asyncio.run(session())
    code = "408" if MCP < (2,) else "-32001"
    assert operations(reader, CLIENT)["tools/call", "waits", code, code] == 1


def test_a_request_that_is_none_is_no_fault_of_the_meters() -> None:
    async def ask() -> None:
        async with sdk.connect(sdk.dispatcher("shop", _handle, [["work"]])) as session:
            with pytest.raises((TypeError, AttributeError)):
                await session.send_request()

    asyncio.run(ask())
    assert faults.fault_counts() == {}


async def _handle(name: str) -> str:
    return name


@pytest.mark.parametrize("stack", ALL, ids=str)
def test_calls_and_sessions_are_active_while_they_last(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    def active() -> tuple[int, int]:
        calls = points(reader, "metertap.tool.active")
        [sessions] = points(reader, "metertap.session.active")
        return sum(point.value for point in calls), sessions.value

    async def session() -> None:
        gate = Gate()
        async with stack.connect(stack.build(gate)) as session:
            call = asyncio.ensure_future(session.call_tool("waits", {}))
            await gate.entered.wait()
            assert active() == (1, 1)
            await stack.cancel(session, call)
            await asyncio.wait([call])
            call.cancelled() or call.exception()
            await asyncio.to_thread(wait_for, lambda: active()[0] == 0)

    assert active() == (0, 0)
    asyncio.run(session())
    assert active() == (0, 0)


@pytest.mark.parametrize(
    "stack", [stack for stack in HIGH_LEVEL if "2026" not in stack.name], ids=str
)
def test_every_open_session_counts(stack: Stack, tap: Tap) -> None:
    def sessions() -> int:
        active: int = tap.snapshot()["system_metrics"]["active_sessions"]
        return active

    async def two() -> None:
        server = sdk.dispatcher("shop", str)
        async with sdk.connect(server):
            async with stack.connect(stack.build(Gate())):
                assert sessions() == 2
            await asyncio.to_thread(wait_for, lambda: sessions() == 1)

    asyncio.run(two())
    assert sessions() == 0
