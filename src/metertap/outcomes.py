"""Outcomes of tool calls: a closed set, and the rules that tell them apart.

Only types are looked at, never the text of a message: texts are translated, reworded and
carry the caller's data.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from metertap import catalogue, faults

OK: Final = "ok"
TOOL_ERROR: Final = "tool_error"
"""The handler itself reported its failure (MCP `isError`, a deliberate `ToolError`)."""
EXCEPTION: Final = "exception"
TIMEOUT: Final = "timeout"
CANCELLED: Final = "cancelled"
CALLER_ERROR: Final = "caller_error"
"""Unknown tool, invalid arguments, an HTTP status from 400 to 499: not the server's fault."""
INTERIM: Final = "interim"
"""No answer yet (MCP `input_required`, deferrals): outside rates and percentiles."""

ALL: Final = (OK, TOOL_ERROR, EXCEPTION, TIMEOUT, CANCELLED, CALLER_ERROR, INTERIM)
FAILED: Final = frozenset({TOOL_ERROR, EXCEPTION, TIMEOUT})
SAMPLED: Final = FAILED | {OK}
"""Outcomes whose latencies are in the window, the average and the extremes."""
RAN: Final = (OK, TOOL_ERROR, EXCEPTION, TIMEOUT, CANCELLED)
"""Outcomes of calls whose handler ran, which therefore cost what a call costs."""

# Many libraries have a timeout of their own that does not inherit from the built-in one
# (httpx, requests, redis, openai, subprocess). The ends of their classes' names tell them
# without importing any of them. The last name is trio's.
_TIMEOUT_ENDINGS = ("Timeout", "TimeoutError", "TimeoutException", "TimeoutExpired", "TooSlowError")
# trio's cancellation has that name and cannot be imported without trio. Ctrl-C cancels a call.
_CANCELLED_NAMES = frozenset({"CancelledError", "Cancelled", "KeyboardInterrupt"})
# Web frameworks answer with the status of their `HTTPException`. The class of that name in
# http.client has no status, and clients of other services name their errors so, too.
_WEB_FRAMEWORKS = frozenset({"aiohttp", "fastapi", "litestar", "starlette", "werkzeug"})
_STATUSES = ("status_code", "code", "status")
_TIMEOUT_STATUSES = frozenset({408, 504})


class Ending(NamedTuple):
    """The end of one call: its outcome and error type."""

    outcome: str
    error_type: str | None = None

    @classmethod
    def by(cls, error: BaseException) -> Ending:
        """Return the ending of a call that raised `error`.

        Never raises, though code of the error's class may.
        """
        if type(error) is RecursionError:  # there may be no stack left to examine it
            return _TOO_DEEP
        try:
            return cls(of_exception(error), error_type(error))
        except Exception as fault:
            faults.fault("outcome", fault)
            return cls(EXCEPTION, catalogue.OTHER)

    @property
    def is_failure(self) -> bool:
        """Whether the call failed, be it the server's fault or the caller's."""
        return self.outcome in FAILED or self.outcome == CALLER_ERROR

    def of_caller(self) -> Ending:
        """Return this ending as a failure that is the caller's fault."""
        handled = self.error_type == TOOL_ERROR  # a handled error, of no known type
        return Ending(CALLER_ERROR, CALLER_ERROR if handled else self.error_type)


_TOO_DEEP = Ending(EXCEPTION, "RecursionError")


def of_exception(error: BaseException) -> str:
    """Return the outcome of a call that ended by raising `error`."""
    if is_cancellation(error):
        return CANCELLED
    status = _http_status(error)
    if status in _TIMEOUT_STATUSES or is_timeout(error):
        return TIMEOUT
    return CALLER_ERROR if status is not None and status < 500 else EXCEPTION


def of_error_type(named: str) -> str:
    """Return the outcome of a failed call of which only its `error.type` is known."""
    name = named.rpartition(".")[2]
    if name in {TOOL_ERROR, TIMEOUT, CANCELLED}:
        return name
    if name in _CANCELLED_NAMES:
        return CANCELLED
    return TIMEOUT if name.endswith(_TIMEOUT_ENDINGS) else EXCEPTION


def is_timeout(error: BaseException) -> bool:
    """Return whether `error` says that a time limit ran out, or is a group of such errors."""
    return all(
        any(cls.__name__.endswith(_TIMEOUT_ENDINGS) for cls in type(one).__mro__)
        for one in _leaves(error)
    )


def is_cancellation(error: BaseException) -> bool:
    """Return whether `error` cancels the call, or is a group of errors that all do.

    Cancellations are those of asyncio, futures and trio, a generator's close, and an interrupt.
    """
    return all(_cancels(one) for one in _leaves(error))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors in a group of exceptions, such as a task group of trio raises.

    Groups may have the same errors in them again and again: each is looked at once.
    """
    groups, seen = [iter((error,))], set[int]()  # no recursion: groups in groups may be deep
    while groups:
        for one in groups[-1]:
            if id(one) in seen:
                continue
            seen.add(id(one))
            # By name: before Python 3.11, groups are those of the package exceptiongroup.
            is_group = any(cls.__name__ == "BaseExceptionGroup" for cls in type(one).__mro__)
            inner = getattr(one, "exceptions", ()) if is_group else ()
            if inner:
                groups.append(iter(inner))
                break
            yield one
        else:
            groups.pop()


def _cancels(error: BaseException) -> bool:
    if isinstance(error, GeneratorExit | concurrent.futures.CancelledError):
        return True
    # A cancellation is no `Exception`; a program's own `class Cancelled(Exception)` is one.
    return not isinstance(error, Exception) and any(
        cls.__name__ in _CANCELLED_NAMES for cls in type(error).__mro__
    )


def error_type(error: BaseException) -> str:
    """Return `error.type` as OpenTelemetry's conventions say: an HTTP status, or a class's name."""
    status = _http_status(error)
    return type(error).__qualname__ if status is None else str(status)


def _http_status(error: BaseException) -> int | None:
    """Return the status, from 400 to 599, with which a web framework answers for `error`."""
    for cls in type(error).__mro__:
        if cls.__name__ == "HTTPException" and cls.__module__.partition(".")[0] in _WEB_FRAMEWORKS:
            found = next(filter(None, (getattr(error, name, None) for name in _STATUSES)), None)
            return int(found) if isinstance(found, int) and 400 <= found <= 599 else None
    return None


def by_count(error_types: Mapping[str, int]) -> dict[str, int]:
    """Return error types, the most frequent first, and equally frequent ones in order of name."""
    if not error_types:
        return {}
    return dict(sorted(error_types.items(), key=lambda item: (-item[1], item[0])))
