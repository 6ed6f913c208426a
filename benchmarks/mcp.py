"""Whole MCP `tools/call`s of a real client and server in memory, on either version of the SDK.

The same calls are made with metertap installed and shut down, alternately in one process. Both
sides are measured when it is installed: the client's requests, the server's, and the tool. What is
compared is the CPU time of the one thread that does all of it. The floor is a function around one
method of either side with two clocks and an append; on mcp 2.x, `mcp_floors` has two more.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

from mcp.client.session import ClientSession

from benchmarks.measuring import Ratio, Result, quartile
from benchmarks.process import measured

MAJOR = metadata.version("mcp").partition(".")[0]
_CALLS = 200
_FIRST = 100
_PAUSE = 0.3
"""Seconds in which metertap's endpoints open, with the first call."""

if MAJOR == "1":
    from mcp import types
    from mcp.server.fastmcp import FastMCP as HighLevel
    from mcp.server.lowlevel import Server
    from mcp.shared.memory import create_connected_server_and_client_session

    _SERVER: Any = (Server, "_handle_request")
    _FLOORS: dict[str, Any] = {}

    def connected(server: Any) -> Any:
        return create_connected_server_and_client_session(getattr(server, "_mcp_server", server))

    def _low_level() -> Any:
        server: Any = Server("benchmark")
        tool = types.Tool(name="work", inputSchema={"type": "object"})

        @server.list_tools()
        async def list_tools() -> list[types.Tool]:
            return [tool]

        @server.call_tool()
        async def call_tool(_name: str, arguments: dict[str, Any]) -> Any:
            return [types.TextContent(type="text", text=str(arguments["number"]))]

        return server

else:
    import mcp_types as types
    from mcp import Client
    from mcp.server import Server
    from mcp.server.mcpserver import MCPServer as HighLevel
    from mcp.server.runner import ServerRunner

    from benchmarks import mcp_floors

    _SERVER = (ServerRunner, "_on_request")
    _FLOORS = {", nothing": mcp_floors.nothing, ", the least": mcp_floors.least}

    def connected(server: Any) -> Any:
        return Client(server)

    def _low_level() -> Any:
        tool = types.Tool(name="work", input_schema={"type": "object"})

        async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
            return types.ListToolsResult(tools=[tool])

        async def call_tool(_context: Any, params: Any) -> types.CallToolResult:
            text = types.TextContent(type="text", text=str(params.arguments["number"]))
            return types.CallToolResult(content=[text])

        return Server("benchmark", on_list_tools=list_tools, on_call_tool=call_tool)


def _high_level() -> Any:
    server = HighLevel("benchmark")

    @server.tool()
    def work(number: int) -> int:
        return number

    return server


SERVERS = [("MCPServer", _high_level, 0.02), ("low-level", _low_level, 0.04)]
"""By name: what builds a server, and the share of a call's CPU that metertap may take."""


async def spent(
    build: Callable[[], Any],
    calls: int,
    first: int,
    clock: Callable[[], float] = time.thread_time,
    begin: Callable[[], None] = lambda: None,
) -> float:
    """Return the CPU seconds of one call by `clock`, on average over `calls` of a new session.

    `begin` is called when the first calls are over. They pay for lazy imports, and for what the
    interpreter learns anew about classes that were patched just now: a server does so once in its
    life.
    """
    async with connected(build()) as client:
        for _ in range(first):
            await client.call_tool("work", {"number": 1})
        await asyncio.sleep(_PAUSE)
        gc.collect()
        gc.disable()
        try:
            begin()
            started = clock()
            for _ in range(calls):
                await client.call_tool("work", {"number": 1})
            return (clock() - started) / calls
        finally:
            gc.enable()


@contextlib.contextmanager
def _least() -> Iterator[None]:
    """Do the least that a patch of one method a side can: two clocks and an append."""
    seconds: deque[float] = deque(maxlen=1000)
    with contextlib.ExitStack() as undo:
        for kind, name in ((ClientSession, "send_request"), _SERVER):
            owner = next(each for each in kind.__mro__ if name in vars(each))
            method = vars(owner)[name]
            setattr(owner, name, _timing(method, seconds))
            undo.callback(setattr, owner, name, method)
        yield


def _timing(method: Any, seconds: deque[float]) -> Any:
    async def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = await method(*args, **kwargs)
        seconds.append(time.perf_counter() - started)
        return result

    return timed


def requests(rounds: int) -> Iterator[Result]:
    """What measuring adds to the CPU time of a call, low-level and high-level."""
    logging.getLogger("mcp").setLevel(logging.WARNING)
    ways = {"bare": contextlib.nullcontext, "ours": measured, ", the floor": _least, **_FLOORS}
    for name, build, limit in SERVERS:
        by_way: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds + 1):
            for way, seconds in by_way.items():
                with ways[way]():
                    seconds.append(asyncio.run(spent(build, _CALLS, _FIRST)))
        bare, ours, *floors = (seconds[1:] for seconds in by_way.values())
        row = f"MCP {MAJOR}.x tools/call, {name}"
        yield _compared(row, ours, bare, limit)
        for way, floor in zip(list(ways)[2:], floors, strict=True):
            yield _compared(row + way, floor, bare, None)


def _compared(row: str, ours: list[float], bare: list[float], limit: float | None) -> Result:
    """Lower quartiles, which another program on the machine disturbs least; minima, medians."""

    def ratio(of: Callable[[list[float]], float]) -> float:
        return (of(ours) - of(bare)) / of(bare)

    least, most = sorted((ratio(min), ratio(statistics.median)))
    added = quartile(ours) - quartile(bare)
    ratios = Ratio(ratio(quartile), least, most)
    return Result(row, "CPU of the call", ratios, limit, added)
