"""The handler of `tools/call` that `Server.call_tool` of mcp 1.x makes: what it calls, in order.

It looks up the tool's definition, validates the arguments, calls the program's function, and
validates its result. `Server._make_error_result` is called inside the `except` block that turns a
tool's exception into a result, so the exception can still be looked at.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from metertap import faults, outcomes
from metertap.measuring.calls import ENDED
from metertap.outcomes import Ending
from metertap.patching.shell import around, fitting
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.tools.mcp import handlers
from metertap_instrumentation.tools.mcp.requests import Request

_PLACE = "mcp.request"


def _looks_up(*_args: Any, **_kwargs: Any) -> Request | None:
    """Return the request for which the SDK calls `_get_cached_tool_definition(name)`."""
    return handlers.request_in_progress()


def _defines(original: Any, live: Live) -> Any:
    """Make the stand-in for `_get_cached_tool_definition`, with the guard of `around` inlined."""

    async def _get_cached_tool_definition(self: Any, tool_name: Any) -> Any:
        request: Request | None = None
        if live:
            try:
                request = handlers.request_in_progress()
            except Exception as error:
                faults.fault(_PLACE, error)
        try:
            tool = await original(self, tool_name)
        except BaseException as error:
            hide_frame(error)
            if request is not None:
                with faults.guarded(_PLACE):
                    request.begins()
            raise
        if request is not None:
            try:
                _defined(request, tool)
            except Exception as error:
                faults.fault(_PLACE, error)
        return tool

    return _get_cached_tool_definition


def _defined(request: Request, tool: Any) -> None:
    """Note the tool's definition, and that its handler is called next."""
    try:
        if tool is not None and request.name == tool.name:
            request.exists()
            request.definition = tool
    finally:
        request.begins()


def _validates(_instance: object = None, schema: object = None, *_rest: Any, **_named: Any) -> None:
    """Note that a handler has returned, if `jsonschema.validate` is called for its result."""
    request = handlers.request_in_progress()
    if (
        request is not None
        and request.frame is not None
        and request.frame[ENDED] is None  # else the framework has noted it
        and _is_of_answer(request, schema)
        and _validates_answer(sys._getframe(2))
    ):
        request.returns()


def _is_of_answer(request: Request, schema: object) -> bool:
    """Return whether `schema` can be that of the tool's results, at little cost."""
    tool = request.definition
    return tool is None or tool.outputSchema is schema


def _validates_answer(frame: Any) -> bool:
    """Return whether the SDK calls, and its handler's local variable `results` exists."""
    for _ in range(3):  # others may have wrapped it after us
        if frame is None:
            return False
        if frame.f_globals.get("__name__") == "mcp.server.lowlevel.server":
            return "results" in frame.f_locals
        frame = frame.f_back
    return False


def error_result(_instance: Any, _args: Any, _kwargs: Any) -> None:
    """Note the exception that `_make_error_result` turns into an error result."""
    request = handlers.request_in_progress()
    error = sys.exc_info()[1]
    if request is not None and error is not None and _is_handled_by_caller(error):
        _note(request, error)


def _is_handled_by_caller(error: BaseException) -> bool:
    """Return whether `error` was caught by the calling function, and not further out."""
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
    if traceback is not None and _raised_by(traceback).startswith("jsonschema"):
        # The handler validates both arguments and result, in the same way. Before the tool has run,
        # its local variable `results` does not exist.
        rejected = "results" not in traceback.tb_frame.f_locals
        request.known = True
        request.noted = Ending(
            outcomes.CALLER_ERROR if rejected else outcomes.EXCEPTION, outcomes.error_type(error)
        )
    elif request.is_claimed or request.frame is None or request.frame[ENDED] is None:
        request.fails(error)


def _raised_by(traceback: TracebackType) -> str:
    """Return the module in which a handler's call raised an error."""
    name = "metertap"
    called: TracebackType | None = traceback
    while called is not None and name.startswith("metertap"):  # on Python 3.10 our frames stay
        called = called.tb_next
        name = "" if called is None else str(called.tb_frame.f_globals.get("__name__", ""))
    return name


define = fitting(
    "self, tool_name",
    _defines,
    around(_PLACE, _looks_up, _defined, lambda request, _error: request.begins()),
)
"""Watch `Server._get_cached_tool_definition(name)`, which a handler calls first."""
validate = around(_PLACE, _validates)
"""Watch `jsonschema.validate`, by which a handler checks arguments and results."""
