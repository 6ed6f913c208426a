"""Servers on mcp 2.x: low-level, MCPServer, and fastmcp 4, in both eras of the protocol."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import mcp_types as types
from mcp import Client, MCPError
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import UrlElicitationRequiredError

from servers.mcp_stacks import Handle, Stack, with_package
from servers.mcp_tools import NUMBER_SCHEMA, Ending, Gate, Record, bodies, endings

try:
    import fastmcp
except ImportError:
    fastmcp = None


def _ask() -> None:
    raise UrlElicitationRequiredError(
        [types.ElicitRequestURLParams(message="?", url="http://127.0.0.1", elicitation_id="1")]
    )


def text(value: str) -> list[types.ContentBlock]:
    return [types.TextContent(type="text", text=value)]


def _low_level(gate: Gate) -> Server[Any]:
    functions = bodies(gate)
    names = (*functions, "returns_an_error", "asks", "asks_for_input")

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        tools = [
            types.Tool(
                name=name,
                input_schema=NUMBER_SCHEMA if name == "needs_a_number" else {"type": "object"},
            )
            for name in names
        ]
        return types.ListToolsResult(tools=tools)

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> Any:
        if params.name == "returns_an_error":
            content = text("Input validation error: TimeoutError")
            return types.CallToolResult(content=content, is_error=True)
        if params.name == "asks":
            _ask()
        if params.name == "asks_for_input":
            return types.InputRequiredResult(request_state="1")
        if params.name not in functions:
            raise LookupError("Input validation error: this is no such tool")
        arguments = params.arguments or {}
        if params.name == "needs_a_number" and not isinstance(arguments.get("number"), int):
            raise MCPError(types.INVALID_PARAMS, "Unknown tool")
        result = await functions[params.name](**arguments)
        return types.CallToolResult(content=text(result))

    return Server("shop", on_list_tools=list_tools, on_call_tool=call_tool)


def _mcpserver(gate: Gate) -> MCPServer:
    server = MCPServer("shop")
    for function in bodies(gate).values():
        server.tool()(function)

    @server.tool()
    async def refuses() -> str:
        raise ToolError("timed out") from ValueError("unknown tool")

    @server.tool()
    async def wrong() -> Record:
        return {"number": "many"}  # type: ignore[return-value]

    @server.tool()
    async def returns_an_error() -> types.CallToolResult:
        return types.CallToolResult(content=text("Input validation error"), is_error=True)

    @server.tool()
    async def asks() -> str:
        _ask()
        return "never"

    @server.tool()
    async def asks_for_input() -> types.InputRequiredResult:
        return types.InputRequiredResult(request_state="1")

    return server


def _fastmcp_package(gate: Gate) -> Any:
    from fastmcp.tools.base import ToolResult

    server = with_package(gate)

    @server.tool(timeout=0.01)
    async def limited() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool
    async def returns_an_error() -> Any:
        return ToolResult("Input validation error", is_error=True)

    @server.tool
    async def asks_for_input() -> Any:
        return types.InputRequiredResult(request_state="1")

    return server


@contextlib.asynccontextmanager
async def _connect(mode: str, server: Any) -> AsyncIterator[Any]:
    async with Client(_lowest(server), mode=mode) as client:
        await client.session.list_tools()
        yield client.session


@contextlib.asynccontextmanager
async def _connect_fastmcp(mode: str, server: Any) -> AsyncIterator[Any]:
    async with fastmcp.Client(server, mode=mode) as client:
        yield client.session


def _lowest(server: Any) -> Any:
    found = getattr(server, "_lowlevel_server", None)
    return found if found is not None else getattr(server, "_mcp_server", server)


async def _cancel(_session: Any, call: asyncio.Future[Any]) -> None:
    call.cancel()


def dispatcher(name: str, handle: Handle, pages: list[list[str]] | None = None) -> Server[Any]:
    """A low-level server that answers any name as `handle` does; it lists `pages`, or nothing."""

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return types.CallToolResult(content=text(await handle(params.name)))

    async def list_tools(_context: Any, params: Any) -> types.ListToolsResult:
        assert pages is not None
        index = int(params.cursor) if params is not None and params.cursor else 0
        tools = [types.Tool(name=tool, input_schema={"type": "object"}) for tool in pages[index]]
        following = str(index + 1) if index + 1 < len(pages) else None
        return types.ListToolsResult(tools=tools, next_cursor=following)

    listing = {} if pages is None else {"on_list_tools": list_tools}
    return Server(name, on_call_tool=call_tool, **listing)


async def list_tools(session: Any, cursor: str | None) -> Any:
    """One page of `tools/list`."""
    return await session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))


@contextlib.asynccontextmanager
async def connect(server: Any) -> AsyncIterator[Any]:
    """A session with `server` in memory; it has asked for nothing yet."""
    async with Client(_lowest(server), mode="legacy") as client:
        yield client.session


def stacks() -> list[Stack]:
    """Every server stack of this environment, in the handshake era and in the one after it."""
    returned = Ending("returns_an_error", "tool_error", "tool_error")
    refused = Ending("refuses", "tool_error", "ToolError")
    asked = Ending("asks", "interim", "-32042")
    low = [*endings(invalid="-32602", unknown="LookupError"), returned, asked]
    high = [
        *endings(invalid="ValidationError", unknown="ToolError"),
        returned,
        refused,
        Ending("wrong", "exception", "ValidationError"),
        asked,
    ]
    package = [
        *endings(invalid="ValidationError", unknown="NotFoundError"),
        returned,
        refused,
        Ending("limited", "timeout", "TimeoutError"),
    ]
    found = []
    for era, mode, of_the_era in (
        ("2025-11-25", "legacy", []),
        ("2026-07-28", "2026-07-28", [Ending("asks_for_input", "interim")]),
    ):
        kinds = [
            ("low-level", _low_level, _connect, low, None),
            ("MCPServer", _mcpserver, _connect, high, MCPServer),
        ]
        if fastmcp is not None:
            kinds.append(("fastmcp", _fastmcp_package, _connect_fastmcp, package, fastmcp.FastMCP))
        found += [
            Stack(
                f"{name} {era}",
                build,
                partial(connect, mode),
                _cancel,
                [*of_the_kind, *of_the_era],
                _lowest,
                empty,
            )
            for name, build, connect, of_the_kind, empty in kinds
        ]
    return found
