"""The server stacks that are installed here, each with a client connected to it in memory."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import pytest

from servers.mcp_tools import Ending, Gate, bodies

if util.find_spec("mcp") is None:
    pytest.skip("mcp is not installed", allow_module_level=True)
MCP = tuple(int(part) for part in metadata.version("mcp").split(".")[:2])
"""Major and minor version of the SDK."""

Handle = Callable[[str], Awaitable[str]]
"""Answers the call of a tool by its name."""


@dataclass(frozen=True)
class Stack:
    """A way to build a server, and to call it as clients of its time do."""

    name: str
    build: Callable[[Gate], Any]
    connect: Callable[[Any], AbstractAsyncContextManager[Any]]
    """A `ClientSession` connected to what `build` made."""
    cancel: Callable[[Any, asyncio.Future[Any]], Awaitable[None]]
    """Cancels a call of that session."""
    endings: list[Ending]
    lowest: Callable[[Any], Any]
    """The low-level server under what `build` made."""
    empty: Callable[[str], Any] | None = None
    """A server without tools, where they are functions that `server.tool()` registers."""

    def __str__(self) -> str:
        return self.name


def with_package(gate: Gate) -> Any:
    """A server of the package fastmcp, with a tool that refuses, whatever SDK is below it."""
    import fastmcp
    from fastmcp.exceptions import ToolError

    server: Any = fastmcp.FastMCP("shop")

    async def refuses() -> str:
        raise ToolError("timed out") from ValueError("unknown tool")

    for function in (*bodies(gate).values(), refuses):
        server.tool(function)
    return server


def of_this_sdk() -> Any:
    """`mcp1_stacks` or `mcp2_stacks`, which have the same functions."""
    return importlib.import_module(f"servers.mcp{MCP[0]}_stacks")


def stacks() -> list[Stack]:
    """Every server stack of this environment."""
    found: list[Stack] = of_this_sdk().stacks()
    return found


async def end(stack: Stack, session: Any, ending: Ending, gate: Gate) -> None:
    """Call the tool of `ending`; what its client gets is not looked at."""
    call = asyncio.ensure_future(session.call_tool(ending.tool, ending.arguments))
    if ending.cancel:
        await gate.entered.wait()
        await stack.cancel(session, call)
    await asyncio.wait([call])
    if not call.cancelled():
        call.exception()  # looked at, or asyncio reports it as forgotten


def counted(document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Calls by tool and outcome, without the zeros."""
    return {
        name: {outcome: count for outcome, count in tool["outcomes"].items() if count}
        for name, tool in document["tool_metrics"].items()
        if tool["total_calls"]
    }


def error_types(document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Error types by tool, where there are any."""
    tools = document["tool_metrics"].items()
    return {name: tool["error_types"] for name, tool in tools if tool["error_types"]}
