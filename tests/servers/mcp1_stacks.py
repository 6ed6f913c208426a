"""Servers on mcp 1.x: low-level, FastMCP, and the fastmcp package."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import Any

from mcp import types
from mcp.server.fastmcp import FastMCP
from mcp.server.fastmcp.exceptions import ToolError
from mcp.server.lowlevel import Server
from mcp.shared import exceptions
from mcp.shared.memory import create_connected_server_and_client_session

from servers.mcp_stacks import Handle, Stack, with_package
from servers.mcp_tools import NUMBER_SCHEMA, Ending, Gate, Record, bodies, endings

try:
    import fastmcp
except ImportError:
    fastmcp = None

_HAS_URL_ELICITATION = hasattr(exceptions, "UrlElicitationRequiredError")  # since 1.23
_HAS_TASKS = hasattr(types, "CreateTaskResult")  # since 1.23
_URL_ENDING = [Ending("asks", "interim", "-32042")] if _HAS_URL_ELICITATION else []


def _ask() -> None:
    raise exceptions.UrlElicitationRequiredError(
        [types.ElicitRequestURLParams(message="?", url="http://127.0.0.1", elicitationId="1")]
    )


def text(value: str) -> list[types.TextContent]:
    return [types.TextContent(type="text", text=value)]


def _low_level(gate: Gate) -> Server:
    server: Server = Server("shop")
    functions = bodies(gate)
    any_object = {"type": "object"}

    @server.list_tools()
    async def list_tools() -> list[types.Tool]:
        listed = [
            types.Tool(
                name=name, inputSchema=NUMBER_SCHEMA if name == "needs_a_number" else any_object
            )
            for name in (*functions, "returns_an_error", "asks", "starts_a_task")
        ]
        wrong = types.Tool(name="wrong", inputSchema=any_object, outputSchema=NUMBER_SCHEMA)
        return [*listed, wrong]

    @server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> Any:
        if name == "wrong":
            return {"number": "many"}
        if name == "asks":
            _ask()
        if name not in functions:
            raise LookupError("Input validation error: this is no such tool")
        return text(await functions[name](**arguments))

    by_decorator = server.request_handlers[types.CallToolRequest]

    # What a handler returns itself, without the decorator, which could not pass it on before 1.20.
    async def handler(request: types.CallToolRequest) -> types.ServerResult:
        if request.params.name == "returns_an_error":
            content = text("Input validation error: TimeoutError")
            return types.ServerResult(types.CallToolResult(content=content, isError=True))  # type: ignore[arg-type]
        if request.params.name == "starts_a_task":
            task = {
                "taskId": "1",
                "status": "working",
                "createdAt": "2026-01-01T00:00:00Z",
                "lastUpdatedAt": "2026-01-01T00:00:00Z",
                "ttl": None,
            }
            return types.ServerResult(types.CreateTaskResult.model_validate({"task": task}))
        return await by_decorator(request)

    server.request_handlers[types.CallToolRequest] = handler
    return server


def _fast(gate: Gate) -> FastMCP:
    server = FastMCP("shop")
    for function in bodies(gate).values():
        server.tool()(function)

    @server.tool()
    async def refuses() -> str:
        raise ToolError("timed out") from ValueError("unknown tool")

    @server.tool()
    async def wrong() -> Record:
        return {"number": "many"}  # type: ignore[return-value]

    @server.tool()
    async def asks() -> str:
        _ask()
        return "never"

    return server


def _fastmcp_package(gate: Gate) -> Any:
    server = with_package(gate)

    if _FASTMCP >= (3,):

        @server.tool(timeout=0.01)
        async def limited() -> str:
            await asyncio.Event().wait()
            return "never"

    if _FASTMCP >= (3, 4):

        @server.tool
        async def returns_an_error() -> Any:
            from fastmcp.tools.base import ToolResult

            return ToolResult("Input validation error", is_error=True)

    return server


_FASTMCP = tuple(int(part) for part in fastmcp.__version__.split(".")[:2]) if fastmcp else (0,)


@contextlib.asynccontextmanager
async def _connect_low_level(server: Any) -> AsyncIterator[Any]:
    async with _connect_sdk(server) as session:
        await session.list_tools()
        yield session


@contextlib.asynccontextmanager
async def _connect_sdk(server: Any) -> AsyncIterator[Any]:
    async with create_connected_server_and_client_session(_lowest(server)) as session:
        yield session


@contextlib.asynccontextmanager
async def _connect_fastmcp(server: Any) -> AsyncIterator[Any]:
    async with fastmcp.Client(server) as client:
        yield client.session


def _lowest(server: Any) -> Any:
    return getattr(server, "_mcp_server", server)


async def _cancel(session: Any, call: asyncio.Future[Any]) -> None:
    params = types.CancelledNotificationParams(requestId=session._request_id - 1)
    notification = types.CancelledNotification(method="notifications/cancelled", params=params)
    await session.send_notification(types.ClientNotification(notification))


def dispatcher(name: str, handle: Handle, pages: list[list[str]] | None = None) -> Server:
    """A low-level server that answers any name as `handle` does; it lists `pages`, or nothing."""
    server: Server = Server(name)

    @server.call_tool()
    async def call_tool(tool: str, _arguments: dict[str, Any]) -> Any:
        return text(await handle(tool))

    async def list_tools(request: types.ListToolsRequest) -> types.ListToolsResult:
        assert pages is not None
        # The server asks itself too, with no request.
        params = request.params if request is not None else None
        index = int(params.cursor) if params is not None and params.cursor else 0
        tools = [types.Tool(name=tool, inputSchema={"type": "object"}) for tool in pages[index]]
        following = str(index + 1) if index + 1 < len(pages) else None
        return types.ListToolsResult(tools=tools, nextCursor=following)

    async def handler(request: types.ListToolsRequest) -> types.ServerResult:
        return types.ServerResult(await list_tools(request))

    if pages is not None:
        if importlib.util.find_spec("mcp.server.lowlevel.func_inspection"):
            server.list_tools()(list_tools)
        else:  # older decorators know nothing of pages
            server.request_handlers[types.ListToolsRequest] = handler
    return server


async def list_tools(session: Any, cursor: str | None) -> Any:
    """One page of `tools/list`."""
    return await session.list_tools(cursor)


def connect(server: Any) -> contextlib.AbstractAsyncContextManager[Any]:
    """A session with `server` in memory; it has asked for nothing yet."""
    return _connect_sdk(server)


def stacks() -> list[Stack]:
    """Every server stack of this environment."""
    validated = {"invalid": "ValidationError"}
    low = [
        *endings(**validated, unknown="LookupError"),
        Ending("returns_an_error", "tool_error", "tool_error"),
        Ending("wrong", "exception", "ValidationError"),
        *_URL_ENDING,
        *([Ending("starts_a_task", "interim")] if _HAS_TASKS else []),
    ]
    fast = [
        *endings(**validated, unknown="ToolError"),
        Ending("refuses", "tool_error", "ToolError"),
        Ending("wrong", "exception", "ValidationError"),
        *_URL_ENDING,
    ]
    found = [
        Stack("low-level", _low_level, _connect_low_level, _cancel, low, _lowest),
        Stack("FastMCP", _fast, _connect_sdk, _cancel, fast, _lowest, FastMCP),
    ]
    if fastmcp is not None:
        package = [
            *endings(**validated, unknown="NotFoundError"),
            Ending("refuses", "tool_error", "ToolError"),
        ]
        if _FASTMCP >= (3,):
            package.append(Ending("limited", "timeout", "TimeoutError"))
        if _FASTMCP >= (3, 4):
            package.append(Ending("returns_an_error", "tool_error", "tool_error"))
        found.append(
            Stack(
                "fastmcp",
                _fastmcp_package,
                _connect_fastmcp,
                _cancel,
                package,
                _lowest,
                fastmcp.FastMCP,
            )
        )
    return found
