"""mcp 1.x servers: `Server._handle_request`, which every request passes except `initialize`.

It swallows a handler's exceptions and returns nothing, so the answer is taken when it is given, by
`RequestResponder.respond`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import faults
from metertap.measuring.calls import SERIES
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around, fitting
from metertap.patching.targets import Live, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import (
    errors,
    frameworks,
    handlers,
    requests,
    sessions,
    v1_handlers,
    weights,
)
from metertap_instrumentation.tools.mcp.operations import (
    HTTP,
    INITIALIZE,
    PROMPTS_LIST,
    TOOLS_CALL,
    TOOLS_LIST,
    Transport,
)
from metertap_instrumentation.tools.mcp.requests import Request
from metertap_instrumentation.tools.mcp.served import (
    Served,
    find_served,
    prompts_listed,
    served_by,
)

_PLACE = "mcp.request"
_MEASURED = "_metertap_request"
"""The attribute of a `RequestResponder` that holds our request until it is answered."""

_sessions = Served("")
"""The stand-in for a server, for requests that a session answers itself."""


def patch_sets() -> Sequence[PatchSet]:
    """Return the patches. The first set belongs together: without `respond` nothing is answered."""
    return [
        PatchSet(
            "mcp.server.lowlevel.server",
            [
                stand_in("Server._handle_request", serve),
                stand_in("Server._get_cached_tool_definition", v1_handlers.define),
                Target(
                    "Server._make_error_result",
                    handlers.before("mcp.error", v1_handlers.error_result),
                ),
                stand_in("RequestResponder.respond", respond),
                stand_in("ServerSession._received_request", receive),
                stand_in("ServerSession._receive_loop", sessions.run_server_session),
                stand_in("jsonschema.validate", v1_handlers.validate),
            ],
        ),
        PatchSet(
            "mcp.client.session",
            [stand_in("ClientSession._receive_loop", sessions.run_client_session)],
            name="mcp.client.session (sessions)",
        ),
        *sessions.websocket_patch_sets(),
        *frameworks.patch_sets(
            "mcp.server.fastmcp",
            handlers.dispatch_by_manager,
            [
                stand_in("ArgModelBase.model_dump_one_level", frameworks.validated),
                stand_in("FuncMetadata.convert_result", handlers.convert),
            ],
        ),
    ]


class _Request(Request):
    cursor: str | None = None
    server: Any = None

    def is_listed(self, *, failed: bool) -> bool | None:
        """Return whether the tool exists: the server refreshes its list before it calls a tool."""
        listed = self.server._tool_cache
        if self.name in listed:
            return True
        if failed and listed and not self.served.tools.is_paged:
            return False
        return super().is_listed(failed=failed)


def _begin(server: Any, message: Any, *_rest: Any, **_named: Any) -> _Request:
    """Begin one request: `_handle_request(message, req, session, …)`."""
    asked = message.request.root
    served = find_served(id(server))
    if served is None or asked.method != TOOLS_CALL:
        return _new(server, message)
    params = asked.__dict__.get("params")
    name = None if params is None else params.__dict__.get("name")
    if type(name) is not str:
        return _new(server, message)
    kind = served.find_kind((TOOLS_CALL, name, None, _transport(server, message)))
    if kind is None:
        return _new(server, message)
    request = _Request()
    request.server = server
    request.begin(served, kind, name)
    message.__dict__[_MEASURED] = request  # no call, so no interrupt either
    return request


def _transport(server: Any, message: Any, session: Any = None) -> Transport:
    """Return the transport of a request of `server`, in whose context this code runs.

    Without a server it is that of `session`, which answers the request itself.
    """
    metadata = message.message_metadata
    # Messages over HTTP have an HTTP request attached.
    if metadata is not None and getattr(metadata, "request_context", None) is not None:
        return HTTP
    return sessions.of_session(session) if server is None else sessions.of_server(server)


def _handles(original: Any, live: Live) -> Any:
    """Make the stand-in for `_handle_request`, with the guard of `around` inlined."""

    async def _handle_request(
        self: Any,
        message: Any,
        req: Any,
        session: Any,
        lifespan_context: Any,
        raise_exceptions: Any,
    ) -> Any:
        request: _Request | None = None
        if live:
            try:
                request = _begin(self, message)
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            result = await original(self, message, req, session, lifespan_context, raise_exceptions)
        except BaseException as error:
            hide_frame(error)
            if request is not None:
                with faults.guarded(_PLACE):
                    _end_with(request, error)
            raise
        if request is not None:
            try:
                frame = request.frame
                if not request.is_ended or (frame is not None and frame[SERIES]):
                    _end_unanswered(request, result)
            except Exception as error:
                faults.fault(_PLACE, error)
        return result

    return _handle_request


def _receives(original: Any, live: Live) -> Any:
    """Make the stand-in for `_received_request`, which passes all requests but `initialize` on."""
    general = around(_PLACE, _begin_initialize, _end_unanswered, _end_with)(original, live)

    async def _received_request(self: Any, responder: Any) -> Any:
        receives = original
        if live:
            try:
                if responder.request.root.method == INITIALIZE:
                    receives = general
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            return await receives(self, responder)
        except BaseException as error:
            hide_frame(error)
            raise

    return _received_request


def _answers(original: Any, live: Live) -> Any:
    """Make the stand-in for `respond`, with the guard of `around` inlined."""

    async def respond(self: Any, response: Any) -> Any:
        if live:
            try:
                request = self.__dict__.get(_MEASURED)
                if request is not None and not request.is_ended:
                    _answered(request, response, self.cancelled)
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            return await original(self, response)
        except BaseException as error:
            hide_frame(error)
            raise

    return respond


def _begin_initialize(session: Any, responder: Any) -> _Request | None:
    """Begin `initialize`, which `ServerSession._received_request(responder)` answers."""
    if responder.request.root.method != INITIALIZE:
        return None
    return _new(None, responder, session)


def _responds(responder: Any, response: Any) -> None:
    """Record what `RequestResponder.respond(response)` is about to send."""
    request = responder.__dict__.get(_MEASURED)
    if request is not None and not request.is_ended:
        _answered(request, response, responder.cancelled)


def _new(server: Any, message: Any, session: Any = None) -> _Request:
    asked = message.request.root
    # Not getattr: for a missing attribute, a pydantic model takes microseconds to raise.
    params = asked.__dict__.get("params")
    fields = None if params is None else params.__dict__
    transport = _transport(server, message, session)
    served = _sessions if server is None else served_by(server)
    request = _Request.arrived(served, asked.method, fields, None, transport)
    request.server = server
    if asked.method == TOOLS_LIST and fields:
        request.cursor = fields.get("cursor")
    message.__dict__[_MEASURED] = request
    return request


def _answered(request: _Request, response: Any, cancelled: bool) -> None:
    """Record that `response`, a `ServerResult` or `ErrorData`, is about to be sent."""
    result = vars(response).get("root", response)
    fields = vars(result)
    frame = request.frame
    if frame is not None and not cancelled and fields.get("isError") is False:  # most often
        request.is_ended = True
        if not requests.keep(request.kind, frame, request.started, fields):
            request.answer = fields
            request.end()
        return
    code = fields.get("code")
    if cancelled:  # though it ran to its end
        request.end(requests.CANCELLED)
    elif isinstance(code, int) and "message" in fields:  # ErrorData
        request.end(Ending(errors.of_code(code), str(code)), code)
    elif fields.get("isError"):
        request.answer = fields
        request.end(requests.TOOL_ERROR)
    elif type(result).__name__ == "CreateTaskResult":
        request.end(requests.INTERIM)
    else:
        if request.kind.method == TOOLS_LIST:
            tools = {tool.name: tool for tool in result.tools}
            request.served.listed(tools, weights.of_sent, request.cursor, result.nextCursor)
        elif request.kind.method == PROMPTS_LIST:
            prompts_listed(prompt.name for prompt in result.prompts)
        if frame is not None:
            request.answer = fields
        request.end()


def _end_with(request: _Request, error: BaseException) -> None:
    """Record what the server raised: it was cancelled, or `raise_exceptions` is on."""
    try:
        if not request.is_ended:
            request.raised(error)
    finally:
        request.abandon()


def _end_unanswered(request: _Request, _result: object) -> None:
    """Record a request without an answer, which its client has cancelled."""
    try:
        if not request.is_ended:
            request.end(requests.CANCELLED)
    finally:
        request.abandon()


serve = fitting(
    "self, message, req, session, lifespan_context, raise_exceptions",
    _handles,
    around(_PLACE, _begin, _end_unanswered, _end_with),
)
"""Measure `Server._handle_request(message, …)`."""
receive = fitting(
    "self, responder", _receives, around(_PLACE, _begin_initialize, _end_unanswered, _end_with)
)
"""Measure `ServerSession._received_request(responder)`, which answers `initialize` by itself."""
respond = fitting("self, response", _answers, around(_PLACE, _responds))
"""Watch `RequestResponder.respond(response)`."""
