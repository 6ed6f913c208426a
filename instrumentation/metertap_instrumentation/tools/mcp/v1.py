"""mcp 1.x servers: `Server._handle_request`, through which every request passes but `initialize`.

It swallows what handlers raise and returns nothing, so the answer is read when it is given, from
`RequestResponder.respond`. `Server._make_error_result` is called inside the `except` block that
turns a tool's exception into a result: the exception is still there to be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from metertap import faults, outcomes
from metertap.measuring import calls
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.hints import note, watch_lookup
from metertap_instrumentation.tools.mcp.requests import ServerRequest
from metertap_instrumentation.tools.mcp.sessions import run_session

_MEASURED = "_metertap_request"
"""Where a `RequestResponder` keeps our request until it is answered."""


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped. One set: without `respond` no request would seem to be answered."""
    return [
        PatchSet(
            "mcp.server.lowlevel.server",
            [
                Target("Server._handle_request", handle_request),
                Target("Server._make_error_result", make_error_result),
                Target("Server._get_cached_tool_definition", watch_lookup),
                Target("RequestResponder.respond", respond),
                Target("ServerSession._received_request", received_request),
                Target("ServerSession._receive_loop", run_session),
            ],
        ),
        PatchSet("fastmcp.server.server", [Target("FastMCP.get_tool", watch_lookup)]),
    ]


def handle_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Measure one request: `_handle_request(message, req, session, …)`."""
    message = args[0] if args else kwargs.get("message")
    return _measured(message, instance, wrapped, args, kwargs)


def received_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`ServerSession._received_request(responder)`: the session answers `initialize` itself."""
    responder = args[0] if args else kwargs.get("responder")
    with faults.guarded("mcp.request"):
        if responder.request.root.method == requests.INITIALIZE:
            return _measured(responder, None, wrapped, args, kwargs)
    return wrapped(*args, **kwargs)


def respond(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`RequestResponder.respond(response)`: sending the answer is the client's time already."""
    with faults.guarded("mcp.response"):
        request = vars(instance).get(_MEASURED)
        if request is not None:
            request.answer(args[0] if args else kwargs["response"], cancelled=instance.cancelled)
    return wrapped(*args, **kwargs)


async def _measured(message: Any, server: Any, wrapped: Any, args: Any, kwargs: Any) -> Any:
    request = None
    with faults.guarded("mcp.request"):
        request = _Request(server, message)
        setattr(message, _MEASURED, request)
    if request is None:
        return await wrapped(*args, **kwargs)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("mcp.request"):
            hide_frame(error)
            request.end_with(error)
        raise
    else:
        with faults.guarded("mcp.request"):
            request.end_unanswered()
        return result
    finally:
        with faults.guarded("mcp.request"):
            request.abandon()


class _Request(ServerRequest):
    """Ends when it is answered."""

    def __init__(self, server: Any, message: Any) -> None:
        self._answered = False
        request = message.request.root
        self._cursor = getattr(getattr(request, "params", None), "cursor", None)
        # An HTTP request is attached to messages that came over HTTP.
        over_http = getattr(message.message_metadata, "request_context", None) is not None
        name = getattr(getattr(request, "params", None), "name", None)
        transport = "tcp" if over_http else None
        source = "" if server is None else requests.source_of(server)
        super().__init__(request.method, server, source, name, transport=transport)

    def answer(self, response: Any, *, cancelled: bool) -> None:
        """`response` is about to be sent: a `ServerResult`, or `ErrorData`."""
        if self._answered:
            return
        self._answered = True
        # Not getattr: asked for what it lacks, a pydantic model takes microseconds to say so.
        result = vars(response).get("root", response)
        fields = vars(result)
        code = fields.get("code")
        if cancelled:  # and yet it ran to its end: nobody waits for the answer
            self._end(outcomes.CANCELLED, "CancelledError")
        elif isinstance(code, int) and "message" in fields:  # ErrorData
            self._end(errors.of_code(code), str(code), code)
        elif fields.get("isError"):
            self._end(outcomes.TOOL_ERROR, outcomes.TOOL_ERROR)
        elif type(result).__name__ == "CreateTaskResult":
            self._end(outcomes.INTERIM)
        else:
            if self.method == requests.TOOLS_LIST:
                self._listed(result)
            self._end(outcomes.OK)

    def end_with(self, error: BaseException) -> None:
        """The handler raised through the server: cancelled, or `raise_exceptions` is on."""
        if not self._answered:
            self._answered = True
            self._look_up(failed=True)
            self.raised(error)

    def end_unanswered(self) -> None:
        """It returned without an answer: the client had cancelled the request."""
        if not self._answered:
            self._answered = True
            self._end(outcomes.CANCELLED, "CancelledError")

    def _end(self, result: str, error_type: str | None = None, code: int | None = None) -> None:
        self._look_up(failed=result in outcomes.FAILED or result == outcomes.CALLER_ERROR)
        self.ended(result, error_type, code)

    def _listed(self, result: Any) -> None:
        names = [tool.name for tool in result.tools]
        requests.tools_listed(self._server, names, self._cursor, result.nextCursor)

    def _look_up(self, *, failed: bool) -> None:
        """Whether the tool exists: the server refreshes its own list before it calls one."""
        call = self.call
        if call is None or call.known is not None:
            return
        cache = self._server._tool_cache
        if call.name in cache:
            call.known = True
        elif failed and cache and not requests.tool_list(self._server).is_paged:
            call.known = False


def make_error_result(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Look at the exception that is being turned into an error result."""
    with faults.guarded("mcp.error"):
        call = calls.watched()
        error = sys.exc_info()[1]
        if call is not None and error is not None and _is_handled_by_caller(error):
            _note(call, error)
    return wrapped(*args, **kwargs)


def _is_handled_by_caller(error: BaseException) -> bool:
    """Whether `error` was caught in the frame that called us, and not further out."""
    frame: Any = sys._getframe(2)
    for _ in range(4):  # wrapt's pure Python version has a frame of its own
        if frame is None or error.__traceback__ is None:
            return False
        if error.__traceback__.tb_frame is frame:
            return True
        frame = frame.f_back
    return False


def _note(call: calls.Call, error: BaseException) -> None:
    traceback = error.__traceback__
    raised_by = traceback.tb_next if traceback is not None else None
    if (
        traceback is not None
        and raised_by is not None
        and str(raised_by.tb_frame.f_globals.get("__name__", "")).startswith("jsonschema")
    ):
        # The handler itself validates twice, arguments and result, in the same manner. Before the
        # tool has run, its local `results` does not exist.
        call.known = True
        rejected = "results" not in traceback.tb_frame.f_locals
        ended = outcomes.CALLER_ERROR if rejected else outcomes.EXCEPTION
        call.note(ended, outcomes.error_type(error))
    else:
        note(call, error)
