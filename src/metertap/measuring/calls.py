"""The call in progress: what the layers below a measured call tell the layer that counts it.

One layer counts a call (the patch of a library's request kernel, `@metertap.tool`,
`measure_tool`). The layers inside it see things that it cannot: the exception behind an error
result, whether the tool exists, a lookup in a cache. They reach it through `current`, a context
variable, so it follows `await`, tasks and threads that copy their context.

The variable holds a frame: a list, the cheapest mutable object that there is. Whoever counts the
call makes it when the call starts, and puts None for its series when the call is over. It stays
the context's frame until the next one: to take it away would cost as much as to put it there, and
tasks and timers that the call started keep it in any case.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any, Protocol

from metertap import outcomes
from metertap.outcomes import Ending
from metertap.recording import Recorder, ToolSeries

clock = time.perf_counter

Frame = list[Any]
"""A call from its start on: `[series, owner, parent, hit, missed]`, see the indices below."""
SERIES = 0
"""Where the call began to count, a `ToolSeries`; None once it is over."""
OWNER = 1
"""The `Owner` of the call: a `Call`, or what counts all calls of one function."""
PARENT = 2
"""The frame of the call in progress around this one, or None."""
HIT = 3
"""Whether a cache that was asked during the call had what it was asked for."""
MISSED = 4
"""Whether one had not."""
# Only where a framework runs its tools:
NOTE = 5
"""How the call really ends, whatever its result looks like: an `Ending`, said by a layer inside."""
STARTED = 6
"""When it started, by `clock`."""
INSTANCE = 7
"""The object that runs it, by its `id`."""

# What counts a call. The same call may be seen by several of them; the outermost counts it.
PATCH = "patch"
DECORATOR = "decorator"
BLOCK = "block"


class Owner(Protocol):
    """What counts a call: its name as the caller gave it, registered or not, and by what means."""

    name: str
    counted_by: str


current: ContextVar[Frame | None] = ContextVar("metertap_current_call", default=None)


class Call:
    """One tool call from its start to its record, where these are not in one function.

    `name` is what the caller asked for, registered or not. `known` is None until somebody knows
    whether a tool of that name exists.
    """

    # Defaults of the class: most calls never have anything else, and pay for no assignment.
    known: bool | None = None
    watched = False
    """A layer inside reports what it sees; further in, nobody else does."""
    outcome: str | None = None
    error_type: str | None = None
    frame: Frame | None = None
    first_item: float | None = None
    """Seconds until it gave its first item, of those that it yields."""

    def __init__(self, recorder: Recorder, name: str, source: str, counted_by: str) -> None:
        self._recorder = recorder
        self.name = name
        self.source = source
        self.counted_by = counted_by

    @property
    def in_progress(self) -> bool:
        """Whether it has started and is not over."""
        return self.frame is not None and self.frame[SERIES] is not None

    @property
    def is_registered(self) -> bool:
        """Whether it is in progress on the series of its own name."""
        return self.frame is not None and self.frame[SERIES].name == self.name

    def start(self, series: ToolSeries, *, as_current: bool = True, spent: float = 0.0) -> None:
        """Enter: the call is in progress on `series` and, by default, is the current one.

        `spent` are seconds that it has taken before.

        A generator's call is not: it would stay current in its consumer between two items. Each
        step of it runs under `AsCurrent`.
        """
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        parent = current.get()
        self.frame = [series, self, None if parent is None else in_progress(), False, False]
        if as_current:
            current.set(self.frame)
        self._started = clock() - spent

    def exists(self) -> None:
        """Said by a layer inside: there is a tool of that name."""
        self.known = True

    def note(self, ended: str, error_type: str | None = None) -> None:
        """Said by a layer inside: how the call really ends, whatever its result looks like."""
        self.outcome = ended
        self.error_type = error_type

    def note_exception(self, error: BaseException) -> None:
        """Said by a layer inside: `error` is behind the result that the caller gets."""
        self.note(outcomes.of_exception(error), outcomes.error_type(error))

    def leave(self) -> tuple[ToolSeries, float]:
        """Stop being the current call: the series it started on, and the seconds it took.

        It has to be counted then, on that series or on another, or be given up.
        """
        assert self.frame is not None
        seconds = clock() - self._started
        series: ToolSeries = self.frame[SERIES]
        self.frame[SERIES] = None
        return series, seconds

    def give_up(self) -> None:
        """Leave without being counted."""
        series, _ = self.leave()
        self._recorder.never_ended(series)
        self._let_go()

    def yielded(self) -> None:
        """It has given its first item."""
        self.first_item = clock() - self._started

    def finish(self, ending: Ending | None) -> None:
        """Leave, and count the call as `ending` says; None: it went well."""
        series, seconds = self.leave()
        if self.first_item is not None:
            series.first_item(self.first_item)
        if ending is None and self.frame is not None:
            series.looked_up(self.frame[HIT], self.frame[MISSED], seconds)
        end(series, seconds, ending)
        self._let_go()

    def _let_go(self) -> None:
        """The frame stays in contexts; nothing of the call shall, nor wait for the collector."""
        if self.frame is not None:
            self.frame[OWNER] = None


class AsCurrent:
    """Context manager: `call` is the current one inside. May be entered again and again."""

    __slots__ = ("_frame", "_token")

    def __init__(self, call: Call) -> None:
        self._frame = call.frame

    def __enter__(self) -> None:
        self._token = current.set(self._frame)

    def __exit__(self, *_raised: object) -> None:
        try:
            current.reset(self._token)
        except ValueError:  # left in another context: a generator closed elsewhere
            pass


def end(series: ToolSeries, seconds: float, ending: Ending | None) -> None:
    """Count a call that took a tick of `series` before, as `ending` says; None: it went well."""
    if ending is None:
        series.append(seconds)
        series.ended = clock()
    else:
        series.end(ending.outcome, ending.error_type, seconds * 1000.0, seconds)


def in_progress() -> Frame | None:
    """The innermost call in progress around this code.

    The current one may be over: tasks and timers that it started keep its context.
    """
    frame = current.get()
    while frame is not None and frame[SERIES] is None:
        frame = frame[PARENT]
    return frame


def watched() -> Call | None:
    """The innermost call in progress, if it is a patch that counts it: that one can be told."""
    frame = current.get()
    if frame is not None and frame[SERIES] is None:
        frame = in_progress()
    owner = None if frame is None else frame[OWNER]
    return owner if isinstance(owner, Call) and owner.counted_by == PATCH else None


def counted_already(name: str, counted_by: str | None = None) -> bool:
    """Whether a call of `name` in progress around this code is counted by other means.

    By the same means it is a call of its own: a tool that calls itself makes two.
    """
    frame = current.get()
    while frame is not None:
        owner: Owner = frame[OWNER]
        if frame[SERIES] is not None and owner.name == name and owner.counted_by != counted_by:
            return True
        frame = frame[PARENT]
    return False


def tool_of_lookup(kind: int) -> ToolSeries | None:
    """The tool whose call is in progress here, and which made a lookup that `HIT` or `MISSED`."""
    frame = in_progress()
    if frame is None:
        return None
    frame[kind] = True
    series: ToolSeries = frame[SERIES]
    return series
