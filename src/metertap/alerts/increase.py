"""Counters over time: how much they grew in the last minutes, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
Counts = tuple[int, ...]

STEPS = 20
"""Moments that are kept of a window, whose length is therefore exact to a twentieth."""


class MonotonicCounts(Generic[K]):
    """Counters that never go back, made of counters that may begin again at zero."""

    def __init__(self) -> None:
        self._last: dict[K, Counts] = {}
        self._before: dict[K, Counts] = {}

    def of(self, counts: Mapping[K, Counts]) -> dict[K, Counts]:
        """Return all that was counted so far, before each new beginning too."""
        grown = {}
        for key, now in counts.items():
            last = self._last.get(key)
            if last is not None and last != now and any(map(int.__lt__, now, last)):
                self._before[key] = _sum(self._before.get(key), last)
            before = self._before.get(key)
            grown[key] = now if before is None else _sum(before, now)
        self._last.update(counts)
        return grown


class SlidingIncrease(Generic[K]):
    """The growth of counters in the last `seconds`, or since the beginning if that is less.

    Its start moves in steps of a twentieth, or of `every` seconds (the time between two moves)
    where that is longer.
    """

    def __init__(
        self, seconds: float, every: float, time: float, counts: Mapping[K, Counts]
    ) -> None:
        self.seconds = seconds
        self._step = max(every, seconds / STEPS)
        self._slack = every / 2  # A move never comes at the very moment.
        self._kept: deque[tuple[float, Mapping[K, Counts]]] = deque([(time, counts)])
        self._now = time, counts

    def move(self, time: float, counts: Mapping[K, Counts]) -> None:
        """Let the window end at `time`, when `counts` were counted."""
        kept = self._kept
        while len(kept) > 1 and kept[1][0] <= time - self.seconds + self._slack:
            kept.popleft()
        if time - kept[-1][0] >= self._step - self._slack:
            kept.append((time, counts))
        self._now = time, counts

    @property
    def span(self) -> float:
        """The number of seconds that it covers now."""
        return min(self.seconds, self._now[0] - self._kept[0][0])

    def increase(self, key: K) -> Counts | None:
        """Return how much `key` grew; None where it did not."""
        now, before = self._now[1].get(key), self._kept[0][1].get(key)
        if now is None or now == before:
            return None
        return now if before is None else tuple(map(int.__sub__, now, before))

    def __len__(self) -> int:
        return len(self._kept)


def _sum(one: Counts | None, other: Counts) -> Counts:
    return other if one is None else tuple(map(int.__add__, one, other))
