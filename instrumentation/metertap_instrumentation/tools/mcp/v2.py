"""mcp 2.x servers: `ServerRunner._on_request`, the kernel of every transport and era."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metertap import calls, catalogue, guard, outcome
from metertap.patching import PatchSet, Target
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.requests import ServerRequest
from metertap_instrumentation.tools.mcp.sessions import run_dispatcher
from metertap_instrumentation.tools.mcp.watching import (
    watch_fastmcp,
    watch_lookup,
    watch_tool_manager,
)


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
        request = _Request(instance, *args, **kwargs)
    if request is None:
        return await wrapped(*args, **kwargs)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("mcp.request"):
            calls.hide_frame(error)
            request.end_with(error)
        raise
    else:
        with guard.guarded("mcp.request"):
            request.answer(result)
        return result
    finally:
        with guard.guarded("mcp.request"):
            request.abandon()


class _Request(ServerRequest):
    __slots__ = ("_cursor", "_dctx")

    def __init__(
        self, runner: Any, dctx: Any, method: str, params: Mapping[str, Any] | None = None
    ) -> None:
        server = runner.server
        self._dctx = dctx
        self._cursor = _text(params, "cursor")
        super().__init__(
            method if _is_known_method(server, method) else catalogue.OTHER,
            server,
            _text(params, "name"),
            version=runner.connection.protocol_version,
            transport=_transport(dctx),
        )

    def answer(self, result: Mapping[str, Any]) -> None:
        """The server returned `result`, which the client gets unless it has cancelled."""
        if self._dctx.cancel_requested.is_set():  # and yet it ran to its end, as in a thread
            self.ended(outcome.CANCELLED, "CancelledError")
        elif result.get("resultType", "complete") != "complete":  # input_required, extensions'
            self.ended(outcome.INTERIM)
        elif self.call is not None and result.get("isError") is True:
            self.ended(outcome.TOOL_ERROR, outcome.TOOL_ERROR)
        else:
            if self.method == requests.TOOLS_LIST:
                names = [tool["name"] for tool in result.get("tools", ())]
                requests.tools_listed(self._server, names, self._cursor, result.get("nextCursor"))
            self.ended(outcome.OK)

    def end_with(self, error: BaseException) -> None:
        """The server raised `error`, which the dispatcher makes the answer of."""
        code = errors.code_of(error)
        if errors.is_malformed_request(error):
            self.ended(outcome.CALLER_ERROR, str(errors.INVALID_PARAMS), errors.INVALID_PARAMS)
        elif type(error).__name__ == "ValidationError":
            # A handler's own: the dispatcher blames the client for it all the same.
            self.raised(error, errors.INVALID_PARAMS)
        else:
            self.raised(error, code)


def _text(params: Mapping[str, Any] | None, key: str) -> str | None:
    value = params.get(key) if params else None
    return value if isinstance(value, str) else None


def _is_known_method(server: Any, method: str) -> bool:
    # `initialize` has no handler that could be found: the kernel answers it itself.
    return method == requests.INITIALIZE or server.get_request_handler(method) is not None


def _transport(dctx: Any) -> str | None:
    """`tcp` for HTTP. Streams may be pipes or memory: not known."""
    if dctx.transport.kind == "streamable-http":
        return "tcp"
    http_request = getattr(dctx.message_metadata, "request_context", None)
    return "tcp" if http_request is not None else None
