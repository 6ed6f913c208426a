"""The windows of several workers as one, for percentiles that are exact over all samples.

A worker hands over the samples that are new, and they take the place of the oldest in one sorted
window of all workers. So a look costs what the new samples cost, whatever the windows hold.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from metertap.recording.window import Percentiles, Run, new_number, percentiles
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
    new = len(now.samples)
    if before is not None and _is_later(now, before):
        new = min(new, now.ever - before.ever)
    kept = len(now.samples) - new
    return Fresh(now.samples[kept:], now.factor, kept)


def completed(sent: Fresh, before: Run | None) -> Run:
    """Return the window of another worker, of which `before` was known. Raises Malformed."""
    if sent.factor not in _FACTORS:
        raise Malformed("samples have no unit")
    samples = array("d", sent.samples)
    if not sent.kept:
        return Run(samples, sent.factor, len(samples), new_number())
    if before is None or before.factor != sent.factor or sent.kept > len(before.samples):
        raise Malformed("samples are missing")
    return Run(
        before.samples[len(before.samples) - sent.kept :] + samples,
        sent.factor,
        before.ever + len(samples),
        before.window,
    )


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
                staying = len(now.samples) - (now.ever - old.ever)
                if staying < 0 or not _is_later(now, old):
                    return False
                new += self._in_unit(now, staying, None)
                gone += self._in_unit(old, 0, len(old.samples) - staying)
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
            found += self._in_unit(run, 0, None)
        found.sort()
        self._ordered = array("d", found)

    def _in_unit(self, run: Run, start: int, end: int | None) -> Sequence[float]:
        """Return some samples of a window in the unit of all."""
        samples = run.samples[start:end]
        if run.factor == self._factor:
            return samples
        return [sample * run.factor for sample in samples]


def _is_later(now: Run, before: Run) -> bool:
    """Return whether `now` is the same window as `before`, at most with newer samples."""
    return now.window == before.window and now.factor == before.factor and now.ever >= before.ever
