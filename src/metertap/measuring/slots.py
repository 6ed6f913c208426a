"""Slots: objects that count the calls of one tool on its series."""

from __future__ import annotations

import weakref
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from metertap import faults
from metertap.measuring import calls, unfinished
from metertap.measuring.calls import ASKED, NEW, NOTE, OWNER, SERIES, Frame
from metertap.measuring.unfinished import can_be_awaited
from metertap.outcomes import Ending
from metertap.patching.by_value import sent
from metertap.patching.tracebacks import hide_frame
from metertap.recording.buffer import was_put
from metertap.state import is_enabled, recorder

if TYPE_CHECKING:
    from metertap.recording import ToolSeries

_current = calls.current.get


def _passed() -> Frame:
    """Return a frame of a call that has ended, of the short kind that `functions` makes."""
    return [None, None, None, False, False]


class Slot:
    """Counter of the calls of one tool; the series is looked up at each call.

    Calls of slots with equal `counted_by` and one tool count inside each other, as a recursion.
    Without it a slot equals only itself, and a call inside another slot's is the same call.
    """

    __slots__ = ("counted_by", "name", "source")

    series: ToolSeries | None = None
    is_closed = False
    is_new = False

    def __init__(self, name: str, source: str, counted_by: object = None) -> None:
        self.name = name
        self.source = source
        self.counted_by = self if counted_by is None else counted_by

    def find(self) -> ToolSeries | None:
        """Return the series to record to; None if nothing is recorded. Never raises."""
        with faults.guarded("measure"):
            if is_enabled():
                return recorder().tool_by_hand(self.name, self.source)
        return None

    def enter(self, *, spent: float = 0.0, as_current: bool = True) -> Frame | None:
        """Begin a call, as `calls.enter` does; None if nothing is recorded. Never raises."""
        try:
            if self.is_closed:
                return None
            around = _current()
            # Most often there is none, or one that has ended and was inside no other.
            if around is not None and (around[0] is not None or around[2] is not None):
                around = None
                calls.give_up_abandoned()
                if calls.counted_already(self.name, self.counted_by):
                    self.left_out()
                    return calls.enter(self, calls.LEFT_OUT, spent, as_current)
            # Only now: a series is in the document, even if no call counts on it.
            series = self.series or self.find()
            if series is None:
                return None
            return calls.enter(self, series, spent, as_current)
        except Exception as fault:
            faults.fault("measure", fault)
            return None

    def left_out(self) -> None:
        """Note that another layer counts a call of this slot."""
        recorder().left_out(self.name)

    # The methods below make a slot a `wrappers.Measure` and a `generators.Stepping`.

    def begin(self, _instance: Any, _args: Any, _kwargs: Any) -> Frame | None:
        """Begin a call."""
        return self.enter()

    def start(self) -> Frame | None:
        """Begin a generator's call."""
        return self.enter(as_current=False)

    def ended(self, frame: Frame, result: object) -> None:
        """End the call of `frame`, which returned `result`."""
        calls.leave(frame)
        if self.is_new:
            self.look_at(result)

    def over(self, frame: Frame, _result: object) -> None:
        """End the call of `frame`, whose coroutine has returned."""
        calls.leave(frame)

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the caller's frame in that."""
        if frame is not None:
            calls.leave(frame, Ending.by(error))
        hide_frame(error)

    later = unfinished.later

    def look_at(self, result: object) -> None:
        """Look at a function's first result: a subclass may warn of it. Never raises."""


