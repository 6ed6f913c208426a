"""Sketches of latencies: counts in buckets of one relative width, merged without loss.

The buckets are those of OpenTelemetry's exponential histograms at scale 6: a bucket reaches from
above 2^(i/64) seconds to 2^((i+1)/64). Collectors and Prometheus's native histograms use the same.
A value read from a bucket is within 0.55 % of every latency in it.

This form is used instead of the library `ddsketch` because nothing has to be installed for it, and
because its boundaries are a table that `bisect` searches without a step of Python.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from operator import add

SCALE = 6
"""The scale of OpenTelemetry's exponential histograms: 2^6 buckets to each doubling."""
_PER_DOUBLING = 2**SCALE
_FIRST, _LAST = -20 * _PER_DOUBLING, 17 * _PER_DOUBLING
_BOUNDS: tuple[float, ...] = tuple(
    2.0 ** (index / _PER_DOUBLING) for index in range(_FIRST + 1, _LAST + 1)
)
"""Upper bounds of all buckets, in seconds: from a microsecond to a day and a half.

What lies beyond them is counted in the first or the last bucket; the extremes are kept as they are.
"""
_bucket_of = partial(bisect_left, _BOUNDS[:-1])
_RATIO: float = 2.0 ** (1 / _PER_DOUBLING)
_HEADER = struct.Struct("<fffHH")
"""Sum, least and greatest value; first bucket; number of buckets, and bytes of a count above it."""
_WIDTH_AT = 12
_WIDTHS = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))


class Sketch:
    """The distribution of latencies, in seconds. Not safe for several threads."""

    __slots__ = ("_counts", "_low", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        """Sum of all latencies, to seven digits once it was stored."""
        self.minimum = math.inf
        self.maximum = -math.inf
        self._low = 0  # bucket of the first count
        self._counts: list[int] = []

    def add(self, values: Sequence[float]) -> None:
        """Count latencies, in seconds."""
        if not values:
            return
        minimum, maximum = min(values), max(values)
        low, high = _bucket_of(minimum), _bucket_of(maximum)
        counts = [0] * (high - low + 1)
        # To search among the buckets that occur takes fewer steps than among all of them.
        bounds = _BOUNDS[low:high]
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._add_counts(low, counts)
        self._extend(len(values), sum(values), minimum, maximum)

    def add_many(self, value: float, count: int) -> None:
        """Count `count` latencies of the same value: those of a bucket of another histogram."""
        if count > 0:
            self._add_counts(_bucket_of(value), [count])
            self._extend(count, value * count, value, value)

    def merge(self, other: Sketch) -> None:
        """Count everything that `other` has."""
        if other.count:
            self._add_counts(other._low, other._counts)
            self._extend(other.count, other.total, other.minimum, other.maximum)

    def quantile(self, share: float) -> float | None:
        """Return the latency at `share` (0 to 1), by nearest rank; None where there is none.

        It is within 0.55 % of the latency of that rank; the first and the last are exact.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        if rank <= 1:
            return self.minimum
        if rank >= self.count:
            return self.maximum
        at = bisect_left(list(accumulate(self._counts)), rank) + self._low
        upper = _BOUNDS[at]
        lower = upper / _RATIO
        middle = 2 * lower * upper / (lower + upper)  # as far from one as from the other
        return min(max(middle, self.minimum), self.maximum)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Yield the upper bound, in seconds, and the count of each bucket that is not empty."""
        for at, count in enumerate(self._counts, self._low):
            if count:
                yield _BOUNDS[at], count

    def pack(self) -> bytes:
        """Return it as bytes: 16, and one for each bucket from the first to the last.

        Counts of more than a byte are split, the lowest bytes of all first, so that what comes
        after them is mostly zeros and compresses well.
        """
        try:
            width, body = 1, bytes(self._counts)
        except ValueError:  # one of them is more than a byte
            most = max(self._counts)
            width, code = next(item for item in _WIDTHS if most < 256 ** item[0])
            whole = _little(array(code, self._counts)).tobytes()
            body = b"".join(whole[place::width] for place in range(width))
        size = len(self._counts) | width << _WIDTH_AT
        extremes = (self.minimum, self.maximum) if self.count else (0.0, 0.0)
        return _HEADER.pack(self.total, *extremes, self._low, size) + body

    @classmethod
    def unpack(cls, data: bytes) -> Sketch:
        """Return what `pack` made bytes of. Raises ValueError for other bytes."""
        made = cls()
        if len(data) < _HEADER.size:
            raise ValueError("no sketch of latencies")
        total, minimum, maximum, low, size = _HEADER.unpack_from(data)
        width, length = size >> _WIDTH_AT, size & (1 << _WIDTH_AT) - 1
        code = dict(_WIDTHS).get(width)
        if (
            code is None
            or len(data) != _HEADER.size + length * width
            or low + length > len(_BOUNDS)
        ):
            raise ValueError("no sketch of latencies")
        body = data[_HEADER.size :]
        if width == 1:
            made._counts = list(body)
        else:
            whole = bytearray(len(body))
            for place in range(width):
                whole[place::width] = body[place * length : (place + 1) * length]
            made._counts = _little(array(code, bytes(whole))).tolist()
        made._low = low
        made.count = sum(made._counts)
        if made.count:
            if not (0 <= minimum <= maximum < math.inf and math.isfinite(total)):
                raise ValueError("no sketch of latencies")
            made.total, made.minimum, made.maximum = total, minimum, maximum
        return made

    def _add_counts(self, start: int, counts: list[int]) -> None:
        """Add the counts of the buckets from `start` on."""
        if not self._counts:
            self._low, self._counts = start, counts[:]
            return
        if start < self._low:
            self._counts[:0] = [0] * (self._low - start)
            self._low = start
        part = slice(start - self._low, start - self._low + len(counts))
        self._counts += [0] * (part.stop - len(self._counts))
        self._counts[part] = map(add, self._counts[part], counts)

    def _extend(self, count: int, total: float, minimum: float, maximum: float) -> None:
        self.count += count
        self.total += total
        self.minimum = min(self.minimum, minimum)
        self.maximum = max(self.maximum, maximum)


def merged(sketches: Iterable[Sketch | None]) -> Sketch:
    """Return a new sketch of everything in `sketches`."""
    made = Sketch()
    for sketch in sketches:
        if sketch is not None:
            made.merge(sketch)
    return made


def _little(counts: array[int]) -> array[int]:
    if sys.byteorder == "big":
        counts.byteswap()
    return counts
