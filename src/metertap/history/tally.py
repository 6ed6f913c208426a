"""The measurements of one subject in one period, and their form as bytes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from metertap.history.sketch import Sketch

_MOST_BYTES = 64 * 2**20
"""The most bytes of one row, unpacked: thousands of series with whole sketches have less."""
_MOST_IN_LINES = 16 * 2**20
"""The most bytes of its lines, which take many times as much memory."""
_LEVEL = 4
"""The level of compression: a tenth more bytes than zlib's default, in a third of the time."""
_LARGEST = 2**62
_COUNTS = ("outcomes", "error_types", "hits", "misses", "extra")
"""The counts beside the latencies, the rarest last."""


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
        if tally.error_types or tally.hits or tally.misses or tally.extra:  # most have no more
            line += (tally.error_types, tally.hits, tally.misses, tally.extra)
            while not line[-1]:
                line.pop()
        elif not tally.outcomes:
            line.pop()
        lines.append(line)
        sketches.append(packed)
    head = json.dumps(lines, separators=(",", ":"), allow_nan=False).encode()
    return zlib.compress(b"\n".join((head, b"".join(sketches))), _LEVEL)


def decode(data: bytes, wanted: Container[int] | None = None) -> Iterator[tuple[int, Tally]]:
    """Yield what `encode` was given, of the series that are `wanted`.

    Raises ValueError or zlib.error for other bytes.
    """
    head, _, sketches = _whole(data).partition(b"\n")
    at = 0
    for series, length, *counts in _lines(head):
        start, at = at, at + length
        if wanted is None or series in wanted:
            tally = Tally(latency=Sketch.unpack(sketches[start:at]) if length else None)
            for name, value in zip(_COUNTS, counts, strict=False):
                setattr(tally, name, value)
            yield series, tally


def _whole(data: bytes) -> bytes:
    """Decompress a row up to a limit: in a foreign file a few bytes can stand for gigabytes."""
    _checked(data, bytes)
    unpacking = zlib.decompressobj()
    whole = unpacking.decompress(data, _MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("a row is longer than any of ours, or cut off")
    return whole


def _lines(head: bytes) -> Iterator[list[Any]]:
    if len(head) > _MOST_IN_LINES:
        raise ValueError("a row has longer lines than any of ours")
    known = set()
    try:
        for line in json.loads(head):
            series, length, *counts = line
            if series in known:  # one line again and again takes no place in a file, but much time
                raise ValueError("a row has a series twice")
            known.add(series)
            numbers = [_checked(series, int), _checked(length, int)]
            for name, count in zip(_COUNTS, counts, strict=False):
                is_many = name not in {"hits", "misses"}
                numbers += _checked(count, dict).values() if is_many else [count]
            if not all(map(_is_number, numbers)):
                raise ValueError("a line has no counts")
            yield line
    except (TypeError, RecursionError):
        raise ValueError("a row has no lines") from None


def _checked(found: Any, kind: type) -> Any:
    if type(found) is not kind:
        raise ValueError("a line has no counts")
    return found


def _is_number(found: object) -> bool:
    return type(found) in (int, float) and -_LARGEST <= cast(float, found) <= _LARGEST