class ToolSlot(Slot):
    """Counter of the calls of one tool that keeps its series."""

    __slots__ = (
        "__weakref__",
        "_is_off",
        "is_closed",
        "is_new",
        "series",
    )

    def __init__(self, name: str, source: str, counted_by: object = None) -> None:
        super().__init__(name, source, counted_by)
        self.is_new = True
        self.is_closed = False
        self._is_off = False
        self.series: ToolSeries | None = None
        recorder().keep(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Make an equal slot in the process that unpickles it, with a function pickled by value."""
        counted_by = None if self.counted_by is self else self.counted_by
        return _SENT, (self.name, self.source, counted_by)

    def failed(
        self, frame: Frame, series: ToolSeries | None, started: float, error: BaseException
    ) -> None:
        """End the call of a short frame of `functions`, which raised `error`.

        If the call has ended, `error` is an interrupt that came just then, and the call counts on
        `series`, if it got that far.
        """
        if series and frame[SERIES] is None and frame[OWNER] is not None and not was_put(error):
            series.left()
        hide_frame(error)
        with faults.guarded("measure"):
            frame[NOTE:] = None, started, None, 0, None  # the entries that short frames lack
            calls.leave(frame, Ending.by(error))

    def begins(
        self, series: ToolSeries, parent: Frame | None, interrupt: BaseException
    ) -> tuple[Frame, float]:
        """Begin a call of `functions` whose tick raised; return its frame and start.

        Any other error than the tick's was an interrupt after it, and passes.
        """
        if type(interrupt) is not StopIteration:
            self._never_began(series, parent)
            raise interrupt
        series.due()
        try:
            frame: Frame = [series, self, None, False, False]
            calls.current.set(frame)
            return frame, calls.clock()
        except BaseException:
            self._never_began(series, parent)
            raise

    def _never_began(self, series: ToolSeries, parent: Frame | None) -> None:
        series.left()
        frame = _current()
        if frame is not None and frame is not parent:
            frame[SERIES] = frame[OWNER] = None

    def gave_up(self, frame: Frame) -> None:
        """End a call by `calls.give_up`; code that was pickled by value may lack that module."""
        calls.give_up(frame)

    def told(self, frame: Frame, started: float, ended: float, result: object) -> None:
        """End a call of a short frame whose `ASKED` entry is set. Never raises."""
        frame[NOTE:] = None, started, None, 0, None
        calls.leave(frame, None, ended)
        if self.is_new:
            self.look_at(result)

    def start(self) -> Frame | None:
        """Begin a generator's call, inlined as in `functions`."""
        around = _current()
        series = self.series
        if series is None or (
            around is not None and (around[0] is not None or around[2] is not None)
        ):
            return self.enter(as_current=False)
        try:
            return [series, self, series.tick(), False, False, None, calls.clock(), None, 0, None]
        except StopIteration:
            series.due()
        except BaseException:
            series.left()
            raise
        try:
            return [series, self, None, False, False, None, calls.clock(), None, 0, None]
        except BaseException:
            series.left()
            raise

    def enter_or_pass(self) -> tuple[Frame, float]:
        """Begin a call as `enter` does and return its frame and start; mark a tool's first calls.

        If nothing is recorded, the frame is that of a call which has ended.
        """
        frame = self.enter()
        if frame is None:
            frame = _passed()
        elif self.is_new:
            frame[ASKED] = NEW
        try:
            return frame, calls.clock()
        except BaseException:
            calls.give_up(frame)
            raise

    def forget(self) -> None:
        """Have the next call look its series up, after a fork, a reset or new settings."""
        self.series = None
        self._is_off = False

    def find(self) -> ToolSeries | None:
        """Return the series to record to, and keep it once a result was looked at.

        None if nothing is recorded.
        """
        if self._is_off or self.is_closed:
            return None
        with faults.guarded("measure"):
            if is_enabled():
                era = recorder().era
                found = recorder().tool_by_hand(self.name, self.source)
                if not self.is_new:
                    self.series = found
                if era is not recorder().era:
                    self.series = None
                return found
            self._is_off = True
            if is_enabled():  # again: `forget` may have come before recording was switched on
                self._is_off = False
        return self.series

    def close(self) -> None:
        """Record nothing from now on."""
        self.is_closed = True
        self.series = None

    def look_at(self, result: object) -> None:
        """Warn if the first result of a plain function is work still to do. Never raises."""
        self.is_new = False
        kind = type(result)
        with faults.guarded("measure"):
            if kind is GeneratorType or kind is AsyncGeneratorType or can_be_awaited(result):
                faults.warn_once(
                    f"tool {self.name}",
                    "tool %s is a plain function and returns a %s: only the making of that is "
                    "measured; decorate the function that does the work",
                    self.name,
                    kind.__name__,
                )


def _inert() -> Any:
    def slot(*_arguments: Any) -> Any:
        from types import SimpleNamespace

        def nothing(*_arguments: Any) -> None:
            pass

        return SimpleNamespace(
            series=None,
            enter_or_pass=lambda: ([None] * 5, 0.0),
            failed=nothing,
            gave_up=nothing,
            is_new=False,
        )

    return slot


_SENT = sent(__name__, "ToolSlot", _inert())
"""Makes a slot in another process; if metertap is missing there, one that counts nothing."""


class NamedSlot(ToolSlot):
    """Counter of the calls of one name that a dispatcher passed in.

    It is stored in `kept` only if the name has become a label. A client that invents names gets
    `_OTHER` past the series limit, and must not fill the memory with slots.
    """

    __slots__ = ("_kept", "tool")

    def __init__(
        self, name: str, source: str, counted_by: object, kept: dict[str, NamedSlot]
    ) -> None:
        super().__init__(name, source, counted_by)
        self._kept = kept
        self.tool: weakref.ref[Any] | None = None
        """The object whose definition was noted last under that name."""

    def __reduce__(self) -> tuple[Any, ...]:
        _, arguments = super().__reduce__()
        return NamedSlot, (*arguments, self._kept)

    def forget(self) -> None:
        super().forget()
        self.tool = None

    def find(self) -> ToolSeries | None:
        series = super().find()
        if series is not None and series.name == self.name:
            self._kept[self.name] = self
        return series
