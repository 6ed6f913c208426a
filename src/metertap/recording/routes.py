"""Calls that count on several series at once, such as a request and the tool that it asks for.

To take a tick and to append on each series is half of what such a call costs. So calls of one kind
wait in one list, each as a tuple with a value for each series, and are sorted out to the series
before one of these is folded.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter, setitem
from typing import Any, Protocol

from metertap import faults
from metertap.recording.latency_series import LatencySeries

_END = slice(sys.maxsize, None)
"""The place behind the last item of a list."""
_Column = tuple[Sequence[float], Sequence[Any]]
"""Values for a series, and when their calls ended."""


class Part(Protocol):
    """A series, or a data point of one, that gets one of the values of a call."""

    @property
    def series(self) -> LatencySeries[Any]:
        """The series."""

    @property
    def is_plain(self) -> bool:
        """Whether nobody has to see the next value at once, or asks for more than values."""

    def record(self, value: Any, ended: float) -> None:
        """Record a value of a call that ended then, by `time.perf_counter`."""

    def items(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return what values are in the buffer of the series."""


class Route:
    """The series on which each call of one kind counts, and the list in which these calls wait.

    `keep` takes a tuple: when the call ended, by `time.perf_counter`, and a value for each of
    `parts`. It is the list's own `append` unless a part is not plain. The call's tick was taken on
    one of the series before.
    """

    __slots__ = ("_items", "keep", "parts", "series")

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts
        self.series = [part.series for part in parts]
        self._items: list[tuple[Any, ...]] = []
        self.keep: Callable[[tuple[Any, ...]], None] = self._apart

    @property
    def waiting(self) -> int:
        """Calls that were not sorted out yet."""
        return len(self._items)

    def choose(self) -> None:
        """Make `keep` the cheapest that will do. With the recorder's lock held."""
        is_plain = all(part.is_plain and part.series.is_plain for part in self.parts)
        self.keep = self._items.append if is_plain else self._apart

    def _apart(self, call: tuple[Any, ...]) -> None:
        """Record a call on each series by itself: stands in place of the list's own `append`."""
        with faults.guarded("record"):
            ended, *values = call
            self.series[0].settle()
            for part, value in zip(self.parts, values, strict=True):
                part.record(value, ended)
            self.series[0].choose_routes()

    def sort_out(self) -> Collection[LatencySeries[Any]]:
        """Move the calls that wait to their series, in the order in which they ended.

        So are those that wait in other routes to these series, and so on. Returns the series that
        got any. With the recorder's lock held.
        """
        taken = [(route, route._items[:]) for route in _connected(self) if route._items]
        columns: dict[LatencySeries[Any], list[_Column]] = {}
        for route, calls in taken:
            ended, *values = zip(*calls, strict=True)
            for part, series, of_part in zip(route.parts, route.series, values, strict=True):
                columns.setdefault(series, []).append((ended, part.items(of_part)))
        lists: list[list[Any]] = []
        places: list[slice] = []
        items: list[Sequence[Any]] = []
        for series, found in columns.items():
            times, moved = found[0] if len(found) == 1 else _in_order(found)
            series.ended = times[-1]
            lists.append(series._items)
            places.append(_END)
            items.append(moved)
        for route, calls in taken:
            lists.append(route._items)
            places.append(slice(0, len(calls)))
            items.append(())
        # One call of a function that is written in C, so that neither another thread nor a signal
        # handler comes in between: each call is in one of the lists, and in no two.
        deque(map(setitem, lists, places, items), 0)
        return columns


def _connected(first: Route) -> Iterable[Route]:
    """Return a route and all that lead to the same series, and so on."""
    found = {first: None}
    left = [first]
    while left:
        for series in left.pop().series:
            for route in series.routes:
                if route not in found:
                    found[route] = None
                    left.append(route)
    return found


def _in_order(columns: Iterable[_Column]) -> _Column:
    calls = [call for ended, items in columns for call in zip(ended, items, strict=True)]
    calls.sort(key=itemgetter(0))
    ended, items = zip(*calls, strict=True)
    return ended, items
