"""mcp 2.x servers: `ServerRunner._on_request`, the kernel of every transport and era."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metertap import catalogue, faults, outcomes
from metertap.patching.patch_set import Live, PatchSet, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.hints import watch_fastmcp, watch_lookup, watch_tool_manager
from metertap_instrumentation.tools.mcp.requests import ServerRequest
from metertap_instrumentation.tools.mcp.sessions import run_dispatcher

_CONNECTION = "_metertap_connection"


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped."""
    return [
        PatchSet("mcp.server.runner", [stand_in("ServerRunner._on_request", on_request)]),
        PatchSet(
            "mcp.shared.jsonrpc_dispatcher", [Target("JSONRPCDispatcher.run", run_dispatcher)]
        ),
        PatchSet("mcp.shared.direct_dispatcher", [Target("DirectDispatcher.run", run_dispatcher)]),
        PatchSet(
            "mcp.server.mcpserver.tools.tool_manager",
            [stand_in("ToolManager.call_tool", watch_tool_manager)],
        ),
        PatchSet(
            "fastmcp.server.server",
            [
                Target("FastMCP.call_tool", watch_fastmcp),
                Target("FastMCP.get_tool", watch_lookup),
            ],
        ),
    ]


def on_request(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Measure one request: `_on_request(dctx, method, params)`; returns the result as a dict."""

    async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        request = None
        if live:
            try:
                request = _begin(self, *args, **kwargs)
            except Exception as fault:
                faults.fault("mcp.request", fault)
        try:
            result = await method(self, *args, **kwargs)
        except BaseException as error:
            with faults.guarded("mcp.request"):
                hide_frame(error)
                if request is not None:
                    request.end_with(error)
            if request is not None:
                request.abandon()
            raise
        if request is not None:
            try:
                request.answer(result)
            except Exception as fault:
                faults.fault("mcp.request", fault)
                request.abandon()
        return result

    return call


class _Request(ServerRequest):
    cancel_requested: Any
    params: Mapping[str, Any] | None

    def answer(self, result: Mapping[str, Any]) -> None:
        """The server returned `result`, which the client gets unless it has cancelled."""
        if self.cancel_requested.is_set():  # and yet it ran to its end, as in a thread
            self.ended(outcomes.CANCELLED, "CancelledError")
        elif result.get("resultType", "complete") != "complete":  # input_required, extensions'
            self.ended(outcomes.INTERIM)
        elif self.frame is not None and result.get("isError") is True:
            self.ended(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR)
        else:
            if self.method == requests.TOOLS_LIST:
                names = [tool["name"] for tool in result.get("tools", ())]
                cursor = _text(self.params, "cursor")
                requests.tools_listed(self._server, names, cursor, result.get("nextCursor"))
            self.ended(outcomes.OK)

    def end_with(self, error: BaseException) -> None:
        """The server raised `error`, which the dispatcher makes the answer of."""
        code = errors.code_of(error)
        if errors.is_malformed_request(error):
            self.ended(outcomes.CALLER_ERROR, str(errors.INVALID_PARAMS), errors.INVALID_PARAMS)
        elif type(error).__name__ == "ValidationError":
            # A handler's own: the dispatcher blames the client for it all the same.
            self.raised(error, errors.INVALID_PARAMS)
        else:
            self.raised(error, code)


class _Connection:
    """What is the same for all requests of one runner, kept beside it."""

    __slots__ = ("methods", "source", "transport")

    def __init__(self, server: Any, dctx: Any) -> None:
        self.methods: set[str] = {requests.INITIALIZE}  # has no handler: the kernel answers it
        self.source = requests.source_of(server)
        self.transport = _transport(dctx)


def _begin(
    runner: Any, dctx: Any, method: str, params: Mapping[str, Any] | None = None
) -> _Request:
    server = runner.server
    kept = runner.__dict__
    connection = kept.get(_CONNECTION)
    if connection is None:
        connection = kept[_CONNECTION] = _Connection(server, dctx)
    if method not in connection.methods:
        if server.get_request_handler(method) is not None:
            connection.methods.add(method)
        else:
            method = catalogue.OTHER
    cancel_requested = dctx.cancel_requested  # before the call starts: a context may lack it
    request = _Request(
        method,
        server,
        connection.source,
        None if params is None else params.get("name"),
        runner.connection.protocol_version,
        connection.transport,
    )
    request.cancel_requested = cancel_requested
    request.params = params
    return request


def _text(params: Mapping[str, Any] | None, key: str) -> str | None:
    value = params.get(key) if params else None
    return value if isinstance(value, str) else None


def _transport(dctx: Any) -> str | None:
    """`tcp` for HTTP. Streams may be pipes or memory: not known."""
    if dctx.transport.kind == "streamable-http":
        return "tcp"
    metadata = dctx.message_metadata
    if metadata is None:
        return None
    return "tcp" if getattr(metadata, "request_context", None) is not None else None
