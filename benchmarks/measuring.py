"""Interleaved timing: every contestant runs in every round, so that a machine that speeds up or
slows down does so for all of them. What is compared are ratios of one round."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[int], float]
"""Does its work that many times; returns the seconds that took."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio over the rounds: the median, and the quartiles as its spread."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """One figure of the table. `limit` is what it has to stay under; None where it only informs."""

    row: str
    against: str
    ratio: Ratio
    limit: float | None
    seconds: float
    """What ours takes, in seconds: of this machine, for orientation."""

    @property
    def is_met(self) -> bool:
        return self.limit is None or self.ratio.median <= self.limit


def timed(function: Callable[[], object]) -> Work:
    """Calls of `function`, in a loop; in CPU time of this thread, so that others do not count."""

    def work(times: int) -> float:
        repeat = [None] * times
        started = time.thread_time()
        for _ in repeat:
            function()
        return time.thread_time() - started

    return work


def awaited(function: Callable[[], Awaitable[object]]) -> Work:
    """Calls of the async `function`, in a loop of one task; in CPU time of this thread."""

    async def run(times: int) -> float:
        repeat = [None] * times
        started = time.thread_time()
        for _ in repeat:
            await function()
        return time.thread_time() - started

    return lambda times: asyncio.run(run(times))


def quartile(seconds: Sequence[float]) -> float:
    """Return the lower quartile, which another program on the machine disturbs least."""
    return statistics.quantiles(seconds, n=4)[0] if len(seconds) > 1 else seconds[0]


def interleaved(
    works: Mapping[str, Work], *, rounds: int, times: int, fewer: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Seconds for one piece of each work, by round; the `fewer` do a tenth of the times."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work(max(1, times // 10))  # the first calls pay for caches and lazy imports
    for _ in range(rounds):
        for name, work in works.items():
            pieces = max(1, times // 10) if name in fewer else times
            gc.collect()
            gc.disable()
            try:
                seconds[name].append(work(pieces) / pieces)
            finally:
                gc.enable()
    return seconds


def above(seconds: Mapping[str, Sequence[float]], name: str, bare: str) -> list[float]:
    """What `name` costs on top of `bare`, round by round."""
    return [value - base for value, base in zip(seconds[name], seconds[bare], strict=True)]


def result(
    row: str, against: str, ours: Sequence[float], theirs: Sequence[float], limit: float | None
) -> Result:
    """Ours to theirs, round by round."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    ratio = Ratio(statistics.median(ratios), low, high)
    return Result(row, against, ratio, limit, statistics.median(ours))
