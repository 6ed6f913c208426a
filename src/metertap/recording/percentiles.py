"""Exact percentiles: p50, p95 and p99 of samples, of which only the needed ones are sorted."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate
from math import inf
from typing import NamedTuple, Protocol

_PERCENTILES = (("p50", 50), ("p95", 95), ("p99", 99))
_NEAR = 8
"""Samples that are kept on each side of a percentile, which moves as samples change; above p99 all
are kept."""
_MOST = 4
"""At most one in so many samples is kept; equal samples may be many."""
_BOUNDS = 5
"""Bounds of the three bands, of which the last one is open. The numbers of samples below each band
that are not kept follow them."""
_KEPT = (1, 3, 5)
"""How many bounds are not above the samples of each band."""
_MOST_SHORT = 1 << 16
"""The places that two bytes can tell apart."""


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
    """The samples near each percentile of a window, in order; the others are only counted.

    They are kept as places in the window's ring, two bytes each, and found by their rank among all
    samples. IndexError means that a sample is not kept, or that too many are: then all samples have
    to be sorted again.
    """

    __slots__ = ("_edges", "_places", "ring")

    def __init__(self, ring: array[float], ordered: Sequence[float], most: int) -> None:
        """Take the some hundred samples of a ring, and the same in order.

        `most` is the number of samples that the ring may grow to. Raises IndexError if too many
        samples are equal ones near a percentile.
        """
        self.ring = ring
        p50, p95, p99 = [place for place, _ in places_of(len(ordered))[0]]
        bounds = (
            ordered[p50 - _NEAR],
            _above(ordered, p50 + _NEAR),
            ordered[p95 - _NEAR],
            _above(ordered, p95 + _NEAR),
            ordered[p99 - _NEAR],
        )
        low, high, lower, upper, top = accumulate(bounds, max)  # bands of a short ring overlap
        skipped = (
            bisect_left(ordered, low),
            bisect_left(ordered, lower) - bisect_left(ordered, high),
            bisect_left(ordered, top) - bisect_left(ordered, upper),
        )
        if len(ordered) - sum(skipped) > len(ordered) // _MOST:
            raise IndexError("too many samples would be kept")
        # One array for both, since each takes as much as ten numbers more.
        self._edges = array("d", (low, high, lower, upper, top, *skipped))
        near = [
            place
            for place, sample in enumerate(ring)
            if low <= sample and (sample < high or lower <= sample < upper or top <= sample)
        ]
        near.sort(key=ring.__getitem__)
        self._places = array("H" if most <= _MOST_SHORT else "L", near)

    def __len__(self) -> int:
        return len(self.ring)

    def __getitem__(self, rank: int, /) -> float:
        places = self._places
        if len(places) <= len(self.ring) // _MOST:
            index = rank
            for region in _KEPT:
                index -= int(self._edges[_BOUNDS + region // 2])
                if 0 <= index < len(places):
                    sample = self.ring[places[index]]
                    if self._region(sample) == region:
                        return sample
        raise IndexError(rank)

    def replace(self, places: Iterable[int], samples: Iterable[float]) -> None:
        """Prepare for a ring that has `samples` in these places, of which some may be new."""
        edges, kept, ring = self._edges, self._places, self.ring
        size = len(ring)
        fresh: dict[int, float] = {}

        def at(place: int) -> float:
            return fresh[place] if place in fresh else ring[place]

        for place, sample in zip(places, samples, strict=True):
            if place < size:
                gone = ring[place]
                region = bisect_right(edges, gone, 0, _BOUNDS)
                if region in _KEPT:
                    del kept[kept.index(place, bisect_left(kept, gone, key=at))]
                else:
                    edges[_BOUNDS + region // 2] -= 1
            fresh[place] = sample
            region = bisect_right(edges, sample, 0, _BOUNDS)
            if region in _KEPT:
                kept.insert(bisect_right(kept, sample, key=at), place)
            else:
                edges[_BOUNDS + region // 2] += 1
        self._places = kept[:]  # a copy has exactly the size that is needed

    def _region(self, sample: float) -> int:
        """Return how many bounds are not above `sample`."""
        return bisect_right(self._edges, sample, 0, _BOUNDS)


def _above(ordered: Sequence[float], rank: int) -> float:
    """Return the smallest sample above the one of this rank."""
    end = bisect_right(ordered, ordered[rank])
    return ordered[end] if end < len(ordered) else inf
