"""Comparison of two series of counts: whether they differ, by how much, and since when.

Calls at about the same time are alike: a slow minute with sixty calls is one observation and not
sixty. So blocks of time are compared, each of which counts once. If the earlier series has the same
hours of at least two days, each block is compared with those hours only, so that a busy noon does
not look like a change.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

CALLS_IN_BLOCK = 20
"""The fewest calls of a block: the mean of fewer is too far from a normal distribution."""
MOST_BLOCKS = 24
"""The most blocks of a series that is not compared hour by hour."""
FEWEST_BLOCKS = 3
"""The fewest blocks on a side that can be compared."""
_HOUR, _DAY = 3600.0, 86_400.0
_TRIMMED = 0.05
"""The share of blocks that is left out at each end: a few bad minutes are no change."""
_DAYS = 4
"""The number of earlier days from which the spread from day to day counts as well."""
_PAIRS = 6
"""The fewest parts of a day that both sides must have if there is only one earlier day."""
_RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class Series:
    """Counts by interval and bin, in order of time."""

    times: Array
    """The beginning of each interval, in Unix seconds."""
    counts: Array
    """One row for each interval, one column for each bin."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Side:
    """The blocks of one side: counts by bin, the part of the day, and the day from the change."""

    counts: Array
    part: NDArray[np.int64]
    day: NDArray[np.int64]

    @property
    def sizes(self) -> Array:
        total: Array = self.counts.sum(axis=1)
        return total

    def only(self, which: NDArray[np.bool_]) -> _Side:
        """Return the blocks that `which` selects."""
        return _Side(self.counts[which], self.part[which], self.day[which])


class Comparison:
    """Two series in blocks of time."""

    def __init__(self, before: Series, after: Series) -> None:
        self._series = before, after
        self._hours, (self._before, self._after) = _blocks(before, after)
        before_sizes, after_sizes = (
            np.bincount(side.part, side.sizes, minlength=24) for side in (self._before, self._after)
        )
        # Earlier calls are weighted as if they had been made at the same hours as the later ones.
        weights = after_sizes / np.where(before_sizes > 0, before_sizes, 1.0)
        self._weighted = self._before.counts * weights[self._before.part][:, None]

    @property
    def can_tell(self) -> bool:
        """Return whether both sides have enough blocks of time to be compared."""
        return min(len(self._before.counts), len(self._after.counts)) >= FEWEST_BLOCKS

    @property
    def pooled(self) -> tuple[Array, Array]:
        """Return counts by bin, before (at the hours of the day of those after) and after."""
        return self._weighted.sum(axis=0), self._after.counts.sum(axis=0)

    def p_value(self, score: Array) -> float:
        """Return the probability of so large a difference of the mean `score` by chance.

        `score` has a number for each bin. The test is Yuen's on the means of blocks; with enough
        days, it must also hold against the spread between days.
        """
        before, after = self._deviations(score)
        found = _yuen(before, after)
        days = np.unique(self._before.day)
        if self._hours and len(days) >= _DAYS:
            each = np.array([before[self._before.day == day].mean() for day in days])
            spread = each.std(ddof=1) * np.sqrt(1 / len(days) + 1 / len(np.unique(self._after.day)))
            if spread > 0:
                t = abs(after.mean() - each.mean()) / spread
                found = max(found, 2 * float(stats.t.sf(t, len(days) - 1)))
        return found

    def steadiness(self, score: Array) -> float:
        """Return the share of later blocks that lie beyond the median of the earlier ones.

        It is from 0.5 (no change) to 1, on the side to which most of them moved.
        """
        before, after = self._deviations(score)
        median = np.median(before)
        above = float(np.mean(after > median) + np.mean(after == median) / 2)
        return max(above, 1 - above)

    def estimate(self, statistic: Callable[[Array, Array], Array]) -> Estimate:
        """Estimate a figure of the counts by bin before and after, by resampling blocks.

        `statistic` gets a row of counts for each resampled series, and returns a figure for each.
        """
        chance = np.random.default_rng(0)  # seeded, so that the same question has the same answer
        drawn = []
        for counts in (self._weighted, self._after.counts):
            blocks = len(counts)
            times = chance.multinomial(blocks, np.full(blocks, 1 / blocks), _RESAMPLES)
            drawn.append(times @ counts)
        low, high = np.quantile(statistic(*drawn), (0.025, 0.975))
        value = statistic(*(counts[None, :] for counts in self.pooled))[0]
        return Estimate(float(value), float(low), float(high))

    def changed_at(self, score: Array) -> float:
        """Return the beginning of the interval from which on the mean `score` differs.

        It is where two levels describe the intervals best, by least squares, each interval with
        the weight of its calls. (Libraries for change points, `ruptures` for one, know no weights.)
        """
        times = np.concatenate([series.times for series in self._series])
        counts = np.concatenate([series.counts for series in self._series])
        sizes = counts.sum(axis=1)
        kept = sizes > 0
        order = np.argsort(times[kept], kind="stable")
        times, counts, sizes = times[kept][order], counts[kept][order], sizes[kept][order]
        level = self._levels(score)[_part(times, self._hours)]
        total = np.cumsum(counts @ score - sizes * level)
        weight = np.cumsum(sizes)
        left, whole = weight[:-1], weight[-1]
        gain = (total[:-1] - total[-1] * left / whole) ** 2 / (left * (whole - left))
        return float(times[1:][np.argmax(gain)])

    def _deviations(self, score: Array) -> tuple[Array, Array]:
        """Return each block's mean score less that of the same hours before."""
        levels = self._levels(score)
        before, after = (
            side.counts @ score / side.sizes - levels[side.part]
            for side in (self._before, self._after)
        )
        if self._hours:
            blocks = np.bincount(self._before.part, minlength=24)
            if blocks.max() == 1:  # pairs of the same hour: one difference for each
                parts = self._after.part
                each = np.bincount(parts, minlength=24)
                summed = np.bincount(parts, after, minlength=24)
                return before, (summed / np.maximum(each, 1))[np.unique(parts)]
            # A block is nearer to a mean of which it is part.
            blocks = np.maximum(blocks, 2)[self._before.part]
            before = before * np.sqrt(blocks / (blocks - 1))
        return before, after

    def _levels(self, score: Array) -> Array:
        """Return the mean of the blocks before, for each part of the day."""
        side = self._before
        blocks = np.bincount(side.part, minlength=24)
        summed = np.bincount(side.part, side.counts @ score / side.sizes, minlength=24)
        levels: Array = summed / np.maximum(blocks, 1)
        return levels


