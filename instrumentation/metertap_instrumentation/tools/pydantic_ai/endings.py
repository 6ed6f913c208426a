"""The outcome of a tool call that raised: the framework's own exceptions, and their causes.

Functions that an exception passed tell what raised it: toolsets run tools in `call_tool`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from metertap import outcomes
from metertap.outcomes import Ending

_RUN = "call_tool"
# Exceptions that tell the model something, and those that a tool raises for it.
_TOLD = ("ToolRetryError", "ToolFailedError")
_TELLING = ("ModelRetry", "ToolFailed")


def of_run(error: BaseException) -> Ending:
    """Return the ending of a call that reached its tool."""
    if _is(error, "CallDeferred", "ApprovalRequired"):
        return Ending(outcomes.INTERIM)
    cause = behind(error)
    if _is(cause, "ModelRetry") and _is_of_time_limit(cause):
        return Ending(outcomes.TIMEOUT, TimeoutError.__qualname__)
    if cause is not error or _is(error, *_TOLD, *_TELLING):
        return Ending(outcomes.TOOL_ERROR, outcomes.error_type(cause))
    if _is(error, "RunCancelled") and not outcomes.is_timeout(error):  # of an agent inside the tool
        return Ending(outcomes.CANCELLED, outcomes.error_type(error))
    return Ending.by(error)


def of_refusal(error: BaseException) -> Ending:
    """Return the ending of a call that was refused.

    It is the caller's fault (no such tool, or wrong arguments), unless `error` comes from a
    validator or a hook.
    """
    cause = behind(error)
    if _is(cause, "ModelRetry"):
        return Ending(outcomes.CALLER_ERROR, "ModelRetry")
    if _is(cause, "ToolRetryError"):  # without a cause: validation errors are a list
        found: Any = cause
        listed = isinstance(found.tool_retry.content, list)
        return Ending(outcomes.CALLER_ERROR, "ValidationError" if listed else "ModelRetry")
    if _is(cause, *_TOLD, *_TELLING) or _is_of_validation(cause):
        return Ending(outcomes.CALLER_ERROR, outcomes.error_type(cause))
    return of_run(error)


def of_whole(error: BaseException) -> Ending:
    """Return the ending of a call that was refused, or reached its tool."""
    cause = behind(error)
    if came_out_of_tool(cause) or outcomes.is_cancellation(error):
        return of_run(error)
    return Ending(outcomes.CALLER_ERROR, outcomes.error_type(cause))


def behind(error: BaseException) -> BaseException:
    """Return the exception that made the framework raise `error`, or `error` itself."""
    if _is(error, *_TOLD):
        return error.__cause__ or error.__context__ or error
    if _is(error, "UnexpectedModelBehavior") and not came_out_of_tool(error):
        return error.__cause__ or error  # this call was one try too many
    return error


def came_out_of_tool(error: BaseException) -> bool:
    """Return whether `error` passed the function that runs a tool."""
    return _RUN in _passed(error)


def _is_of_time_limit(retry: BaseException) -> bool:
    # The toolset's limit. A tool with a timeout of its own raises further inside.
    *_, last = ("", *_passed(retry))
    return last == _RUN and isinstance(retry.__context__, TimeoutError)


def _passed(error: BaseException) -> Iterator[str]:
    """Yield the names of the functions that `error` passed, up to the one that raised it."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_name
        traceback = traceback.tb_next


def _is(error: BaseException, *names: str) -> bool:
    """Return whether `error` is of one of these classes, some of which old versions lack."""
    exceptions = importlib.import_module("pydantic_ai.exceptions")
    return isinstance(error, tuple(getattr(exceptions, name, ()) for name in names))


def _is_of_validation(error: BaseException) -> bool:
    return isinstance(error, importlib.import_module("pydantic").ValidationError)
