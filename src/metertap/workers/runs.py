"""Several sorted lists read as one, for percentiles without merging the lists."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from metertap.recording.window import Percentiles, Run, percentiles


class Runs:
    """The samples of sorted lists in order, by their places: `runs[0]` is the smallest of all.

    A sample is looked for near one that has its rank in one of the lists. As few are taken from
    each list around that as may lie between, sorted, and kept for the place beside it.
    """

    def __init__(self, runs: Sequence[Sequence[float]]) -> None:
        self._runs = [run for run in runs if len(run)]
        self._length = sum(map(len, self._runs))
        self._from = 0
        self._near: list[float] = []

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> float:
        at = place - self._from
        if not 0 <= at < len(self._near):
            self._look_near(place)
            at = 0
        return self._near[at]

    def _look_near(self, place: int) -> None:
        """Find the samples of a place and of the next one."""
        runs, share = self._runs, place / self._length
        guesses = sorted([run[int(share * len(run))] for run in runs])
        guess = guesses[len(guesses) >> 1]
        split = [bisect_left(run, guess) for run in runs]
        self._from = place
        if place > sum(split):
            split = [bisect_right(run, guess, at) for run, at in zip(runs, split, strict=True)]
            if place + 1 < sum(split):  # many are equal
                self._near = [guess, guess]
                return
        ahead = place - sum(split)
        before, after = (0, ahead + 2) if ahead >= 0 else (-ahead, 1)
        found: list[float] = []
        for run, at in zip(runs, split, strict=True):
            start = at - before if at > before else 0
            place -= start
            found += run[start : at + after]
        found.sort()
        place = ahead if ahead >= 0 else place
        self._near = found[place : place + 2]  # further out, not all were taken


def merged(runs: Sequence[Run]) -> tuple[Percentiles, int]:
    """Return the percentiles of all samples of some windows, in milliseconds, and their number."""
    factors = {run.factor for run in runs if run.samples}
    if len(factors) > 1:
        found = Runs([[sample * run.factor for sample in run.samples] for run in runs])
        return percentiles(found), len(found)
    found = Runs([run.samples for run in runs])
    return percentiles(found, *factors), len(found)
