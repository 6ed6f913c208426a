"""mcp 2.x servers: `ServerRunner._on_request`, the kernel of every transport and era.

MCPServer and fastmcp 4 turn exceptions into error results before the kernel sees them, so their
own dispatch is watched too: it says which exception it was, and whether the tool exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metertap import calls, catalogue, guard, outcome
from metertap.patching import PatchSet, Target
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.requests import ServerRequest
from metertap_instrumentation.tools.mcp.sessions import run_dispatcher


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped."""
    return [
        PatchSet("mcp.server.runner", [Target("ServerRunner._on_request", on_request)]),
        PatchSet(
            "mcp.shared.jsonrpc_dispatcher", [Target("JSONRPCDispatcher.run", run_dispatcher)]
        ),
        PatchSet("mcp.shared.direct_dispatcher", [Target("DirectDispatcher.run", run_dispatcher)]),
        PatchSet(
            "mcp.server.mcpserver.tools.tool_manager",
            [Target("ToolManager.call_tool", watch_tool_manager)],
        ),
        PatchSet(
            "fastmcp.server.server",
            [
                Target("FastMCP.call_tool", watch_fastmcp),
                Target("FastMCP.get_tool", watch_lookup),
            ],
        ),
    ]


async def on_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Measure one request: `_on_request(dctx, method, params)`; returns the result as a dict."""
    request = None
    with guard.guarded("mcp.request"):
        request = _begin(instance, *args, **kwargs)
    if request is None:
        return await wrapped(*args, **kwargs)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("mcp.request"):
            _raised(request, error)
            calls.hide_frame(error)
        raise
    with guard.guarded("mcp.request"):
        _answered(request, instance, result)
    return result


def _begin(
    runner: Any, dctx: Any, method: str, params: Mapping[str, Any] | None = None
) -> ServerRequest:
    name = params.get("name") if params else None
    return ServerRequest(
        method if _is_known_method(runner.server, method) else catalogue.OTHER,
        str(runner.server.name),
        name if isinstance(name, str) else None,
        version=runner.connection.protocol_version,
        transport=_transport(dctx),
    )


def _is_known_method(server: Any, method: str) -> bool:
    # `initialize` has no handler that could be found: the kernel answers it itself.
    return method == "initialize" or server.get_request_handler(method) is not None


def _transport(dctx: Any) -> str | None:
    """`tcp` for HTTP. Streams may be pipes or memory: not known."""
    if dctx.transport.kind == "streamable-http":
        return "tcp"
    http_request = getattr(dctx.message_metadata, "request_context", None)
    return "tcp" if http_request is not None else None


def _answered(request: ServerRequest, runner: Any, result: Mapping[str, Any]) -> None:
    if request.method == requests.TOOLS_LIST:
        names = [tool["name"] for tool in result.get("tools", ())]
        last_page = result.get("nextCursor") is None
        requests.lists.listed(f"mcp:{runner.server.name}", names, last_page=last_page)
    if result.get("resultType", "complete") != "complete":  # input_required, or an extension's
        request.ended(outcome.INTERIM)
    elif request.call is not None and result.get("isError") is True:
        request.ended(outcome.TOOL_ERROR, outcome.TOOL_ERROR)
    else:
        request.ended(outcome.OK)


def _raised(request: ServerRequest, error: BaseException) -> None:
    code = errors.code_of(error)
    if code is not None:
        request.ended(errors.of_code(code), str(code), code)
    elif type(error).__name__ == "ValidationError":  # the kernel answers -32602 to any of them
        request.ended(outcome.CALLER_ERROR, outcome.error_type(error), -32602)
    else:
        request.raised(error)


def watch_tool_manager(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`ToolManager.call_tool(name, …)` of MCPServer: whether the tool exists, what it raised."""
    call = _claim()
    if call is None:
        return wrapped(*args, **kwargs)
    with guard.guarded("mcp.tool"):
        call.known = instance.get_tool(args[0] if args else kwargs["name"]) is not None
    return _watched(call, wrapped, args, kwargs)


def watch_fastmcp(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`FastMCP.call_tool` of fastmcp 4, which calls itself: the outermost call sees everything."""
    call = _claim()
    if call is None:
        return wrapped(*args, **kwargs)
    return _watched(call, wrapped, args, kwargs)


async def watch_lookup(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`FastMCP.get_tool(name, …)`: whether the tool of the call in progress exists."""
    tool = await wrapped(*args, **kwargs)
    with guard.guarded("mcp.tool"):
        call = calls.current.get()
        name = args[0] if args else kwargs.get("name")
        if tool is not None and call is not None and call.watched and call.name == name:
            call.known = True
    return tool


def _claim() -> calls.Call | None:
    """The call in progress, if it is a request's and nobody further out is watching it."""
    call = calls.current.get()
    if call is None or call.counted_by != calls.PATCH or call.watched:
        return None
    call.watched = True
    return call


async def _watched(call: calls.Call, wrapped: Any, args: Any, kwargs: Any) -> Any:
    try:
        return await wrapped(*args, **kwargs)
    except Exception as error:
        with guard.guarded("mcp.error"):
            errors.note(call, error)
            calls.hide_frame(error)
        raise
