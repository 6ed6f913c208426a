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


def percentiles(samples: Sequence[float]) -> Percentiles:
    """Equal to `statistics.quantiles(samples, n=100)[49|94|98]`, to the last digit.

    That function computes all 99; its arithmetic (the "exclusive" method) is repeated here for
    the three.
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
        found[name] = (ordered[index - 1] * (100 - beyond) + ordered[index] * beyond) / 100
    return Percentiles(
        **found,
        extrapolated=tuple(name for name, _, fewest in _PERCENTILES if count < fewest),
    )


class Window:
    """The last `size` samples, as a ring of doubles: eight bytes each."""

    __slots__ = ("_next", "_ring", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._ring = array("d")
        self._next = 0  # where the oldest is, and the next one goes, once the ring is full

    def extend(self, samples: Sequence[float]) -> None:
        """Add samples in completion order; the oldest go."""
        new = array("d", samples[-self.size :])
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

    def samples(self) -> array[float]:
        """A copy, oldest first."""
        return self._ring[self._next :] + self._ring[: self._next]

    def resized(self, size: int) -> Window:
        """A window of another size that holds the newest of these samples."""
        window = Window(size)
        window.extend(self.samples())
        return window
