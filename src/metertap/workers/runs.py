"""The windows of several workers as one, for percentiles that are exact over all samples.

A worker hands over the samples that are new, and they take the place of the oldest in one sorted
window of all workers. So a look costs what the new samples cost, whatever the windows hold.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from metertap.recording.window import Percentiles, Run, percentiles, run_of
from metertap.workers.wire import Malformed

_FACTORS = (1.0, 1000.0)
_MOST_MOVED = 1 / 8
"""The share of new samples above which sorting all is cheaper than moving some."""


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
    if factor not in _FACTORS:
        raise Malformed("samples have no unit")
    if not isinstance(samples, array):
        samples = array("d", samples)
    if not kept:
        return run_of(samples, factor)
    if before is None or before.factor != factor or kept > before.size:
        raise Malformed("samples are missing")
    return before.followed_by(samples, kept)


class Together:
    """All samples of some windows in order, which are moved as the windows move.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._runs: Sequence[Run] = ()
        self._ordered = array("d")
        self._factor = 1.0

    def percentiles(self, runs: Sequence[Run]) -> tuple[Percentiles, int]:
        """Return the percentiles of all samples, in milliseconds, and their number."""
        before, self._runs = self._runs, runs
        if not self._is_moved(before, runs):
            self._sort(runs)
        return percentiles(self._ordered, self._factor), len(self._ordered)

    def _is_moved(self, before: Sequence[Run], runs: Sequence[Run]) -> bool:
        """Put what is new in place of what has gone; return False if that is not little."""
        if len(before) != len(runs):
            return False
        new: list[float] = []
        gone: list[float] = []
        for old, now in zip(before, runs, strict=True):
            if now is not old:
                come = now.ever - old.ever
                if come > now.size or not _is_later(now, old):
                    return False
                new += self._in_unit(now, now.newest(come))
                gone += self._in_unit(old, old.oldest(old.size + come - now.size))
        ordered = self._ordered
        if len(new) > _MOST_MOVED * len(ordered):
            return False
        for sample in gone:
            del ordered[bisect_left(ordered, sample)]
        for sample in new:
            insort(ordered, sample)
        return True

    def _sort(self, runs: Sequence[Run]) -> None:
        factors = {run.factor for run in runs}
        self._factor = factors.pop() if len(factors) == 1 else 1.0
        found: list[float] = []
        for run in runs:
            found += self._in_unit(run, run.samples)
        found.sort()
        self._ordered = array("d", found)

    def _in_unit(self, run: Run, samples: Sequence[float]) -> Sequence[float]:
        """Return some samples of a window in the unit of all."""
        if run.factor == self._factor:
            return samples
        return [sample * run.factor for sample in samples]


def _is_later(now: Run, before: Run) -> bool:
    """Return whether `now` is the same window as `before`, at most with newer samples."""
    return now.window == before.window and now.factor == before.factor and now.ever >= before.ever