def _yuen(before: Array, after: Array) -> float:
    before, after = (np.round(side, 12) for side in (before, after))  # equal but for rounding
    if np.ptp(before) == 0 and np.ptp(after) == 0:
        return 0.0 if before[0] != after[0] else 1.0
    with warnings.catch_warnings():
        # It warns of values that are nearly equal, such as those of a bin with all calls.
        warnings.simplefilter("ignore", RuntimeWarning)
        found = float(stats.ttest_ind(before, after, equal_var=False, trim=_TRIMMED).pvalue)
    return 1.0 if np.isnan(found) else found  # without the trimmed ones, all are equal


def _part(times: Array, hours: int) -> NDArray[np.int64]:
    """Return the part of the day (UTC) of each time; 0 if parts are not distinguished."""
    if not hours:
        return np.zeros(len(times), np.int64)
    parts: NDArray[np.int64] = (times % _DAY // (hours * _HOUR)).astype(np.int64)
    return parts


def _blocks(before: Series, after: Series) -> tuple[int, tuple[_Side, _Side]]:
    """Divide both series into blocks; return also how many hours a part of the day has."""
    change = float(after.times.min()) if len(after.times) else 0.0
    wanted = 0.8 * after.counts.sum()
    for hours, days in ((1, 2), (2, 2), (4, 2), (8, 2), (1, 1), (2, 1)):
        every = [_by_hours(series, hours, change) for series in (before, after)]
        seen = np.bincount(every[0].part, minlength=24)
        later = every[1].only(seen[every[1].part] >= days)
        earlier = every[0].only(np.isin(every[0].part, later.part))
        if days == 1:
            if len(np.unique(later.part)) >= _PAIRS:
                newest = np.array(
                    [earlier.day[earlier.part == part].max() for part in earlier.part]
                )
                return hours, (earlier.only(earlier.day == newest), later)
        elif later.sizes.sum() >= wanted and len(later.part) >= FEWEST_BLOCKS:
            return hours, (earlier, later)
    return 0, (_by_calls(before), _by_calls(after))


def _by_hours(series: Series, hours: int, change: float) -> _Side:
    key = series.times // (hours * _HOUR)
    starts, ids = np.unique(key, return_inverse=True)
    counts = np.zeros((len(starts), series.counts.shape[1]))
    np.add.at(counts, ids, series.counts)
    kept = counts.sum(axis=1) >= CALLS_IN_BLOCK
    times = starts[kept] * hours * _HOUR
    days = np.floor((times - change) / _DAY).astype(np.int64)
    return _Side(counts[kept], _part(times, hours), days)


def _by_calls(series: Series) -> _Side:
    """Divide into blocks of about as many calls each."""
    sizes = series.counts.sum(axis=1)
    total = sizes.sum()
    blocks = int(np.clip(total // CALLS_IN_BLOCK, 1, MOST_BLOCKS))
    middle = np.cumsum(sizes) - sizes / 2
    ids = np.minimum(middle / max(total, 1.0) * blocks, blocks - 1).astype(np.int64)
    counts = np.zeros((blocks, series.counts.shape[1]))
    np.add.at(counts, ids, series.counts)
    counts = counts[counts.sum(axis=1) > 0]
    zeros = np.zeros(len(counts), np.int64)
    return _Side(counts, zeros, zeros)
