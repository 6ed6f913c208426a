"""Durations that one series gathered between two folds."""

from __future__ import annotations

import functools
import operator
import sys
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

# Since 3.12 `sum` compensates for rounding, which the SDK does not.
_SUM_IS_SEQUENTIAL = sys.version_info < (3, 12)


class Trace(NamedTuple):
    """When and in which context one sample was taken, for an exemplar."""

    position: int
    """Of the sample in its batch."""
    time_ns: int
    context: Any


class Batch:
    """Durations in seconds, in the order in which the calls ended, and what merging needs of them.

    `traces` are of those that were taken under a sampled span.
    """

    def __init__(self, durations: Sequence[float], traces: Sequence[Trace] = ()) -> None:
        self.durations = durations
        self.traces = traces
        self._counts: dict[tuple[float, ...], list[int]] = {}
        self._rests: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.durations)

    @functools.cached_property
    def ordered(self) -> list[float]:
        """Shortest first."""
        return sorted(self.durations)

    def after(self, done: int) -> Batch:
        """The durations without the first ones."""
        if not done:
            return self
        rest = self._rests.get(done)
        if rest is None:
            rest = self._rests[done] = Batch(self.durations[done:])
        return rest

    def counts(self, bounds: tuple[float, ...]) -> list[int]:
        """How many fall into each bucket; a bound belongs to the bucket below it."""
        counts = self._counts.get(bounds)
        if counts is None:
            ordered = self.ordered
            ends = [bisect_right(ordered, bound) for bound in bounds]
            counts = list(map(operator.sub, [*ends, len(ordered)], [0, *ends]))
            self._counts[bounds] = counts
        return counts

    def added_to(self, total: float) -> float:
        """`total` plus each duration, one after the other."""
        if _SUM_IS_SEQUENTIAL:
            return sum(self.durations, total)
        return functools.reduce(operator.add, self.durations, total)
