"""Servers over real transports: pipes to a program, and HTTP in both eras of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")
from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap import Tap
from metertap.runtime import running
from metertap.state import recorder
from servers.mcp_http import ERAS, connected, serving, serving_websockets, streams_to
from servers.mcp_stacks import MCP, Stack, counted, of_this_sdk, stacks
from support import http
from support.json_rpc import SESSION, talk
from support.metric_data import points
from support.programs import ended, started
from support.waiting import wait_for

pytestmark = pytest.mark.mcp

TESTS = Path(__file__).parents[2]
sdk = of_this_sdk()
SERVERS = list({stack.empty: stack for stack in stacks() if stack.empty is not None}.values())
each_server_and_era = pytest.mark.parametrize(
    ("stack", "era"),
    [
        pytest.param(stack, era, id=f"{stack.name.split()[0]} {era}")
        for stack in SERVERS
        for era in ERAS
    ],
)


def test_a_program_on_pipes_serves_its_document_beside_the_protocol() -> None:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TESTS),
        "METRICS_JSON_PORT": "0",
        "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
    }
    program = StdioServerParameters(
        command=sys.executable, args=["-m", "servers.mcp_stdio_server"], env=variables
    )

    async def session() -> dict[str, Any]:
        async with (
            stdio_client(program) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            for name in ("fine", "raises", "made_up"):
                await session.call_tool(name, {})
            [process] = await asyncio.to_thread(wait_for, running.running)
            answer = await asyncio.to_thread(http.get, f"{process.json_url}/metrics")
            document: dict[str, Any] = answer.json()
            return document

    document = asyncio.run(session())
    assert counted(document) == {
        "fine": {"ok": 1},
        "raises": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }
    assert document["system_metrics"]["active_sessions"] == 1


def transports(reader: InMemoryMetricReader, metric: str) -> set[tuple[Any, ...]]:
    """(transport, protocol, address, port) of what was measured as `metric`."""
    names = ("network.transport", "network.protocol.name", "server.address", "server.port")
    return {tuple(map(point.attributes.get, names)) for point in points(reader, metric)}


def test_a_client_on_pipes_says_so_and_how_long_its_session_was(
    tap: Tap, reader: InMemoryMetricReader
) -> None:
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "servers.mcp_stdio_server"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)},
    )

    async def session() -> None:
        async with (
            stdio_client(program) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await session.call_tool("fine", {})
            # A session in memory, inside the one on pipes, has none.
            async with of_this_sdk().connect(
                of_this_sdk().dispatcher("shop", _echo, [["inner"]])
            ) as inner:
                await inner.call_tool("inner", {})

    asyncio.run(session())
    pipe, memory = ("pipe", None, None, None), (None, None, None, None)
    assert transports(reader, "mcp.client.operation.duration") == {pipe, memory}
    assert transports(reader, "mcp.client.session.duration") == {pipe, memory}
    assert transports(reader, "mcp.server.operation.duration") == {memory}
    [inner] = points(reader, "mcp.server.session.duration")
    sessions = points(reader, "mcp.client.session.duration")
    assert inner.count == 1
    assert sum(point.count for point in sessions) == 2
    assert all("error.type" not in point.attributes for point in (inner, *sessions))
    assert max(point.sum for point in sessions) > inner.sum > 0
    figures = recorder().figures().sessions
    assert sorted((item.side, item.calls) for item in figures) == [("client", 2), ("server", 1)]


@pytest.mark.parametrize("stack", SERVERS, ids=lambda stack: stack.name.split()[0])
def test_a_client_of_several_servers_tells_them_apart_in_whatever_order_it_talks_to_them(
    stack: Stack, tap: Tap, reader: InMemoryMetricReader
) -> None:
    async def fine() -> str:
        return "fine"

    assert stack.empty is not None
    servers = [stack.empty(name) for name in ("first", "second")]
    for server in servers:
        server.tool()(fine)
    program = StdioServerParameters(
        command=sys.executable,
        args=["-m", "servers.mcp_stdio_server"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)},
    )

    async def talk_over(streams: Any, calls: int) -> None:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            for _ in range(calls):
                await session.call_tool("fine", {})

    async def main(first: str, second: str) -> None:
        # All are opened before a session begins; the last one that was opened is not used at all.
        async with (
            streams_to(first) as one,
            streams_to(second) as two,
            stdio_client(program) as three,
            sse_client(second),
        ):
            await talk_over(three, 1)
            await asyncio.gather(talk_over(one, 2), talk_over(two, 3))
            async with of_this_sdk().connect(
                of_this_sdk().dispatcher("shop", _echo, [["inner"]])
            ) as inner:
                await inner.call_tool("inner", {})

    with serving(servers[0]) as first, serving(servers[1], "sse") as second:
        asyncio.run(main(first, second))
    ports = [int(url.split("/")[2].partition(":")[2]) for url in (first, second)]
    called = {
        tuple(map(point.attributes.get, ("network.transport", "server.port"))): point.count
        for point in points(reader, "mcp.client.operation.duration")
        if point.attributes["mcp.method.name"] == "tools/call"
    }
    expected = {("pipe", None): 1, ("tcp", ports[0]): 2, ("tcp", ports[1]): 3, (None, None): 1}
    assert called == expected
    sessions = points(reader, "mcp.client.session.duration")
    lasted = {
        tuple(map(point.attributes.get, ("network.transport", "server.port"))): point.count
        for point in sessions
    }
    assert lasted == dict.fromkeys(expected, 1)
    by_server = [counts["ok"] for counts in counted(tap.snapshot()).values()]
    assert sorted(by_server) == [1, 2, 3]  # the program counts its own


def test_a_server_on_pipes_says_so_and_one_inside_its_tool_does_not(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = (sys.executable, "-m", "servers.mcp_stdio_nested", str(seen))
    call = ("tools/call", {"name": "outer", "arguments": {}})
    with started(command, env={"PYTHONPATH": str(TESTS)}) as process:
        talk(process, (*SESSION[:2], call))
        assert ended(process).status == 0
    found = json.loads(seen.read_text())
    assert found == {"outer": "pipe", "inner": None, "sessions": ["None", "pipe"]}


async def _echo(name: str) -> str:
    return name


@each_server_and_era
def test_calls_over_http_are_counted_with_transport_and_protocol(
    stack: Stack, era: str, tap: Tap, reader: InMemoryMetricReader
) -> None:
    async def fine() -> str:
        return "fine"

    async def raises() -> str:
        raise ValueError("unknown tool")

    async def calls(url: str) -> int:
        async with connected(url, era) as session:
            for name in ("fine", "raises", "made_up"):
                await session.call_tool(name, {})
            active: int = tap.snapshot()["system_metrics"]["active_sessions"]
            return active

    assert stack.empty is not None
    server = stack.empty("shop")
    for function in (fine, raises):
        server.tool()(function)
    with serving(server) as url:
        # In the later era each request stands for itself: there are no sessions.
        assert asyncio.run(calls(url)) == (0 if era >= "2026" else 1)
        wait_for(lambda: tap.snapshot()["system_metrics"]["active_sessions"] == 0)
    assert counted(tap.snapshot()) == {
        "fine": {"ok": 1},
        "raises": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }
    found = points(reader, "mcp.server.operation.duration")
    called = [point for point in found if point.attributes["mcp.method.name"] == "tools/call"]
    assert {point.attributes["mcp.method.name"] for point in found} > {"tools/call"}
    assert {point.attributes.get("network.transport") for point in found} == {"tcp"}
    assert {point.attributes.get("network.protocol.name") for point in found} == {"http"}
    address, _, port = url.removeprefix("http://").removesuffix("/mcp").partition(":")
    over_http = {("tcp", "http", address, int(port))}
    assert transports(reader, "mcp.client.operation.duration") == over_http
    assert transports(reader, "mcp.client.session.duration") == over_http
    versions = {point.attributes.get("mcp.protocol.version") for point in called}
    assert versions == ({era} if MCP >= (2,) else {None})


@pytest.mark.skipif(MCP >= (2,), reason="the SDK 2.x has no WebSockets")
@pytest.mark.filterwarnings("ignore:The WebSocket:DeprecationWarning")
def test_calls_over_a_websocket_say_so(tap: Tap, reader: InMemoryMetricReader) -> None:
    pytest.importorskip("websockets.asyncio", reason="the SDK's client needs websockets 13")
    websocket_client = importlib.import_module("mcp.client.websocket").websocket_client

    async def talk(url: str) -> None:
        async with (
            websocket_client(url) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            await session.call_tool("outer", {})

    async def nested(name: str) -> str:
        async with sdk.connect(sdk.dispatcher("inner", _echo, [["inner"]])) as inner:
            await inner.call_tool("inner", {})
        return name

    with serving_websockets(sdk.dispatcher("shop", nested, [["outer"]])) as url:
        asyncio.run(talk(url))
        wait_for(lambda: tap.snapshot()["system_metrics"]["active_sessions"] == 0)
    address, _, port = url.removeprefix("ws://").removesuffix("/mcp").partition(":")
    of_client, memory = ("tcp", "websocket", address, int(port)), (None, None, None, None)
    of_server = ("tcp", "websocket", None, None)
    for kind in ("operation", "session"):
        assert transports(reader, f"mcp.client.{kind}.duration") == {of_client, memory}
        assert transports(reader, f"mcp.server.{kind}.duration") == {of_server, memory}


@each_server_and_era
def test_a_call_over_http_that_its_client_gives_up_is_cancelled(
    stack: Stack, era: str, tap: Tap
) -> None:
    entered = threading.Event()

    async def waits() -> str:
        entered.set()
        await asyncio.Event().wait()
        return "never"

    async def give_up(url: str) -> None:
        async with connected(url, era) as session:
            call = asyncio.ensure_future(session.call_tool("waits", {}))
            assert await asyncio.to_thread(entered.wait, 60)
            await stack.cancel(session, call)
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await call
            await asyncio.to_thread(wait_for, lambda: counted(tap.snapshot()))

    assert stack.empty is not None
    server = stack.empty("shop")
    server.tool()(waits)
    with serving(server) as url:
        asyncio.run(give_up(url))
    assert counted(tap.snapshot()) == {"waits": {"cancelled": 1}}
    assert tap.snapshot()["tool_metrics"]["waits"]["active_calls"] == 0
