"""mcp 2.x servers: `ServerRunner._on_request`, the kernel of all transports and eras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metertap import catalogue, faults
from metertap.measuring import calls
from metertap.measuring.calls import PATCH, Frame, clock, current
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around, fitting
from metertap.patching.targets import Live, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import (
    errors,
    handlers,
    mcpserver,
    requests,
    sessions,
    weights,
)
from metertap_instrumentation.tools.mcp.operations import (
    HTTP,
    NAMING,
    PROMPTS_LIST,
    TOOLS_CALL,
    TOOLS_LIST,
    UNKNOWN,
    Transport,
)
from metertap_instrumentation.tools.mcp.requests import Request, keep, request_of
from metertap_instrumentation.tools.mcp.served import (
    find_served,
    name_in,
    prompts_listed,
    served_by,
)

_PLACE = "mcp.request"

_current, _set_current = current.get, current.set


def patch_sets() -> Sequence[PatchSet]:
    """Return the patches of a server's kernel and of the dispatchers below it."""
    return [
        PatchSet(
            "mcp.server.runner",
            [
                stand_in("ServerRunner._on_request", serve),
                stand_in("ServerRunner._serialize", note),
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
        *mcpserver.patch_sets(),
    ]


def _begin(runner: Any, dctx: Any, method: str, params: Mapping[str, Any] | None = None) -> Request:
    """Begin a request: `_on_request(dctx, method, params)`, which returns the result as a dict."""
    server = runner.server
    served = served_by(server)
    request = Request()
    # A context of the newer protocol copies its transport at each access.
    dctx = getattr(dctx, "_inner", dctx)
    # Before the call starts, since a context may lack it.
    request.cancel_requested = dctx.cancel_requested
    transport, version = _transport(server, dctx), runner.connection.protocol_version
    name = None
    if method in NAMING:
        name = name_in(params)
    else:
        request.params = params
    kind = served.find_kind((method, name, version, transport))
    if kind is None:
        if not served.answers(server, method):
            method, name = catalogue.OTHER, None
        kind = served.kind(method, name, version, transport)
    request.begin(served, kind, name)
    return request


def _transport(server: Any, dctx: Any) -> Transport:
    """Return the transport of a request of `server`, in whose context this code runs."""
    kind = dctx.transport.kind
    if kind == "jsonrpc":  # over anything with a stream
        if getattr(dctx.message_metadata, "request_context", None) is None:
            return sessions.of_server(server)
        return HTTP
    return HTTP if kind == "streamable-http" else UNKNOWN


def _serve(original: Any, live: Live) -> Any:
    """Make the stand-in for `_on_request`, which itself measures calls of known tools.

    It leaves other requests, and other endings, to `_begin`, `_answered` and `_raised`.
    """

    async def _on_request(self: Any, dctx: Any, method: str, params: Any) -> Any:
        request: Request | None = None
        frame: Frame | None = None
        kind: Any = None
        if live:
            try:
                if method == TOOLS_CALL and (served := find_served(id(self.server))) is not None:
                    # A context of the newer protocol copies its transport at each access.
                    context = getattr(dctx, "_inner", dctx)
                    cancelled = context.cancel_requested
                    version = self.connection.protocol_version
                    transport = _transport(self.server, context)
                    try:
                        kind = served.find_kind((method, params["name"], version, transport))
                    except (KeyError, TypeError):  # malformed, as `_begin` will notice
                        pass
                    outer = _current()
                    # Most often there is none, or one that has ended and was inside no other.
                    if kind is not None and (
                        outer is None or (outer[0] is None and outer[2] is None)
                    ):
                        # Inlined from `calls.enter_outermost`, to save a call.
                        tool = kind.tool
                        frame = [tool, kind, None, False, False, None, 0.0, None, 0, None]
                        tick = tool.tick
                        try:
                            tick()
                            _set_current(frame)
                            frame[6] = arrived = clock()
                        except BaseException as refused:
                            calls.enter_again(frame, refused)
                            arrived = frame[6]
                if frame is None:
                    request = _begin(self, dctx, method, params)
            except Exception as error:
                frame = None
                faults.fault(_PLACE, error)
        try:
            result = await original(self, dctx, method, params)
        except BaseException as error:
            hide_frame(error)
            with faults.guarded(_PLACE):
                if frame is not None:
                    request = _request(frame, kind, arrived)
                if request is not None:
                    _raised(request, error)
            raise
        try:
            if frame is not None and not (
                result.get("isError") is not True
                and not cancelled.is_set()
                and result.get("resultType", "complete") == "complete"
                and keep(kind, frame, arrived, result)
            ):
                request = _request(frame, kind, arrived)
                request.cancel_requested = cancelled
            if request is not None:
                _answered(request, result)
        except BaseException as error:
            if frame is not None and frame[0]:
                calls.give_up(frame)
            faults.fault(_PLACE, error)
        return result

    return _on_request


def _request(frame: Frame, kind: Any, arrived: float) -> Request:
    """Return the request of the call with this frame, ready to be recorded."""
    try:
        request = request_of(frame, kind)
        request.started = arrived
        return request
    except BaseException:
        calls.give_up(frame)
        raise


def _note(original: Any, live: Live) -> Any:
    """Make the stand-in for `_serialize`, which is called when a handler has just returned."""

    def _serialize(self: Any, method: str, version: Any, result: Any) -> Any:
        if live and method == TOOLS_CALL:
            try:
                frame = _current()
                # Most often the innermost call is the handler's.
                if (
                    frame is not None
                    and (owner := frame[1]) is not None
                    and owner.counted_by is PATCH
                ):
                    if frame[9] is None:
                        frame[9] = clock()
                elif (request := handlers.request_in_progress()) is not None:
                    request.returns()
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            return original(self, method, version, result)
        except BaseException as error:
            hide_frame(error)
            raise

    return _serialize


def _serializes(_runner: Any, method: str, _version: object = None, _result: object = None) -> None:
    """Note that a handler has just returned: `_serialize(method, version, result)`."""
    if method == TOOLS_CALL and (request := handlers.request_in_progress()) is not None:
        request.returns()


def _answered(request: Request, result: Mapping[str, Any]) -> None:
    """Record that the server returned `result`, which the client gets unless it has cancelled."""
    ending: Ending | None = None
    try:
        if request.cancel_requested.is_set():  # though it ran to its end, as a thread does
            ending = requests.CANCELLED
        elif result.get("resultType", "complete") != "complete":  # input_required, an extension's
            ending = requests.INTERIM
        elif request.frame is not None:
            if result.get("isError") is not True:
                request.succeed(result)
                return
            request.answer, ending = result, requests.TOOL_ERROR
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
            prompts_listed(prompt["name"] for prompt in result.get("prompts", ()))
        request.end(ending)
    except Exception:
        request.abandon()
        raise


def _raised(request: Request, error: BaseException) -> None:
    """Record that the server raised `error`, of which the dispatcher makes the answer."""
    try:
        if errors.is_malformed_request(error):
            request.end(requests.MALFORMED, errors.INVALID_PARAMS)
        elif type(error).__name__ == "ValidationError":
            # A handler's own error, though the dispatcher tells the client that it is the client's.
            request.raised(error, errors.INVALID_PARAMS)
        else:
            request.raised(error, errors.code_of(error))
    finally:
        request.abandon()


serve = fitting("self, dctx, method, params", _serve, around(_PLACE, _begin, _answered, _raised))
"""Measure `_on_request(dctx, method, params)`."""
note = fitting("self, method, version, result", _note, around(_PLACE, _serializes))
"""Note the end of a handler, when its result is serialised by `_serialize`."""
