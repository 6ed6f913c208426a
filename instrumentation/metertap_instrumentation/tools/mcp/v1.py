"""mcp 1.x servers: `Server._handle_request`, through which every request passes but `initialize`.

It swallows what handlers raise and returns nothing, so the answer is read when it is given, from
`RequestResponder.respond`. `Server._make_error_result` is called inside the `except` block that
turns a tool's exception into a result: the exception is still there to be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from metertap import outcomes
from metertap.measuring.calls import ENDED
from metertap.outcomes import Ending
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Target, stand_in
from metertap_instrumentation.tools.mcp import (
    errors,
    frameworks,
    handlers,
    requests,
    sessions,
    weights,
)
from metertap_instrumentation.tools.mcp.operations import HTTP, INITIALIZE, PROMPTS_LIST, TOOLS_LIST
from metertap_instrumentation.tools.mcp.requests import Request, Served

_PLACE = "mcp.request"
_MEASURED = "_metertap_request"
"""The attribute in which a `RequestResponder` keeps our request until it is answered."""

_sessions = Served("")
"""The stand-in for the server where a session answers by itself."""


def patch_sets() -> Sequence[PatchSet]:
    """Return what is wrapped. The first is one set: without `respond` nothing would be answered."""
    return [
        PatchSet(
            "mcp.server.lowlevel.server",
            [
                stand_in(
                    "Server._handle_request", around(_PLACE, _begin, _end_unanswered, _end_with)
                ),
                stand_in(
                    "Server._get_cached_tool_definition",
                    around(_PLACE, _looks_up, _defined, lambda request, _error: request.begins()),
                ),
                Target("Server._make_error_result", handlers.before("mcp.error", error_result)),
                stand_in("RequestResponder.respond", around(_PLACE, _responds)),
                stand_in(
                    "ServerSession._received_request",
                    around(_PLACE, _begin_initialize, _end_unanswered, _end_with),
                ),
                stand_in("ServerSession._receive_loop", sessions.run_server_session),
                stand_in("jsonschema.validate", around(_PLACE, _validates)),
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
        """Return whether the tool exists: the server refreshes its list before it calls one."""
        listed = self.server._tool_cache
        if self.name in listed:
            return True
        if failed and listed and not self.served.tools.is_paged:
            return False
        return super().is_listed(failed=failed)


def _begin(server: Any, message: Any, *_rest: Any, **_named: Any) -> _Request:
    """Begin one request: `_handle_request(message, req, session, …)`."""
    return _new(server, message)


def _begin_initialize(session: Any, responder: Any) -> _Request | None:
    """Begin `initialize`, to which `ServerSession._received_request(responder)` answers."""
    if responder.request.root.method != INITIALIZE:
        return None
    return _new(None, responder, session)


def _responds(responder: Any, response: Any) -> None:
    """Record what `RequestResponder.respond(response)` is about to send: sending is no more."""
    request = responder.__dict__.get(_MEASURED)
    if request is not None and not request.is_ended:
        _answered(request, response, responder.cancelled)


def _new(server: Any, message: Any, session: Any = None) -> _Request:
    asked = message.request.root
    # Not getattr: asked for what it lacks, a pydantic model takes microseconds to say so.
    params = asked.__dict__.get("params")
    fields = None if params is None else params.__dict__
    # An HTTP request is attached to messages that came over HTTP.
    if getattr(message.message_metadata, "request_context", None) is not None:
        transport = HTTP
    else:
        transport = sessions.of_session(session) if server is None else sessions.of_server(server)
    served = _sessions if server is None else requests.served_by(server)
    request = _Request.arrived(served, asked.method, fields, None, transport)
    request.server = server
    if asked.method == TOOLS_LIST and fields:
        request.cursor = fields.get("cursor")
    setattr(message, _MEASURED, request)
    return request


def _answered(request: _Request, response: Any, cancelled: bool) -> None:
    """Record that `response`, a `ServerResult` or `ErrorData`, is about to be sent."""
    result = vars(response).get("root", response)
    fields = vars(result)
    code = fields.get("code")
    if cancelled:  # and yet it ran to its end: nobody waits for the answer
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
            requests.prompts_listed(prompt.name for prompt in result.prompts)
        if request.frame is not None:
            request.is_ended = True
            request.succeed(fields)
        else:
            request.end()


def _end_with(request: _Request, error: BaseException) -> None:
    """Record that the handler raised through the server: cancelled, or `raise_exceptions` is on."""
    try:
        if not request.is_ended:
            request.raised(error)
    finally:
        request.abandon()


def _end_unanswered(request: _Request, _result: object) -> None:
    """Record, if there was no answer, that the client had cancelled the request."""
    try:
        if not request.is_ended:
            request.end(requests.CANCELLED)
    finally:
        request.abandon()


def _looks_up(*_args: Any, **_kwargs: Any) -> Request | None:
    """Find the request for which the SDK asks `_get_cached_tool_definition(name)`, before it."""
    return handlers.request_in_progress()


def _defined(request: Request, tool: Any) -> None:
    """Note the tool as it is listed, and that its handler is called next."""
    try:
        if tool is not None and request.name == tool.name:
            request.exists()
            request.definition = tool
    finally:
        request.begins()


def _validates(_instance: object = None, schema: object = None, *_rest: Any, **_named: Any) -> None:
    """Note that a handler has returned what `jsonschema.validate` is called with."""
    request = handlers.request_in_progress()
    if (
        request is not None
        and _is_of_answer(request, schema)
        and _validates_answer(sys._getframe(2))
    ):
        request.returns()


def _is_of_answer(request: Request, schema: object) -> bool:
    """Return whether `schema` can be that of the tool's answers, at little cost."""
    tool = request.definition
    return tool is None or tool.outputSchema is schema


def _validates_answer(frame: Any) -> bool:
    """Return whether the SDK asks, and the local of its handler that holds the results is there."""
    for _ in range(3):  # others may have wrapped it after us
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "mcp.server.lowlevel.server":
            return "results" in frame.f_locals
        frame = frame.f_back
    return False


def error_result(_instance: Any, _args: Any, _kwargs: Any) -> None:
    """`_make_error_result`: look at the exception that is being turned into an error result."""
    request = handlers.request_in_progress()
    error = sys.exc_info()[1]
    if request is not None and error is not None and _is_handled_by_caller(error):
        _note(request, error)


def _is_handled_by_caller(error: BaseException) -> bool:
    """Return whether `error` was caught in the frame that called us, and not further out."""
    frame: Any = sys._getframe(3)
    for _ in range(4):  # wrapt's pure Python version has a frame of its own
        if frame is None or error.__traceback__ is None:
            return False
        if error.__traceback__.tb_frame is frame:
            return True
        frame = frame.f_back
    return False


def _note(request: Request, error: BaseException) -> None:
    traceback = error.__traceback__
    raised_by = traceback.tb_next if traceback is not None else None
    if (
        traceback is not None
        and raised_by is not None
        and str(raised_by.tb_frame.f_globals.get("__name__", "")).startswith("jsonschema")
    ):
        # The handler itself validates twice, arguments and result, in the same manner. Before the
        # tool has run, its local `results` does not exist.
        rejected = "results" not in traceback.tb_frame.f_locals
        request.known = True
        request.noted = Ending(
            outcomes.CALLER_ERROR if rejected else outcomes.EXCEPTION, outcomes.error_type(error)
        )
    elif request.is_claimed or request.frame is None or request.frame[ENDED] is None:
        request.fails(error)
