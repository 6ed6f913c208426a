"""Sketches of latencies: counts in buckets of one relative width, merged without loss.

The buckets are those of OpenTelemetry's exponential histograms at scale 6: a bucket reaches from
above 2^(i/64) seconds to 2^((i+1)/64). Collectors and Prometheus's native histograms use the same.
A value read from a bucket is within 0.55 % of every latency in it.

This form is used instead of the library `ddsketch` because nothing has to be installed for it.
Counts are merged as one large number, a fixed number of bits for each bucket, which the interpreter
adds in one step.
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
_OFFSET = -_FIRST - 1e-9
"""The addend that turns a logarithm into a bucket's number; bounds belong to the bucket below."""
_MIDDLE: float = 2 / (1 + 2.0 ** (1 / _PER_DOUBLING))
"""The factor from a bucket's upper bound to the value that is relatively nearest to both bounds."""
_HEADER = struct.Struct("<fffHH")
"""Sum, least and greatest value; first bucket; number of buckets, and bytes of a count above it."""
_WIDTH_AT = 12
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LANE_BYTES = 4
_LANE_BITS = 8 * _LANE_BYTES
_LARGEST = 3e38
"""The largest number that can be written in four bytes, nearly."""
_MOST_IN_LANES = 2 ** (8 * _LANE_BYTES) - 1
"""The most latencies whose counts fit into the bits of one bucket, however they are distributed."""


