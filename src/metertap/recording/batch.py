"""Durations that go from a buffer to instruments, a batch at a time."""

from __future__ import annotations

import operator
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

# Since 3.12 `sum` compensates for rounding, which the SDK does not.
_SUM_IS_SEQUENTIAL = sys.version_info < (3, 12)


class Trace(NamedTuple):
    """The time and the context of one sample, which becomes an exemplar."""

    position: int
    """The place of the sample in its batch."""
    time_ns: int
    context: Any


class Batch:
    """Durations in seconds, in the order in which the calls ended, and results of merging them.

    `traces` belong to the samples that were taken under a sampled span.
    """

    __slots__ = ("_counts", "_ordered", "_rests", "durations", "parts", "taken_by", "traces")

    def __init__(self, durations: Sequence[float], traces: Sequence[Trace] = ()) -> None:
        self.durations = durations
        self.traces = traces
        self.taken_by: dict[object, int] = {}
        """How many durations each receiver has taken: instruments, and listeners of folds."""
        self.parts: Any = None
        """The parts that a series made of the batch, which a repeated fold takes again."""
        self._ordered: list[float] | None = None
        self._counts: list[tuple[tuple[float, ...], list[int]]] = []  # bounds are slow to hash
        self._rests: dict[int, Batch] = {}

    def __len__(self) -> int:
        return len(self.durations)

    @property
    def ordered(self) -> list[float]:
        """The durations, shortest first."""
        if self._ordered is None:  # not `cached_property`, which takes a lock
            self._ordered = sorted(self.durations)
        return self._ordered

    def after(self, done: int) -> Batch:
        """Return the batch without its first `done` durations."""
        if not done:
            return self
        rest = self._rests.get(done)
        if rest is None:
            rest = self._rests[done] = Batch(self.durations[done:])
        return rest

    def counts(self, bounds: tuple[float, ...]) -> list[int]:
        """Count the durations in each bucket; a bound belongs to the bucket below it."""
        for known, counts in self._counts:
            if known == bounds:
                return counts
        if len(self.durations) <= len(bounds):
            counts = [0] * (len(bounds) + 1)
            for duration in self.durations:
                counts[bisect_left(bounds, duration)] += 1
        else:
            ordered = self.ordered
            ends = [bisect_right(ordered, bound) for bound in bounds]
            counts = list(map(operator.sub, [*ends, len(ordered)], [0, *ends]))
        self._counts.append((bounds, counts))
        return counts

    def added_to(self, total: float) -> float:
        """Add each duration to `total`, one after the other, and return the sum."""
        if _SUM_IS_SEQUENTIAL:
            return sum(self.durations, total)
        for duration in self.durations:  # faster than `functools.reduce`
            total += duration
        return total
