"""The windows of several workers as one, with percentiles that are exact over all samples.

A worker sends its new samples, and they replace the oldest ones in one window of all workers. So a
look costs what the new samples cost, however many the windows have.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain, repeat
from math import inf
from typing import Any

from metertap.recording.percentiles import Percentiles, places_of
from metertap.recording.window import Run
from metertap.workers.runs import Runs, moves

_MOST_MOVED = 1 / 8
"""The share of new samples above which sorting all is cheaper than moving some."""
_FEW = 400
"""The number of samples up to which all are kept sorted."""
_LOW, _HIGH, _CUT = 0.45, 0.55, 0.93
"""With more samples, those around the median and those from the last share on are kept sorted."""

_percentiles = partial(tuple.__new__, Percentiles)


class Together:
    """All samples of some windows; only those near percentiles are sorted, the others are counted.

    For one thread at a time.
    """

    __slots__ = ("_below", "_cut", "_high", "_low", "_middle", "_tail", "_top", "factor", "size")

    def __init__(self) -> None:
        self.factor = 1.0
        self.size = self._below = 0  # all samples, and those below `_low`
        self._low, self._high, self._cut = -inf, inf, inf
        self._middle = self._top = array("d")  # from `_low` to `_high`, and from `_cut` on
        self._tail: tuple[float, ...] = ()  # p95 and p99, until they may have changed

    def moved(self, come: Iterable[float], gone: Iterable[float], size: int) -> Percentiles:
        """Replace gone samples by new ones, and return the percentiles of all.

        Raises IndexError if all samples have to be sorted again, as they must after any error.
        """
        low, high, cut, middle, top = self._low, self._high, self._cut, self._middle, self._top
        below = self._below
        if size != self.size:
            self._tail = ()
        for sample in gone:
            if sample < low:
                below -= 1
            elif sample <= high:
                del middle[bisect_left(middle, sample)]
            elif sample >= cut:
                del top[bisect_left(top, sample)]
                self._tail = ()
        for sample in come:
            if sample < low:
                below += 1
            elif sample <= high:
                insort(middle, sample)
            elif sample >= cut:
                insort(top, sample)
                self._tail = ()
        self.size, self._below = size, below
        return self._found()

    def sorted(self, runs: Sequence[Run]) -> Percentiles:
        """Sort all samples of some windows, and return the percentiles in milliseconds."""
        factors = {run.factor for run in runs}
        self.factor = factors.pop() if len(factors) == 1 else 1.0
        found: list[float] = []
        for run in runs:
            samples = run.samples
            is_scaled = run.factor != self.factor
            found += [sample * run.factor for sample in samples] if is_scaled else samples
        found.sort()
        size = self.size = len(found)
        self._tail = ()
        self._low, self._high, self._cut = -inf, inf, inf
        if size > _FEW and found[int(_HIGH * size)] < found[int(_CUT * size)]:
            self._low, self._high, self._cut = (
                found[int(share * size)] for share in (_LOW, _HIGH, _CUT)
            )
        self._below = bisect_left(found, self._low)
        self._middle = array("d", found[self._below : bisect_right(found, self._high)])
        self._top = array("d", found[bisect_left(found, self._cut) :])
        return self._found()

    def _found(self) -> Percentiles:
        """Return the percentiles. Raises IndexError if one is among samples that are not sorted."""
        places, extrapolated = places_of(self.size)
        if not places:
            return Percentiles()
        tail = self._tail
        if not tail:
            tail = self._between(*places[1]), self._between(*places[2])
            if places[1][0] > self.size - len(self._top):  # so is p99
                self._tail = tail
        return _percentiles((self._between(*places[0]), *tail, extrapolated))

    def _between(self, index: int, beyond: int) -> float:
        """Return the value `beyond` hundredths of the way from the sample before a place."""
        part, place = self._middle, index - self._below
        if not 0 < place < len(part):
            part, place = self._top, index - self.size + len(self._top)
            if place <= 0:
                raise IndexError(index)
        below, above = part[place - 1] * self.factor, part[place] * self.factor
        return (below * (100 - beyond) + above * beyond) / 100  # as `percentiles` computes it


class Windows:
    """The windows of some series in all workers. For one thread at a time."""

    def __init__(
        self,
        togethers: Sequence[dict[int, Together]],
        before: Sequence[Sequence[Runs]],
        now: Sequence[Sequence[Runs]],
    ) -> None:
        """Take the windows of each worker as they are `now`: for each series one, or several.

        `before` are the windows behind `togethers`; empty if unknown. `ToolSeries.runs` describes
        the windows of a series.
        """
        self._togethers = togethers
        self._before = before
        self._now = now

    def percentiles(self, place: int = 0) -> tuple[list[Percentiles], list[int]]:
        """Return the percentiles of the windows at one place, and the numbers of samples."""
        togethers = []
        for known in self._togethers:
            if place not in known:
                known[place] = Together()
            togethers.append(known[place])
        before, now = (
            [runs[place] for runs in each if len(runs) > place]
            for each in (self._before, self._now)
        )
        if len(before) == len(now) > 0:
            found = _moved(togethers, before, now)
        else:
            each = zip(*map(Runs.each, now), strict=True) if now else repeat(())
            found = [one.sorted(runs) for one, runs in zip(togethers, each, strict=False)]
        return found, [one.size for one in togethers]


def _moved(
    togethers: Sequence[Together], before: Sequence[Runs], now: Sequence[Runs]
) -> list[Percentiles]:
    """Return percentiles, updated by what has happened to windows since `before`."""
    moved = [moves(old, new) for old, new in zip(before, now, strict=True)]
    if len(set[float]().union(*(each.factor for each in now))) > 1:
        units = [one.factor for one in togethers]
        moved = [each.scaled(_scales(new, units)) for each, new in zip(moved, now, strict=True)]
    others = set[int]().union(*(each.others for each in moved))
    sizes = map(sum, zip(*(each.sizes for each in moved), strict=True))
    come = _by_series([(each.are_arrays, each.come) for each in moved])
    gone = _by_series([(each.are_arrays, each.gone) for each in moved])
    found = []
    for place, (one, new, old, size) in enumerate(zip(togethers, come, gone, sizes, strict=False)):
        if place not in others and len(new) <= _MOST_MOVED * size:
            try:
                found.append(one.moved(new, old, size))
                continue
            except IndexError:  # a percentile is among samples that are not sorted
                pass
        found.append(one.sorted([runs.at([place]).each()[0] for runs in now]))
    return found


def _scales(runs: Runs, units: Sequence[float]) -> list[float]:
    """Return factors from the windows' units to the common unit."""
    return [
        1.0 if factor == unit else factor for factor, unit in zip(runs.factor, units, strict=True)
    ]


def _by_series(
    moved: Sequence[tuple[bool, Sequence[Sequence[Any]]]],
) -> Iterable[Sequence[float]]:
    """Yield the samples of each series, from columns of samples or of arrays."""
    one_by_one = [column for are_arrays, columns in moved if not are_arrays for column in columns]
    arrays = [column for are_arrays, columns in moved if are_arrays for column in columns]
    singles = zip(*one_by_one, strict=True) if one_by_one else repeat(())
    if not arrays:
        return singles
    return (
        [*single, *chain.from_iterable(more)]
        for single, more in zip(singles, zip(*arrays, strict=True), strict=False)
    )
