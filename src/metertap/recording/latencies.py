"""Latencies of some of a tool's calls, beside those of all."""

from __future__ import annotations

from metertap.recording.figures import LatencyFigures
from metertap.recording.window import Window


class Latencies:
    """Latencies of some of a tool's calls: how many, their sum, and a window."""

    __slots__ = ("_count", "_items", "_total", "_window", "append")

    def __init__(self, window_size: int) -> None:
        self._items: list[float] = []
        self.append = self._items.append
        self._count = 0
        self._total = 0.0
        self._window = Window(window_size)

    @property
    def calls(self) -> int:
        """How many there are, those that wait included."""
        return self._count + len(self._items)

    def fold(self) -> None:
        """Take in what was appended, in seconds. With the recorder's lock held."""
        count = len(self._items)
        batch = self._items[:count]
        del self._items[:count]
        self._count += count
        self._total += sum(batch) * 1000.0
        self._window.add_seconds(batch)

    def resize(self, window_size: int) -> None:
        """Keep the newest. With the recorder's lock held."""
        self.fold()
        self._window = self._window.resized(window_size)

    def figures(self) -> LatencyFigures:
        """With the recorder's lock held."""
        self.fold()
        return LatencyFigures(self._count, self._total, self._window.percentiles())
