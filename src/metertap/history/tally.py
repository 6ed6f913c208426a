"""The measurements of one subject in one period, and their form as bytes."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, zip_longest
from typing import Any, Protocol

from metertap.history.sketch import Sketch

_MOST_BYTES = 64 * 2**20
"""The most bytes of one row, unpacked: thousands of series with whole sketches have less."""
_MOST_IN_LINES = 16 * 2**20
"""The most bytes of its JSON lines, which take many times as much memory."""
_LEVEL = 4
"""The compression level: a tenth more bytes than zlib's default, in a third of the time."""
_LARGEST = 2**62
_COUNTS = ("outcomes", "error_types", "hits", "misses", "extra")
"""The counts beside the latencies, the rarest last."""
_NAMED = frozenset({"outcomes", "error_types", "extra"})
"""Counts that are by name."""
_MISSING = object()


class Measured(Protocol):
    """An object with the counts and latencies of a tally."""

    outcomes: dict[str, int]
    error_types: dict[str, int]
    latency: Sketch | None
    hits: int
    misses: int
    extra: dict[str, float]


@dataclass(slots=True)
class Tally:
    """Counts and latencies that grow until the period ends. Not safe for several threads."""

    outcomes: dict[str, int] = field(default_factory=dict)
    error_types: dict[str, int] = field(default_factory=dict)
    latency: Sketch | None = None
    hits: int = 0
    misses: int = 0
    extra: dict[str, float] = field(default_factory=dict)

    def merge(self, other: Measured) -> None:
        """Count everything that `other` has, a tally or a slice."""
        add_to(self.outcomes, other.outcomes)
        if other.error_types or other.extra:  # most have none
            add_to(self.error_types, other.error_types)
            add_to(self.extra, other.extra)
        self.hits += other.hits
        self.misses += other.misses
        if other.latency is not None:
            self.sketch().merge(other.latency)

    def parts(
        self,
    ) -> tuple[dict[str, int], dict[str, int], Sketch | None, int, int, dict[str, float]]:
        """Return everything, in the order in which a slice has it."""
        return (
            *(self.outcomes, self.error_types, self.latency),
            *(self.hits, self.misses, self.extra),
        )

    def sketch(self) -> Sketch:
        """Return the sketch of latencies, made at the first call."""
        if self.latency is None:
            self.latency = Sketch()
        return self.latency


def add_to(totals: dict[str, Any], more: Mapping[str, float]) -> None:
    """Add `more` to `totals`, key by key."""
    for key, value in more.items():
        totals[key] = totals.get(key, 0) + value


def encode(tallies: Mapping[int, Tally]) -> bytes:
    """Return tallies by the number of their series as compressed bytes.

    A line of JSON has the counts of each and the length of its sketch; the sketches follow.
    """
    lines, sketches = [], []
    for series, tally in tallies.items():
        packed = b"" if tally.latency is None else tally.latency.pack()
        line: list[Any] = [series, len(packed), tally.outcomes]
        if tally.error_types or tally.hits or tally.misses or tally.extra:  # most have none
            line += (tally.error_types, tally.hits, tally.misses, tally.extra)
            while not line[-1]:
                line.pop()
        elif not tally.outcomes:
            line.pop()
        lines.append(line)
        sketches.append(packed)
    head = json.dumps(lines, separators=(",", ":"), allow_nan=False).encode()
    return zlib.compress(b"\n".join((head, b"".join(sketches))), _LEVEL)


def decode(data: bytes) -> Iterator[tuple[int, Tally]]:
    """Yield the tallies that `encode` wrote. Raises ValueError or zlib.error for other bytes."""
    return tallies(decompress(data))


def tallies(whole: bytes, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tally]]:
    """Yield the tallies in decompressed bytes, of the series that are `wanted`.

    Raises ValueError for bytes that `encode` did not write.
    """
    head, _, sketches = whole.partition(b"\n")
    numbers, lengths, *counts = _columns(head)
    ends = accumulate(lengths)
    for series, length, end, *one in zip(numbers, lengths, ends, *counts, strict=True):
        if wanted is None or series in wanted:
            ended, errors, hits, misses, extra = one
            latency = Sketch.unpack(sketches[end - length : end]) if length else None
            yield series, Tally(ended, errors, latency, hits, misses, extra)


def decompress(data: bytes) -> bytes:
    """Decompress a row up to a limit: in a foreign file a few bytes can stand for gigabytes.

    Raises ValueError or zlib.error for bytes that `encode` did not write.
    """
    if type(data) is not bytes:
        raise ValueError("a row has no bytes")
    unpacking = zlib.decompressobj()
    whole = unpacking.decompress(data, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("a row is longer than any of ours, or cut off")
    return whole


def _columns(head: bytes) -> list[Sequence[Any]]:
    """Return, for each place in the lines, the values of all lines; 0 or {} past a line's end.

    Columns are checked as a whole, in a fraction of the time that a check of each line takes.
    """
    if len(head) > _MOST_IN_LINES:
        raise ValueError("a row has longer lines than any of ours")
    try:
        lines = json.loads(head)
    except RecursionError:
        raise ValueError("a row has no lines") from None
    _check_types([lines, *lines] if type(lines) is list else [lines], list)
    places = 2 + len(_COUNTS)
    # Longer lines could make millions of columns of a few bytes.
    made = [*zip_longest(*(line[:places] for line in lines), fillvalue=_MISSING)]
    made += [(_MISSING,) * len(lines)] * (places - len(made))
    series, lengths = made[:2]
    _check_numbers(series, int)
    _check_numbers(lengths, int)
    if min(lengths, default=0) < 0:
        raise ValueError("a sketch has less than no bytes")
    if len(set(series)) < len(series):
        # One line, repeated, takes no space in a compressed file, but much time.
        raise ValueError("a row has a series twice")
    columns: list[Sequence[Any]] = [series, lengths]
    for name, column in zip(_COUNTS, made[2:], strict=True):
        there = [value for value in column if value is not _MISSING]
        if name in _NAMED:
            _check_types(there, dict)
            _check_numbers([*chain.from_iterable(map(dict.values, there))])
        else:
            _check_numbers(there)
        if len(there) < len(column):
            none = dict if name in _NAMED else int
            columns.append([none() if value is _MISSING else value for value in column])
        else:
            columns.append(column)
    return columns


def _check_types(values: Collection[Any], *kinds: type) -> None:
    if not set(map(type, values)).issubset(kinds):
        raise ValueError("a line has no counts")


def _check_numbers(values: Collection[Any], *kinds: type) -> None:
    _check_types(values, *(kinds or (int, float)))
    # A NaN may be neither the smallest nor the largest, but makes the sum one.
    if values and not (
        min(values) >= -_LARGEST and max(values) <= _LARGEST and sum(values) < math.inf
    ):
        raise ValueError("a line has no counts")
