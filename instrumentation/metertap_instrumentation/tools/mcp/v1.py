"""mcp 1.x servers: `Server._handle_request`, through which every request passes.

It swallows what handlers raise and returns nothing, so the answer is read from `respond` of the
request at hand. `Server._make_error_result` is called inside the `except` block that turns a
tool's exception into a result: the exception is still there to be looked at.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from metertap import calls, guard, outcome
from metertap.patching import PatchSet, Target
from metertap_instrumentation.tools.mcp import errors, requests
from metertap_instrumentation.tools.mcp.requests import ServerRequest
from metertap_instrumentation.tools.mcp.sessions import run_session


def patch_sets() -> Sequence[PatchSet]:
    """What is wrapped."""
    return [
        PatchSet(
            "mcp.server.lowlevel.server",
            [
                Target("Server._handle_request", handle_request),
                Target("Server._make_error_result", make_error_result),
                Target("Server.run", run_session),
            ],
        )
    ]


async def handle_request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Measure one request: `_handle_request(message, req, session, …)`."""
    request = None
    with guard.guarded("mcp.request"):
        message = args[0] if args else kwargs["message"]
        request = _begin(instance, message, args[1] if len(args) > 1 else kwargs["req"])
    if request is None:
        return await wrapped(*args, **kwargs)
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("mcp.request"):
            request.end_with(error)
            calls.hide_frame(error)
        raise
    with guard.guarded("mcp.request"):
        request.end_unanswered()
    return result


class _Request(ServerRequest):
    """Ends when it is answered: sending the answer is the client's time, not the tool's."""

    __slots__ = ("_answered", "_server")

    def __init__(self, server: Any, request: Any, transport: str | None) -> None:
        self._server = server
        self._answered = False
        params = getattr(request, "params", None)
        super().__init__(
            request.method, str(server.name), getattr(params, "name", None), transport=transport
        )

    def answer(self, response: Any) -> None:
        """`response` is about to be sent: a `ServerResult`, or `ErrorData`."""
        if self._answered:
            return
        self._answered = True
        result = getattr(response, "root", response)
        code = getattr(result, "code", None)
        if isinstance(code, int) and hasattr(result, "message"):  # ErrorData
            self._note_whether_known()
            self.ended(errors.of_code(code), str(code), code)
            return
        if self.method == requests.TOOLS_LIST:
            tools, cursor = getattr(result, "tools", ()), getattr(result, "nextCursor", None)
            source = f"mcp:{self._server.name}"
            requests.lists.listed(source, [tool.name for tool in tools], last_page=cursor is None)
        self._note_whether_known()
        if getattr(result, "isError", False):
            self.ended(outcome.TOOL_ERROR, outcome.TOOL_ERROR)
        elif type(result).__name__ == "CreateTaskResult":
            self.ended(outcome.INTERIM)
        else:
            self.ended(outcome.OK)

    def end_with(self, error: BaseException) -> None:
        """The handler raised through the server: cancelled, or `raise_exceptions` is on."""
        if not self._answered:
            self._answered = True
            self._note_whether_known()
            self.raised(error)

    def end_unanswered(self) -> None:
        """It returned without an answer: the client had cancelled the request."""
        if not self._answered:
            self._answered = True
            self.ended(outcome.CANCELLED, "CancelledError")

    def _note_whether_known(self) -> None:
        """The server refreshes its list of tools before it calls one."""
        call = self.call
        if call is None or call.known is not None:
            return
        cache = getattr(self._server, "_tool_cache", {})
        if call.name in cache:
            call.known = True
        elif (cache or call.outcome is not None) and call.source not in requests.lists.paged:
            handlers = getattr(self._server, "request_handlers", {})
            if any(kind.__name__ == "ListToolsRequest" for kind in handlers):
                call.known = False


def _begin(server: Any, message: Any, request: Any) -> _Request:
    # An HTTP request is attached to messages that came over HTTP.
    over_http = getattr(message.message_metadata, "request_context", None) is not None
    measured = _Request(server, request, "tcp" if over_http else None)
    respond = message.respond

    def answer_and_respond(response: Any) -> Any:
        with guard.guarded("mcp.response"):
            measured.answer(response)
        return respond(response)

    message.respond = answer_and_respond
    return measured


def make_error_result(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Look at the exception that is being turned into an error result."""
    with guard.guarded("mcp.error"):
        call = calls.current.get()
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
        ended = outcome.CALLER_ERROR if rejected else outcome.EXCEPTION
        call.note(ended, outcome.error_type(error))
    else:
        errors.note(call, error)
