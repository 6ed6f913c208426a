"""Exact percentiles over a sliding window."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# (name, index into statistics.quantiles(n=100), fewest samples that hold the percentile
# between two of them; with fewer, the method extends a line beyond the largest sample).
_PERCENTILES = (("p50", 49, 2), ("p95", 94, 19), ("p99", 98, 99))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """p50, p95 and p99 of one window, in the samples' unit; None with fewer than two samples.

    `extrapolated` names those that lie beyond the largest sample because the window is small.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    extrapolated: tuple[str, ...] = ()


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Equal to `statistics.quantiles(samples, n=100)[49|94|98]`, to the last digit."""
    count = len(samples)
    if count < 2:
        return Percentiles()
    cuts = statistics.quantiles(samples, n=100)
    return Percentiles(
        **{name: cuts[index] for name, index, _ in _PERCENTILES},
        extrapolated=tuple(name for name, _, fewest in _PERCENTILES if count < fewest),
    )
