"""Exact percentiles: p50, p95 and p99 of samples, of which only the needed ones are sorted."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

_PERCENTILES = (("p50", 50), ("p95", 95), ("p99", 99))
_NEAR = 8
"""Samples that are kept below p50 and p95, and above p50: percentiles move as samples change."""
_MOST = 4
"""At most one in so many samples is kept; equal samples may be many."""


class Percentiles(NamedTuple):
    """p50, p95 and p99 of one window, in the samples' unit; None with fewer than two samples.

    `extrapolated` names those beyond the largest sample, as a small window has them.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    extrapolated: tuple[str, ...] = ()

    def at_most(self, longest: float | None) -> Percentiles:
        """Return the percentiles that are shown: none is longer than the longest sample."""
        if longest is None or not self.extrapolated:
            return self
        shown = [
            None if value is None else min(value, longest)
            for value in (self.p50, self.p95, self.p99)
        ]
        return Percentiles(shown[0], shown[1], shown[2], self.extrapolated)


NO_PERCENTILES = Percentiles()


class Ordered(Protocol):
    """Samples by rank, the smallest first."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, place: int, /) -> float:
        """Return the sample of that rank."""


def percentiles(ordered: Ordered, factor: float = 1.0) -> Percentiles:
    """Compute `statistics.quantiles(samples, n=100)[49|94|98]`, equal to the last digit.

    `ordered` are the samples, smallest first. The function computes all 99 percentiles; this one
    repeats its arithmetic (the "exclusive" method) for three. With a `factor`, the result is as if
    each sample had been multiplied first.
    """
    places, extrapolated = places_of(len(ordered))
    if not places:
        return Percentiles()
    p50, p95, p99 = [
        (ordered[index - 1] * factor * (100 - beyond) + ordered[index] * factor * beyond) / 100
        for index, beyond in places
    ]
    return Percentiles(p50, p95, p99, extrapolated)


@lru_cache(maxsize=256)
def places_of(count: int) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return the ranks of the percentiles of `count` samples, and names of those beyond the last.

    A percentile lies between the sample of a rank and the one before, so many hundredths beyond
    that. There are none with fewer than two samples.
    """
    places, extrapolated = [], []
    for name, percent in _PERCENTILES if count > 1 else ():
        rank = percent * (count + 1)
        index = min(rank // 100, count - 1)
        beyond = rank - index * 100
        places.append((index, beyond))
        if beyond > 100:  # on the line through the two, beyond the second
            extrapolated.append(name)
    return tuple(places), tuple(extrapolated)


class Bands:
    """The samples near p50, and those from below p95 on, sorted; the others are only counted.

    A sample is found by its rank among all. IndexError means that it is not kept, or that too many
    are: then all samples have to be sorted again.
    """

    __slots__ = ("_below", "_cut", "_high", "_low", "_middle", "_size", "_top")

    def __init__(self, ordered: Sequence[float]) -> None:
        """Take some hundred samples, smallest first, or more."""
        size = self._size = len(ordered)
        (median, _), (p95, _), _ = places_of(size)[0]
        low = self._low = ordered[median - _NEAR]
        high = self._high = ordered[median + _NEAR]
        self._cut = ordered[p95 - _NEAR]
        self._below = bisect_left(ordered, low)
        self._middle = array("d", ordered[self._below : bisect_right(ordered, high)])
        self._top = array("d", ordered[bisect_left(ordered, self._cut) :])

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: int, /) -> float:
        middle, top = self._middle, self._top
        if len(middle) + len(top) <= self._size // _MOST:
            if 0 <= place - self._below < len(middle):
                return middle[place - self._below]
            if place >= self._size - len(top):
                return top[place - self._size]
        raise IndexError(place)

    def replace(self, gone: Sequence[float], new: Sequence[float]) -> None:
        """Replace samples by others, or add some if the window is not full."""
        self._size += len(new) - len(gone)
        low, high, cut, middle, top = self._low, self._high, self._cut, self._middle, self._top
        for sample in gone:
            if sample < low:
                self._below -= 1
            elif sample <= high:
                del middle[bisect_left(middle, sample)]
            if sample >= cut:
                del top[bisect_left(top, sample)]
        for sample in new:
            if sample < low:
                self._below += 1
            elif sample <= high:
                insort(middle, sample)
            if sample >= cut:
                insort(top, sample)
        self._middle, self._top = middle[:], top[:]  # copies have exactly the size that is needed
