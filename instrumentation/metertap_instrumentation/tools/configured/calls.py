"""How the calls of one line begin, and how they end: what its `caller_errors` and `failed` say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import HIT, MISSED, OWNER, SERIES, Frame, clock, current
from metertap.measuring.functions import ToolSlot
from metertap.outcomes import CANCELLED, TOOL_ERROR, Ending
from metertap.recording import ToolSeries
from metertap.state import recorder
from metertap_instrumentation.lines import is_a
from metertap_instrumentation.tools.configured.names import SlotOf, is_unknown

_get = current.get
_set = current.set

Test = Callable[[Any], bool]
"""Whether a result is a failure that was handled."""


def test_of(failed: tuple[str, str] | None) -> Test | None:
    """What a line's `failed` says of a result."""
    if failed is None:
        return None
    word, name = failed
    if word == "key":
        return lambda result: issubclass(type(result), Mapping) and bool(result.get(name))
    if word == "attr":
        return lambda result: bool(getattr(result, name, False))
    meant = {"none": None, "false": False}[word]
    return lambda result: result is meant


class Calls:
    """The calls of one line. None of the methods ever raises."""

    def __init__(
        self, target: str, slot_of: SlotOf, caller_errors: tuple[str, ...], failed: Test | None
    ) -> None:
        self.target = target
        self.slot_of = slot_of
        self.judges_results = failed is not None
        self._failed = failed
        self._caller_errors = caller_errors
        self._place = f"configured tool {target}"

    def begin(self, slot: ToolSlot) -> Frame | None:
        """A call starts, and is the current one; None if it is not to be counted."""
        parent = _get()
        if parent is not None and (parent[0] or parent[2]):
            if slot.is_counted():  # before there is a series, which the document would show
                return None
            parent = calls.in_progress()
        else:
            parent = None
        series = slot.series or slot.find()
        if series is None:
            return None
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, slot, parent, False, False]
        _set(frame)
        return frame

    def ended(self, frame: Frame, seconds: float, result: Any) -> None:
        """The call returned."""
        series: ToolSeries = frame[SERIES]
        frame[SERIES] = None
        ending = None
        if self._failed is not None:
            with faults.guarded(self._place):
                if self._failed(result):
                    ending = _of_slot(frame[OWNER], Ending(TOOL_ERROR, TOOL_ERROR))
        if ending is None:
            series.append(seconds)
            series.ended = clock()
            if frame[HIT] or frame[MISSED]:
                series.looked_up(frame[HIT], frame[MISSED], seconds)
        else:
            self._end(series, seconds, ending)

    def raised(self, frame: Frame, seconds: float, error: BaseException) -> None:
        """The call raised."""
        series: ToolSeries = frame[SERIES]
        frame[SERIES] = None
        self._end(series, seconds, self.judged(frame[OWNER], error))

    def judged(self, slot: ToolSlot, error: BaseException) -> Ending:
        """How a call ended that raised `error`."""
        ending = Ending.by(error)
        if any(is_a(error, name) for name in self._caller_errors):
            return ending.of_caller()
        return _of_slot(slot, ending)

    def given_up(self, frame: Frame) -> None:
        """The call is to be counted later, when what it returned is run."""
        series: ToolSeries = frame[SERIES]
        frame[SERIES] = None
        recorder().never_ended(series)

    def look_at(self, slot: ToolSlot, result: object) -> None:
        """Tell of what is not over when it is returned and cannot be followed."""
        slot.is_new = False
        if hasattr(type(result), "__await__"):
            faults.warn_once(
                self._place,
                "%s returns a %s: only the making of that is measured; name the async function "
                "itself",
                self.target,
                type(result).__qualname__,
            )

    def _end(self, series: ToolSeries, seconds: float, ending: Ending) -> None:
        with faults.guarded(self._place):
            calls.end(series, seconds, ending)


def _of_slot(slot: ToolSlot, failure: Ending) -> Ending:
    """Of a name that the program does not know, a failure is the caller's fault."""
    if is_unknown(slot) and failure.outcome != CANCELLED:
        return failure.of_caller()
    return failure
