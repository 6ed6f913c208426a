"""Exact percentiles: p50, p95 and p99 of samples that are in order."""

from __future__ import annotations

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
    count = len(ordered)
    if count < 2:
        return Percentiles()
    found = []
    for _, percent, _ in _PERCENTILES:
        rank = percent * (count + 1)
        index = min(max(rank // 100, 1), count - 1)
        beyond = rank - index * 100
        below, above = ordered[index - 1] * factor, ordered[index] * factor
        found.append((below * (100 - beyond) + above * beyond) / 100)
    extrapolated = tuple(name for name, _, fewest in _PERCENTILES if count < fewest)
    return Percentiles(found[0], found[1], found[2], extrapolated)
