"""The call in progress: what the layers below a measured call tell the layer that counts it.

One layer counts a call (the patch of a library's request kernel, `@metertap.tool`,
`measure_tool`). The layers inside it see things that it cannot: the exception behind an error
result, whether the tool exists, a lookup in a cache. They reach it through `current`, a context
variable, so it follows `await`, tasks and threads that copy their context.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token

from metertap import outcome
from metertap.recording import Recorder, ToolSeries

clock = time.perf_counter_ns

# What counts a call. The same call may be seen by several of them; the outermost counts it.
PATCH = "patch"
DECORATOR = "decorator"
BLOCK = "block"


class Call:
    """One tool call from its start to its record.

    `name` is what the caller asked for, registered or not. `known` is None until somebody knows
    whether a tool of that name exists.
    """

    __slots__ = (
        "_recorder",
        "_started_ns",
        "_token",
        "counted_by",
        "error_type",
        "in_progress",
        "known",
        "name",
        "outcome",
        "parent",
        "series",
        "source",
        "watched",
    )

    def __init__(self, recorder: Recorder, name: str, source: str, counted_by: str) -> None:
        self._recorder = recorder
        self.name = name
        self.source = source
        self.counted_by = counted_by
        self.known: bool | None = None
        self.watched = False  # a layer inside reports what it sees; further in, nobody else does
        self.outcome: str | None = None
        self.error_type: str | None = None
        self.parent: Call | None = None
        self.series: ToolSeries | None = None
        self.in_progress = False
        self._token: Token[Call | None] | None = None
        self._started_ns = 0

    def start(self, series: ToolSeries, *, as_current: bool = True) -> None:
        """Enter: the call is in progress on `series` and, by default, is the current one.

        A generator's call is not: it would stay current in its consumer between two items. Each
        step of it runs under `AsCurrent`.
        """
        self.series = series
        self._recorder.call_started(series)
        self.parent = in_progress()
        self.in_progress = True
        if as_current:
            self._token = current.set(self)
        self._started_ns = clock()

    def note(self, ended: str, error_type: str | None = None) -> None:
        """Said by a layer inside: how the call really ends, whatever its result looks like."""
        self.outcome = ended
        self.error_type = error_type

    def note_exception(self, error: BaseException) -> None:
        """Said by a layer inside: `error` is behind the result that the caller gets."""
        self.note(outcome.of_exception(error), outcome.error_type(error))

    def leave(self) -> float:
        """Stop being the current call; returns the latency in milliseconds."""
        latency_ms = (clock() - self._started_ns) / 1e6
        self.in_progress = False
        if self.series is not None:
            self._recorder.call_ended(self.series)
        # A token holds the call before this one, and that one's token the call before it.
        token, self._token = self._token, None
        if token is not None:
            _reset(token)
        return latency_ms

    def record(
        self, series: ToolSeries, ended: str, error_type: str | None, latency_ms: float
    ) -> None:
        """Count the call on `series`, which may not be the one it started on."""
        self._recorder.record_tool(series, ended, error_type, latency_ms)

    def finish(self, error: BaseException | None) -> None:
        """Leave, and count the call as `error` (or its absence) says."""
        latency_ms = self.leave()
        if self.series is None:
            return
        if error is None:
            self.record(self.series, outcome.OK, None, latency_ms)
        else:
            ended, named = outcome.of_exception(error), outcome.error_type(error)
            self.record(self.series, ended, named, latency_ms)


current: ContextVar[Call | None] = ContextVar("metertap_current_call", default=None)


class AsCurrent:
    """Context manager: `call` is the current one inside. May be entered again and again."""

    __slots__ = ("_call", "_token")

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        self._token = current.set(self._call)

    def __exit__(self, *_raised: object) -> None:
        _reset(self._token)


def _reset(token: Token[Call | None]) -> None:
    try:
        current.reset(token)
    except ValueError:  # ended in another context: a generator closed elsewhere
        pass


def hide_frame(error: BaseException) -> None:
    """Take the frame of the wrapper that caught `error` out of its traceback.

    Followed by a bare `raise` there, the program's tracebacks are what they would be without us
    (on Python 3.10 the frame stays).
    """
    traceback = error.__traceback__
    if traceback is not None:
        # Not an assignment: classes of exceptions may forbid those (frozen dataclasses do).
        BaseException.with_traceback(error, traceback.tb_next)


def in_progress() -> Call | None:
    """The innermost call in progress around this code.

    The current one may be over: tasks and timers that it started keep its context.
    """
    call = current.get()
    while call is not None and not call.in_progress:
        call = call.parent
    return call


def counted_already(name: str, counted_by: str | None = None) -> bool:
    """Whether a call of `name` in progress around this code is counted by other means.

    By the same means it is a call of its own: a tool that calls itself makes two.
    """
    call = in_progress()
    while call is not None:
        if call.in_progress and call.name == name and call.counted_by != counted_by:
            return True
        call = call.parent
    return False


def current_tool() -> str | None:
    """Name of the tool whose call is in progress here, as it appears in labels."""
    call = in_progress()
    return None if call is None or call.series is None else call.series.name
