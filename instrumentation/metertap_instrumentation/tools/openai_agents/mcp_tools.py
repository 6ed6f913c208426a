"""Tools of MCP servers that an agent uses: results that the server flagged as errors.

They are function tools, and counted as such. The SDK's output lacks the flag of a server's result
(`isError`), so results are looked at where they arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from metertap import faults, outcomes
from metertap.caching.layers import setting
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.openai_agents.functions import handlers, is_of_a_function

_awaited: ContextVar[bool] = ContextVar("metertap_mcp_tool", default=False)
"""Whether the next result of a server belongs to the tool whose call is in progress."""


def patch_sets() -> Sequence[PatchSet]:
    """Return the patches: each kind of server, also the program's own, has its `call_tool`."""
    return [
        PatchSet("agents.mcp.util", [Target("MCPUtil.invoke_mcp_tool", invoke)]),
        SubclassesPatchSet("agents.mcp.server", "MCPServer", {"call_tool": call_tool}),
    ]


async def invoke(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Await the next result of a server in `MCPUtil.invoke_mcp_tool(server, tool, …)`.

    Not if a function of the program's runs the tool by hand: what that makes of it is its own.
    """
    is_tools = True
    with faults.guarded("tool openai-agents"):
        is_tools = not is_of_a_function()
    try:
        with setting(_awaited, is_tools):
            return await wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise


async def call_tool(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Look at the result of `server.call_tool(tool_name, arguments)` if a tool awaits it."""
    is_ours = _awaited.get()
    try:
        with setting(_awaited, False):
            result = await wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise
    if is_ours:
        with faults.guarded("tool openai-agents"):
            if is_error(result):
                handlers.note(Ending(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR))
    return result


def is_error(result: Any) -> bool:
    """Return whether an MCP result is a failure, by the field names of either SDK version."""
    fields = vars(result)
    return bool(fields.get("isError") or fields.get("is_error"))
