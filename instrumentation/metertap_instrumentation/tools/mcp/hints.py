"""What the layers above a server's request kernel know of a tool call; they count nothing.

MCPServer and fastmcp turn exceptions into error results before the kernel sees them. Watched
there, the call in progress is told which exception it was, and whether the tool exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.patching.patch_set import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import errors


def note(call: calls.Call, error: BaseException) -> None:
    """Say on `call` what `error`, raised below the tool's handler, means."""
    meant = errors.meaning(error)
    if meant.known is not None:
        call.known = meant.known
    call.note(meant.outcome, meant.error_type)


def watch_tool_manager(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """`ToolManager.call_tool(name, …)` of MCPServer: whether the tool exists, what it raised."""

    async def call_tool(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = None
        if live:
            name = args[0] if args else kwargs.get("name")
            call = _claim(name)
            if call is not None and not call.is_registered:
                with faults.guarded("mcp.tool"):
                    if self.get_tool(name) is None:
                        call.known = False
                    else:
                        call.exists()
        try:
            return await method(self, *args, **kwargs)
        except Exception as error:
            with faults.guarded("mcp.error"):
                hide_frame(error)
                if call is not None:
                    note(call, error)
            raise

    return call_tool


def watch_fastmcp(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`FastMCP.call_tool(name, …)` of fastmcp 4, which calls itself: the outermost sees all."""
    call = _claim(args[0] if args else kwargs.get("name"))
    if call is None:
        return wrapped(*args, **kwargs)
    return _watched(call, wrapped, args, kwargs)


async def watch_lookup(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """What looks up a tool by its name: whether that of the call in progress exists."""
    try:
        tool = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("mcp.tool"):
            hide_frame(error)
        raise
    try:
        call = calls.watched()
        name = args[0] if args else kwargs.get("name")
        if tool is not None and call is not None and call.name == name:
            call.exists()
    except Exception as fault:
        faults.fault("mcp.tool", fault)
    return tool


def _claim(name: object) -> calls.Call | None:
    """The call in progress, if it is the request for `name` and nobody further out watches it.

    A tool or a handler may call other tools in the process: those are not the request's.
    """
    call = calls.watched()
    if call is None or call.watched or call.name != name:
        return None
    call.watched = True
    return call


async def _watched(call: calls.Call, wrapped: Any, args: Any, kwargs: Any) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        with faults.guarded("mcp.error"):
            hide_frame(error)
            note(call, error)
        raise