class Sketch:
    """The distribution of latencies, in seconds. Not safe for several threads."""

    __slots__ = ("_counts", "_lanes", "_low", "count", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        """Sum of all latencies, to seven digits once it was stored."""
        self.minimum = math.inf
        self.maximum = -math.inf
        self._low = 0  # bucket of the first count
        self._counts: Sequence[int] = ()
        """The counts of the buckets; empty while they are in `_lanes` only."""
        self._lanes: tuple[int, int] | None = None
        """The number of buckets, and all counts as one integer, the first in its lowest bits."""

    def add(self, values: Sequence[float]) -> None:
        """Count latencies in seconds. A negative one, from a clock that was set, counts as zero."""
        if not values:
            return
        minimum = min(values)
        if minimum < 0:
            minimum, values = 0.0, [max(0.0, value) for value in values]
        maximum, total = max(values), sum(values)
        if _BOUNDS[0] < minimum and maximum <= _BOUNDS[-1] and total < math.inf:
            low, high = (
                int(math.log2(value) * _PER_DOUBLING + _OFFSET) for value in (minimum, maximum)
            )
            counts = [0] * (high - low + 2)  # the last one for a number that is rounded up
            offset = _OFFSET - low
            for logarithm in map(math.log2, values):
                counts[int(logarithm * _PER_DOUBLING + offset)] += 1
            if not counts[-1]:
                counts.pop()
        else:
            low, high = _bucket_of(minimum), _bucket_of(maximum)
            counts = [0] * (high - low + 1)
            for value in values:
                counts[_bucket_of(value) - low] += 1
        self._add_counts(low, counts)
        self._extend(len(values), total, minimum, maximum)

    def add_many(self, value: float, count: int) -> None:
        """Count `count` latencies of the same value: those of a bucket of another histogram."""
        if count > 0:
            self._add_counts(_bucket_of(value), [count])
            self._extend(count, value * count, value, value)

    def merge(self, other: Sketch) -> None:
        """Count everything that `other` has."""
        if not other.count:
            return
        if self.count + other.count > _MOST_IN_LANES:
            self._add_counts(other._low, other._known())
        elif not self.count:
            counts = other._counts
            self._low, self._lanes = other._low, other._lanes
            self._counts = counts[:] if type(counts) is list else counts
        else:
            size, lanes = self._in_lanes()
            more_size, more_lanes = other._in_lanes()
            above = other._low - self._low
            if above < 0:
                size, lanes, self._low = size - above, lanes << -above * _LANE_BITS, other._low
            elif above:
                more_size, more_lanes = more_size + above, more_lanes << above * _LANE_BITS
            self._counts, self._lanes = (), (max(size, more_size), lanes + more_lanes)
        self._extend(other.count, other.total, other.minimum, other.maximum)

    def quantile(self, share: float) -> float | None:
        """Return the latency at `share` (0 to 1), by nearest rank; None without latencies.

        It is within 0.55 % of the latency of that rank; the first and the last are exact.
        """
        return self.quantiles(share)[0]

    def quantiles(self, *shares: float) -> list[float | None]:
        """Return the latency at each of some shares, which costs hardly more than one."""
        if not self.count:
            return [None] * len(shares)
        sums = [*accumulate(self._known())]
        found: list[float | None] = []
        for share in shares:
            rank = max(1, math.ceil(share * self.count))
            if rank <= 1:
                found.append(self.minimum)
            elif rank >= self.count:
                found.append(self.maximum)
            else:
                middle = _BOUNDS[bisect_left(sums, rank) + self._low] * _MIDDLE
                found.append(min(max(middle, self.minimum), self.maximum))
        return found

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Yield the upper bound, in seconds, and the count of each bucket that is not empty."""
        for at, count in enumerate(self._known(), self._low):
            if count:
                yield _BOUNDS[at], count

    def pack(self) -> bytes:
        """Return the sketch as bytes: 16, and one for each bucket from the first to the last.

        Counts of more than a byte are split, the lowest bytes of all first, so that the further
        bytes are mostly zeros and compress well.
        """
        counts = self._known()
        shortest = _short(counts)
        if type(shortest) is bytes:
            width, body = 1, shortest
        else:
            most = max(counts)
            width, code = next(item for item in _WIDTHS.items() if most < 256 ** item[0])
            whole = _little(array(code, counts)).tobytes()
            body = b"".join(whole[place::width] for place in range(width))
        size = len(counts) | width << _WIDTH_AT
        extremes = (self.minimum, self.maximum) if self.count else (0.0, 0.0)
        numbers = (min(number, _LARGEST) for number in (self.total, *extremes))
        return _HEADER.pack(*numbers, self._low, size) + body

    @classmethod
    def unpack(cls, data: bytes) -> Sketch:
        """Return the sketch that `pack` wrote. Raises ValueError for other bytes."""
        made = cls()
        if len(data) < _HEADER.size:
            raise ValueError("no sketch of latencies")
        total, minimum, maximum, low, size = _HEADER.unpack_from(data)
        width, length = size >> _WIDTH_AT, size & (1 << _WIDTH_AT) - 1
        code = _WIDTHS.get(width)
        if (
            code is None
            or len(data) != _HEADER.size + length * width
            or low + length > len(_BOUNDS)
        ):
            raise ValueError("no sketch of latencies")
        body = data[_HEADER.size :]
        if width == 1:
            made._counts = body
        else:
            whole = bytearray(len(body))
            for place in range(width):
                whole[place::width] = body[place * length : (place + 1) * length]
            made._counts = _little(array(code, bytes(whole))).tolist()
        made._low = low
        made.count = sum(made._counts)
        if made.count:
            if not (minimum <= maximum < math.inf and math.isfinite(total)):
                raise ValueError("no sketch of latencies")
            # Older versions wrote negative numbers.
            numbers = (max(0.0, number) for number in (total, minimum, maximum))
            made.total, made.minimum, made.maximum = numbers
        return made

    def _known(self) -> Sequence[int]:
        """Return the counts of the buckets."""
        if self._lanes is not None and not self._counts:
            size, lanes = self._lanes
            self._counts = _little(array("I", lanes.to_bytes(size * _LANE_BYTES, "little")))
        return self._counts

    def _in_lanes(self) -> tuple[int, int]:
        """Return the number of buckets, and their counts as one number."""
        if self._lanes is not None:
            return self._lanes
        size = len(self._counts)
        if type(self._counts) is bytes:
            spread = bytearray(size * _LANE_BYTES)
            spread[::_LANE_BYTES] = self._counts
        else:
            spread = bytearray(_little(array("I", self._counts)).tobytes())
        return size, int.from_bytes(spread, "little")

    def _add_counts(self, start: int, counts: Sequence[int]) -> None:
        """Add the counts of the buckets from `start` on."""
        known = self._known()
        if not known:
            self._low, self._counts = start, _short(counts)
            return
        self._lanes = None
        if type(known) is not list:
            known = list(known)
        if start < self._low:
            known[:0] = [0] * (self._low - start)
            self._low = start
        part = slice(start - self._low, start - self._low + len(counts))
        known += [0] * (part.stop - len(known))
        known[part] = map(add, known[part], counts)
        self._counts = known

    def _extend(self, count: int, total: float, minimum: float, maximum: float) -> None:
        self.count += count
        self.total += total
        if minimum < self.minimum:
            self.minimum = minimum
        if maximum > self.maximum:
            self.maximum = maximum


def merged(sketches: Iterable[Sketch | None]) -> Sketch:
    """Return a new sketch of everything in `sketches`."""
    made = Sketch()
    for sketch in sketches:
        if sketch is not None:
            made.merge(sketch)
    return made


def _short(counts: Sequence[int]) -> Sequence[int]:
    """Return counts as bytes, which garbage collection need not look at; else as a list."""
    if type(counts) is bytes:
        return counts
    found = [*counts]
    try:
        return bytes(found)
    except ValueError:  # a count is more than a byte
        return found


def _little(counts: array[int]) -> array[int]:
    if sys.byteorder == "big":
        counts.byteswap()
    return counts
