"""mcp 2.x servers: `ServerRunner._on_request`, the kernel of every transport and era."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metertap import catalogue
from metertap.measuring.calls import ENDED, OWNER, clock, current
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import stand_in
from metertap_instrumentation.tools.mcp import (
    errors,
    frameworks,
    handlers,
    requests,
    sessions,
    weights,
)
from metertap_instrumentation.tools.mcp.operations import (
    HTTP,
    PROMPTS_LIST,
    TOOLS_CALL,
    TOOLS_LIST,
    UNKNOWN,
)
from metertap_instrumentation.tools.mcp.requests import Request, find_served, served_by

_PLACE = "mcp.request"

_current = current.get


def patch_sets() -> Sequence[PatchSet]:
    """Return the patches of a server's kernel and of the dispatchers below it."""
    return [
        PatchSet(
            "mcp.server.runner",
            [
                stand_in("ServerRunner._on_request", around(_PLACE, _begin, _answered, _raised)),
                stand_in("ServerRunner._serialize", around(_PLACE, _serializes)),
            ],
        ),
        PatchSet(
            "mcp.shared.jsonrpc_dispatcher",
            [stand_in("JSONRPCDispatcher.run", sessions.run_dispatcher)],
        ),
        PatchSet(
            "mcp.shared.direct_dispatcher",
            [stand_in("DirectDispatcher.run", sessions.run_dispatcher)],
        ),
        *frameworks.patch_sets("mcp.server.mcpserver", [frameworks.call_target()]),
    ]


class _Request(Request):
    cancel_requested: Any
    params: Mapping[str, Any] | None


def _begin(
    runner: Any, dctx: Any, method: str, params: Mapping[str, Any] | None = None
) -> _Request:
    """Begin a request: `_on_request(dctx, method, params)`, which returns the result as a dict."""
    server = runner.server
    found = find_served(id(server))
    served = served_by(server) if found is None else found[1]
    if method not in served.methods:
        if server.get_request_handler(method) is not None:
            served.methods.add(method)
        else:
            method = catalogue.OTHER
    # A context of the newer protocol makes a copy of its transport each time that it is asked.
    dctx = getattr(dctx, "_inner", dctx)
    # Asked for before the call starts: a context may lack it.
    cancel_requested = dctx.cancel_requested
    transport = UNKNOWN
    kind = dctx.transport.kind
    if kind == "streamable-http":
        transport = HTTP
    elif kind == "jsonrpc":
        if getattr(dctx.message_metadata, "request_context", None) is None:
            transport = sessions.of_server(server)
        else:
            transport = HTTP
    request = _Request(served, method, params, runner.connection.protocol_version, transport)
    request.cancel_requested = cancel_requested
    request.params = params
    return request


def _serializes(_runner: Any, method: str, _version: object = None, _result: object = None) -> None:
    """Note that a handler has just returned: `_serialize(method, version, result)`."""
    if method == TOOLS_CALL:
        frame = _current()
        if frame is not None and isinstance(frame[OWNER], Request):
            if frame[ENDED] is None:
                frame[ENDED] = clock()
        elif (request := handlers.request_in_progress()) is not None:
            request.returns()


def _answered(request: _Request, result: Mapping[str, Any]) -> None:
    """Record that the server returned `result`: the client gets it unless it has cancelled."""
    ending: Ending | None = None
    try:
        if request.cancel_requested.is_set():  # and yet it ran to its end, as in a thread
            ending = requests.CANCELLED
        elif result.get("resultType", "complete") != "complete":  # input_required, extensions'
            ending = requests.INTERIM
        elif request.frame is not None:
            request.answer = result
            if result.get("isError") is True:
                ending = requests.TOOL_ERROR
        elif request.kind.method == TOOLS_LIST:
            tools = {tool["name"]: tool for tool in result.get("tools", ())}
            cursor = request.params.get("cursor") if request.params else None
            request.served.listed(
                tools,
                weights.of_wire,
                cursor if isinstance(cursor, str) else None,
                result.get("nextCursor"),
            )
        elif request.kind.method == PROMPTS_LIST:
            requests.prompts_listed(prompt["name"] for prompt in result.get("prompts", ()))
        request.end(ending)
    except Exception:
        request.abandon()
        raise


def _raised(request: _Request, error: BaseException) -> None:
    """Record that the server raised `error`, which the dispatcher makes the answer of."""
    try:
        if errors.is_malformed_request(error):
            request.end(requests.MALFORMED, errors.INVALID_PARAMS)
        elif type(error).__name__ == "ValidationError":
            # A handler's own: the dispatcher blames the client for it all the same.
            request.raised(error, errors.INVALID_PARAMS)
        else:
            request.raised(error, errors.code_of(error))
    finally:
        request.abandon()
