"""Changes of one tool or cache: which figures changed, by how much, and since when.

Latencies are compared as whole distributions (by ranks, as Mann and Whitney do) and in their
slowest tenth; failures and misses are compared as shares, result sizes and costs as means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from metertap import outcomes
from metertap.history.answers import Slice, Subject
from metertap.history.comparison import Array, Comparison, Estimate, Series

What = Literal["latency", "p95", "errors", "misses", "result bytes", "cost"]
Sides = tuple[list[Slice], list[Slice]]

MATERIAL = 0.05
"""The least relative change of a latency, a size or a cost that is reported."""
MATERIAL_SHARE = 0.01
"""The least change of a share, in points, that is reported."""
STEADY = 0.6
"""The share of blocks that must agree with the direction of a change."""
FEWEST_CALLS = 60
"""The fewest calls on a side that are compared."""
_DAY = 86_400.0
_DECILES = np.arange(0.1, 0.95, 0.1)


@dataclass(frozen=True, slots=True)
class Finding:
    """A change of one figure of a tool or a cache.

    Latencies are in seconds, shares are 0 to 1, sizes are bytes a result, costs USD a call.
    """

    service: str
    subject: Subject
    what: What
    before: float
    after: float
    change: Estimate
    """The change: in points for shares (0.02 is 2), relative for all others (0.2 is 20 % more)."""
    p_value: float
    """The p-value, corrected for the number of comparisons."""
    since: float
    """When it began, in Unix seconds."""
    version: str
    """The version with which it began; empty if none began then."""
    lost_seconds_a_day: float | None
    """Additional seconds in calls a day; None if unknown."""

    @property
    def is_worse(self) -> bool:
        """Whether it is a regression, and no improvement."""
        return self.change.value > 0


class Tested(NamedTuple):
    """A comparison of one figure, before the number of all comparisons is known."""

    p_value: float
    finding: Callable[[float], Finding | None]
    """Returns the finding for a corrected p-value; None if the change is not steady or material."""


class _Figure(NamedTuple):
    """A figure of both sides, and the way to compare it."""

    what: What
    before: float
    after: float
    score: Array
    """The score of a call in each bin, for the test."""
    moved: Callable[[Array, Array], Array]
    """Returns the change of rows of counts, before and after."""
    material: float
    lost: float | None


def compared(service: str, subject: Subject, sides: Sides) -> list[Tested]:
    """Compare each figure that has enough calls on both sides."""
    found: list[Tested] = []
    seconds = None
    if subject.kind != "cache":
        logs, series = _latencies(sides)
        comparison = _comparison(series)
        if comparison is not None:
            factors = [_exactness(*each, logs) for each in zip(sides, series, strict=True)]
            for figure in _of_latency(comparison, logs, factors, _calls_a_day(sides[1])):
                found.append(_tested(service, subject, sides, comparison, figure))
            after = comparison.pooled[1]
            seconds = factors[1] * float(after @ np.exp(logs) / after.sum())
    series = [_series(side, _pairs(side, _good_and_bad)) for side in sides]
    comparison = _comparison(series)
    if comparison is not None:
        what: What = "misses" if subject.kind == "cache" else "errors"
        figure = _of_share(what, comparison, seconds and seconds * _calls_a_day(sides[1]))
        tested = _tested(service, subject, sides, comparison, figure)
        # With few of them, the means of blocks are far from a normal distribution.
        table = [np.rint(item.counts.sum(axis=0)).astype(int) for item in series]
        exact = float(stats.fisher_exact(table).pvalue)
        found.append(tested._replace(p_value=max(tested.p_value, exact)))
    for what, totals in (("result bytes", _sizes), ("cost", _costs)):
        made = _means(sides, totals)
        if made is not None:
            found.append(_tested(service, subject, sides, made[0], _of_mean(what, *made)))
    return found


def _sizes(piece: Slice) -> tuple[float, float]:
    """Return the number of results of known size, and their bytes."""
    return piece.extra.get("results", 0.0), piece.extra.get("result_bytes", 0.0)


def _costs(piece: Slice) -> tuple[float, float]:
    """Return the calls of a tool that asks models, or model calls outside of tools, and their cost.

    In a slice without model calls, calls cost nothing.
    """
    return piece.calls or piece.extra.get("model_calls", 0.0), piece.extra.get("cost_usd", 0.0)


def _means(
    sides: Sides, totals: Callable[[Slice], tuple[float, float]]
) -> tuple[Comparison, float] | None:
    """Compare series of two columns; the second one has the score that is returned, too.

    An interval's mean score is its mean. None if the series have too little, or only zeros.
    """
    pairs = [_pairs(side, totals) for side in sides]
    if not all(side[:, 1].sum() > 0 for side in pairs):
        return None
    counts, sums = (np.concatenate([side[:, column] for side in pairs]) for column in (0, 1))
    most = float(np.max(sums / np.maximum(counts, 1.0)))
    columns = [side[:, 1] / most for side in pairs]
    series = [
        _series(of, np.stack([np.maximum(side[:, 0] - high, 0.0), high], axis=1))
        for of, side, high in zip(sides, pairs, columns, strict=True)
    ]
    comparison = _comparison(series)
    return None if comparison is None else (comparison, most)


def _of_mean(what: What, comparison: Comparison, score: float) -> _Figure:
    """Return the figure of the mean score of two columns, of which the first scores 0."""

    def relative(before: Array, after: Array) -> Array:
        moved: Array = _second(after) / np.maximum(_second(before), 1e-12) - 1
        return moved

    before, after = (float(score * counts[1] / counts.sum()) for counts in comparison.pooled)
    return _Figure(what, before, after, np.array([0.0, score]), relative, MATERIAL, None)


def _comparison(series: Sequence[Series]) -> Comparison | None:
    if any(item.counts.sum() < FEWEST_CALLS for item in series):
        return None
    made = Comparison(*series)
    return made if made.can_tell else None


def _of_latency(
    comparison: Comparison, logs: Array, factors: Sequence[float], calls_a_day: float
) -> Iterator[_Figure]:
    def quantile(counts: Array, share: float) -> Array:
        total = np.cumsum(counts, axis=-1)
        place = (total < share * total[..., -1:]).sum(axis=-1)
        found: Array = logs[np.minimum(place, len(logs) - 1)]
        return found

    def middle(*sides: Array) -> Array:
        before, after = (np.mean([quantile(c, q) for q in _DECILES], axis=0) for c in sides)
        moved: Array = np.expm1(after - before)
        return moved

    def tail(before: Array, after: Array) -> Array:
        moved: Array = np.expm1(quantile(after, 0.95) - quantile(before, 0.95))
        return moved

    before, after = comparison.pooled
    both = before + after
    ranks = (np.cumsum(both) - both / 2) / both.sum()
    slow, slowest = float(quantile(before, 0.9)), float(quantile(both, 0.99))
    # No single call counts more than the slowest hundredth.
    excess = np.clip(logs - slow, 0.0, max(slowest - slow, MATERIAL))
    seconds = np.exp(np.minimum(logs, slowest))
    mean = [
        factor * float(counts @ seconds / counts.sum())
        for factor, counts in zip(factors, (before, after), strict=True)
    ]
    lost = (mean[1] - mean[0]) * calls_a_day

    def at(share: float) -> tuple[float, float]:
        return float(np.exp(quantile(before, share))), float(np.exp(quantile(after, share)))

    yield _Figure("latency", *at(0.5), ranks, middle, MATERIAL, lost)
    yield _Figure("p95", *at(0.95), excess, tail, MATERIAL, lost)


def _of_share(what: What, comparison: Comparison, seconds_a_day: float | None) -> _Figure:
    """Compare the share of the second of two columns."""

    def difference(before: Array, after: Array) -> Array:
        moved: Array = _second(after) - _second(before)
        return moved

    before, after = (float(counts[1] / counts.sum()) for counts in comparison.pooled)
    lost = None if seconds_a_day is None else (after - before) * seconds_a_day
    return _Figure(what, before, after, np.array([0.0, 1.0]), difference, MATERIAL_SHARE, lost)


def _second(counts: Array) -> Array:
    """Return the share of each row that is in the second of two columns."""
    share: Array = counts[:, 1] / counts.sum(axis=1)
    return share


def _tested(
    service: str, subject: Subject, sides: Sides, comparison: Comparison, figure: _Figure
) -> Tested:
    def finding(p_value: float) -> Finding | None:
        change = comparison.estimate(figure.moved)
        is_clear = abs(change.value) >= figure.material and not change.low <= 0 <= change.high
        if not is_clear or comparison.steadiness(figure.score) < STEADY:
            return None
        since = comparison.changed_at(figure.score)
        what, before, after = figure.what, figure.before, figure.after
        version = _version_at(since, sides)
        return Finding(
            service, subject, what, before, after, change, p_value, since, version, figure.lost
        )

    return Tested(comparison.p_value(figure.score), finding)


def _version_at(since: float, sides: Sides) -> str:
    """Return the version that was first seen then, or an interval earlier or later."""
    first: dict[str, Slice] = {}
    for piece in sorted((piece for side in sides for piece in side), key=lambda item: item.start):
        first.setdefault(piece.version, piece)
    began = [
        (abs(piece.start - since), version)
        for version, piece in list(first.items())[1:]
        if abs(piece.start - since) <= piece.end - piece.start
    ]
    return min(began)[1] if began else ""


def _calls_a_day(pieces: list[Slice]) -> float:
    covered = {piece.start: piece.end - piece.start for piece in pieces}
    return sum(piece.calls for piece in pieces) * _DAY / max(1.0, sum(covered.values()))


def _good_and_bad(piece: Slice) -> tuple[int, int]:
    if piece.subject.kind == "cache":
        return piece.hits, piece.misses
    return piece.outcomes.get(outcomes.OK, 0), piece.failed


def _pairs(pieces: list[Slice], totals: Callable[[Slice], tuple[float, float]]) -> Array:
    """Return a row of two totals for each slice, also if both are zero."""
    return np.array([totals(piece) for piece in pieces], float).reshape(-1, 2)


def _latencies(sides: Sides) -> tuple[Array, list[Series]]:
    """Return the logarithm of each bucket's middle, and the counts of both sides."""
    buckets = [
        [list(piece.latency.buckets()) if piece.latency else [] for piece in side] for side in sides
    ]
    bounds = sorted({bound for side in buckets for piece in side for bound, _ in piece})
    column = {bound: number for number, bound in enumerate(bounds)}
    found = []
    for side, pieces in zip(sides, buckets, strict=True):
        counts = np.zeros((len(side), len(bounds)))
        for row, piece in enumerate(pieces):
            for bound, count in piece:
                counts[row, column[bound]] = count
        found.append(_series(side, counts))
    return np.log(np.array(bounds)) - np.log(2) / 128, found


def _exactness(pieces: list[Slice], series: Series, logs: Array) -> float:
    """Return the sum of all latencies, divided by the sum that the middles of their buckets give.

    By the wide buckets of an engine alone, the sum may be wrong by a third.
    """
    total = sum(piece.latency.total for piece in pieces if piece.latency is not None)
    return total / float(series.counts.sum(axis=0) @ np.exp(logs))


def _series(pieces: list[Slice], counts: Array) -> Series:
    return Series(np.array([piece.start for piece in pieces]), counts)
