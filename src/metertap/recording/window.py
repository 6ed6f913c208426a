"""Exact percentiles over a sliding window."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

# (name, percent, fewest samples that hold the percentile between two of them; with fewer, the
# method extends a line beyond the largest sample).
_PERCENTILES = (("p50", 50, 2), ("p95", 95, 19), ("p99", 99, 99))


@dataclass(frozen=True, slots=True)
class Percentiles:
    """p50, p95 and p99 of one window, in the samples' unit; None with fewer than two samples.

    `extrapolated` names those that lie beyond the largest sample because the window is small.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    extrapolated: tuple[str, ...] = ()


def percentiles(samples: Sequence[float], factor: float = 1.0) -> Percentiles:
    """Equal to `statistics.quantiles(samples, n=100)[49|94|98]`, to the last digit.

    That function computes all 99; its arithmetic (the "exclusive" method) is repeated here for
    the three. With a `factor`, it is as if each sample had been multiplied first.
    """
    count = len(samples)
    if count < 2:
        return Percentiles()
    ordered = sorted(samples)
    found = {}
    for name, percent, _ in _PERCENTILES:
        rank = percent * (count + 1)
        index = min(max(rank // 100, 1), count - 1)
        beyond = rank - index * 100
        below, above = ordered[index - 1] * factor, ordered[index] * factor
        found[name] = (below * (100 - beyond) + above * beyond) / 100
    return Percentiles(
        **found,
        extrapolated=tuple(name for name, _, fewest in _PERCENTILES if count < fewest),
    )


class Window:
    """The last `size` latencies, as a ring of doubles: eight bytes each.

    They are kept as they came. What was measured comes in seconds, what is recorded by hand in
    milliseconds; where both come, all are milliseconds. A batch that fills the window is not put
    into the ring before somebody looks: the next batch may come first.
    """

    __slots__ = ("_factor", "_next", "_ring", "_unread", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._ring = array("d")
        self._unread: Sequence[float] = ()  # if any, the whole window
        self._factor = 1000.0  # makes milliseconds of what is in the ring
        self._next = 0  # where the oldest is, and the next one goes, once the ring is full

    def __len__(self) -> int:
        return len(self._unread) or len(self._ring)

    def add_seconds(self, samples: Sequence[float]) -> None:
        """Add samples in completion order; the oldest go."""
        if self._factor == 1.0:
            samples = [seconds * 1000.0 for seconds in samples]
        self._extend(samples)

    def add_milliseconds(self, samples: Sequence[float]) -> None:
        """The same; from now on these are milliseconds."""
        if self._factor != 1.0:
            self._read()
            self._ring = array("d", (seconds * 1000.0 for seconds in self._ring))
            self._factor = 1.0
        self._extend(samples)

    def percentiles(self) -> Percentiles:
        """In milliseconds."""
        self._read()
        return percentiles(self._ring, self._factor)

    def milliseconds(self) -> list[float]:
        """The samples, oldest first."""
        return [sample * self._factor for sample in self._in_order()]

    def copy(self) -> Window:
        """A window of its own with the same samples."""
        self._read()
        window = Window(self.size)
        window._ring, window._factor, window._next = self._ring[:], self._factor, self._next
        return window

    def resized(self, size: int) -> Window:
        """A window of another size that holds the newest of these samples."""
        window = Window(size)
        window._factor = self._factor
        window._extend(self._in_order())
        return window

    def _in_order(self) -> array[float]:
        self._read()
        return self._ring[self._next :] + self._ring[: self._next]

    def _read(self) -> None:
        if self._unread:
            self._ring, self._next = array("d", self._unread), 0
            self._unread = ()

    def _extend(self, samples: Sequence[float]) -> None:
        if len(samples) >= self.size:
            self._unread = samples[-self.size :]
            return
        self._read()
        new = array("d", samples)
        free = self.size - len(self._ring)
        if free:
            self._ring.extend(new[:free])
            new = new[free:]
        end = self._next + len(new)
        over = end - self.size
        if over < 0:
            self._ring[self._next : end] = new
            self._next = end
        else:
            self._ring[self._next :] = new[: len(new) - over]
            self._ring[:over] = new[len(new) - over :]
            self._next = over
