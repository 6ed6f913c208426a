"""The windows of several workers as one, for percentiles that are exact over all samples.

A worker hands over the samples that are new, and they take the place of the oldest in one window
of all workers. So a look costs what the new samples cost, whatever the windows hold.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import NamedTuple

from metertap.recording.percentiles import Percentiles, between, places_of
from metertap.recording.window import Run, run_of
from metertap.workers.wire import Malformed

_FACTORS = (1.0, 1000.0)
_MOST_MOVED = 1 / 8
"""The share of new samples above which sorting all is cheaper than moving some."""
_FEW = 400
"""Samples that are all kept in order."""
_LOW, _HIGH, _CUT = 0.45, 0.55, 0.93
"""Of more, those about the median and those from the last share on are kept in order."""


class Fresh(NamedTuple):
    """What another worker lacks of a window: its newest samples."""

    samples: Sequence[float]
    factor: float
    kept: int
    """The number of samples that it has and that are still in the window, before these."""


def fresh(now: Run, before: Run | None) -> Fresh:
    """Return what has come to a window since `before`."""
    new = now.size
    if before is not None and _is_later(now, before):
        new = min(new, now.ever - before.ever)
    return Fresh(now.newest(new), now.factor, now.size - new)


def completed(sent: Fresh, before: Run | None) -> Run:
    """Return the window of another worker, of which `before` was known. Raises Malformed."""
    samples, factor, kept = sent
    if not isinstance(samples, array):
        samples = array("d", samples)
    if kept:
        if before is None or before[3] != factor or kept > before[2] - before[1]:
            raise Malformed("samples are missing")
        return before.followed_by(samples, kept)
    if factor not in _FACTORS:
        raise Malformed("samples have no unit")
    return run_of(samples, factor)


_percentiles = partial(tuple.__new__, Percentiles)


class Together:
    """All samples of some windows, of which those are in order that percentiles may lie among.

    The others are only counted. For one thread at a time.
    """

    def __init__(self) -> None:
        self._runs: Sequence[Run] = ()
        self._factor = 1.0
        self._size = self._below = 0  # all samples, and those that are less than `_low`
        self._low, self._high, self._cut = -inf, inf, inf
        self._middle = self._top = array("d")  # from `_low` to `_high`, and from `_cut` on

    def percentiles(self, runs: Sequence[Run]) -> tuple[Percentiles, int]:
        """Return the percentiles of all samples, in milliseconds, and their number."""
        before, self._runs = self._runs, ()
        if not self._is_moved(before, runs):
            self._sort(runs)
        try:
            found = self._found()
        except IndexError:  # one of them lies among the others now
            self._sort(runs)
            found = self._found()
        self._runs = runs
        return found, self._size

    def _found(self) -> Percentiles:
        """Return the percentiles; IndexError where one of them is among what is not in order."""
        places, extrapolated = places_of(self._size)
        if not places:
            return Percentiles()
        middle, top, factor, below = self._middle, self._top, self._factor, self._below
        end, beginning = len(middle), self._size - len(top)
        found = []
        for index, beyond in places:
            part, place = middle, index - below
            if not 0 < place < end:
                part, place = top, index - beginning
                if place <= 0:
                    raise IndexError(index)
            found.append(between(part[place - 1] * factor, part[place] * factor, beyond))
        return _percentiles((*found, extrapolated))

    def _is_moved(self, before: Sequence[Run], runs: Sequence[Run]) -> bool:
        """Put what is new in place of what has gone; return False if that is not little."""
        if len(before) != len(runs):
            return False
        new: list[float] = []
        gone: list[float] = []
        size, unit = 0, self._factor
        for old, now in zip(before, runs, strict=True):
            data, start, end, factor, ever, window = now
            size += end - start
            if now is old:
                continue
            data_before, first, last, factor_before, ever_before, window_before = old
            if data is data_before and factor == unit and end - last == start - first == 1:
                new.append(data[last])  # as usual of a full window
                gone.append(data[first])
            else:
                come = ever - ever_before
                if (
                    window != window_before
                    or factor != factor_before
                    or not 0 <= come <= end - start
                ):
                    return False
                went = last - first + come - (end - start)
                come_now, went_now = data[end - come : end], data_before[first : first + went]
                new += come_now if factor == unit else self._in_unit(come_now, factor)
                gone += went_now if factor == unit else self._in_unit(went_now, factor)
        if len(new) > _MOST_MOVED * size:
            return False
        self._size = size
        low, high, cut, middle, top = self._low, self._high, self._cut, self._middle, self._top
        for sample in gone:
            if sample < low:
                self._below -= 1
            elif sample <= high:
                del middle[bisect_left(middle, sample)]
            elif sample >= cut:
                del top[bisect_left(top, sample)]
        for sample in new:
            if sample < low:
                self._below += 1
            elif sample <= high:
                insort(middle, sample)
            elif sample >= cut:
                insort(top, sample)
        return True

    def _sort(self, runs: Sequence[Run]) -> None:
        factors = {run.factor for run in runs}
        self._factor = factors.pop() if len(factors) == 1 else 1.0
        found: list[float] = []
        for run in runs:
            found += self._in_unit(run.samples, run.factor)
        found.sort()
        size = self._size = len(found)
        self._low, self._high, self._cut = -inf, inf, inf
        if size > _FEW and found[int(_HIGH * size)] < found[int(_CUT * size)]:
            self._low, self._high, self._cut = (
                found[int(share * size)] for share in (_LOW, _HIGH, _CUT)
            )
        self._below = bisect_left(found, self._low)
        self._middle = array("d", found[self._below : bisect_right(found, self._high)])
        self._top = array("d", found[bisect_left(found, self._cut) :])

    def _in_unit(self, samples: Sequence[float], factor: float) -> Sequence[float]:
        """Return samples of a window in the unit of all."""
        if factor == self._factor:
            return samples
        return [sample * factor for sample in samples]


def _is_later(now: Run, before: Run) -> bool:
    """Return whether `now` is the same window as `before`, at most with newer samples."""
    return now.window == before.window and now.factor == before.factor and now.ever >= before.ever
