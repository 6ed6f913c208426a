"""Buckets of other histograms, as sketches of latencies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from metertap.history.sketch import SCALE, Sketch

_RATIO = 2.0 ** (1 / 2**SCALE)
_DOUBLINGS = 6
"""The factor between the bounds of a bucket that begins at 0."""
_LONGEST_SECONDS = 1e11
"""A bound that no call takes: thousands of years."""


class Bucket(NamedTuple):
    """Calls that took more than `lower` and at most `upper` seconds; need not be a whole number."""

    lower: float
    upper: float
    calls: float


def of_classic(totals: Mapping[str, float]) -> list[Bucket]:
    """Return the buckets of totals by upper bound; calls beyond the last one are at its bound.

    Raises ValueError for a bound that is no number.
    """
    buckets, lower, before = [], 0.0, 0.0
    for upper, total in sorted((float(bound), total) for bound, total in totals.items()):
        if math.isinf(upper):
            upper = lower * _RATIO
        buckets.append(Bucket(lower, upper, max(0.0, total - before)))
        lower, before = upper, max(total, before)
    return buckets


def of_native(buckets: Iterable[tuple[float, float, float]]) -> list[Bucket]:
    """Return the buckets of a native histogram; the one around zero begins there."""
    return [Bucket(max(0.0, lower), upper, count) for lower, upper, count in buckets]


def of_ranges(counts: Mapping[str, float]) -> list[Bucket]:
    """Return the buckets of VictoriaMetrics' ranges, such as `1.000e-2...1.011e-2`.

    Raises ValueError for a range that is none.
    """
    buckets = []
    for text, count in counts.items():
        lower, _, upper = text.partition("...")
        buckets.append(Bucket(float(lower), float(upper), count))
    return buckets


def sketch(buckets: Iterable[Bucket]) -> Sketch:
    """Count buckets whose counts need not be whole; their sum is, to the nearest number."""
    made = Sketch()
    total, counted = 0.0, 0
    for value, count in _spread(sorted(buckets, key=lambda bucket: bucket.upper)):
        total += count
        due = round(total) - counted
        if due > 0:
            made.add_many(value, due)
            counted += due
    return made


def _spread(buckets: Iterable[Bucket]) -> Iterator[tuple[float, float]]:
    """Yield values and how often they come: evenly in each bucket that is wider than a sketch's."""
    for lower, upper, count in buckets:
        lower = max(0.0, lower)
        if not 0 < count < math.inf or not lower < upper < _LONGEST_SECONDS:
            continue
        least = max(lower, upper / 2**_DOUBLINGS)
        pieces = max(1, round(math.log(upper / least, _RATIO)))
        bounds = [lower, *(least * (upper / least) ** (n / pieces) for n in range(1, pieces + 1))]
        for low, high in pairwise(bounds):
            value = math.sqrt(low * high) if low else high / 2
            yield value, count * (high - low) / (upper - lower)
