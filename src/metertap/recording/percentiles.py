"""Exact percentiles: p50, p95 and p99 of samples that are in order."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Protocol

# (name, percent, fewest samples that hold the percentile between two of them; with fewer, the
# method extends a line beyond the largest sample).
_PERCENTILES = (("p50", 50, 2), ("p95", 95, 19), ("p99", 99, 99))


class Percentiles(NamedTuple):
    """p50, p95 and p99 of one window, in the samples' unit; None with fewer than two samples.

    `extrapolated` names those that lie beyond the largest sample because the window is small.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    extrapolated: tuple[str, ...] = ()

    def at_most(self, longest: float | None) -> Percentiles:
        """Return the percentiles as people see them: none lies beyond the longest sample."""
        if longest is None or not self.extrapolated:
            return self
        shown = [
            None if value is None else min(value, longest)
            for value in (self.p50, self.p95, self.p99)
        ]
        return Percentiles(shown[0], shown[1], shown[2], self.extrapolated)


class Ordered(Protocol):
    """Samples by their places, the smallest first."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def __getitem__(self, place: int, /) -> float:
        """Return the sample of a place."""


def percentiles(ordered: Ordered, factor: float = 1.0) -> Percentiles:
    """Compute what `statistics.quantiles(samples, n=100)[49|94|98]` does, to the last digit.

    `ordered` are the samples, smallest first. That function computes all 99; its arithmetic (the
    "exclusive" method) is repeated here for the three. With a `factor`, it is as if each sample
    had been multiplied first.
    """
    places, extrapolated = places_of(len(ordered))
    if not places:
        return Percentiles()
    p50, p95, p99 = [
        between(ordered[index - 1] * factor, ordered[index] * factor, beyond)
        for index, beyond in places
    ]
    return Percentiles(p50, p95, p99, extrapolated)


@lru_cache(maxsize=256)
def places_of(count: int) -> tuple[tuple[tuple[int, int], ...], tuple[str, ...]]:
    """Return where the percentiles of `count` samples are, and which are beyond the largest one.

    Each is between the sample of a place and the one before, by so many hundredths beyond that.
    There are none with fewer than two samples.
    """
    places = []
    for _, percent, _ in _PERCENTILES if count > 1 else ():
        rank = percent * (count + 1)
        index = min(max(rank // 100, 1), count - 1)
        places.append((index, rank - index * 100))
    return tuple(places), tuple(name for name, _, fewest in _PERCENTILES if count < fewest)


def between(below: float, above: float, beyond: int) -> float:
    """Return what lies so many hundredths beyond the first of two samples."""
    return (below * (100 - beyond) + above * beyond) / 100
