"""Calls that count on several series at once, such as a request and the tool that it calls.

A tick and an append on each series would be half of such a call's cost. So calls of one kind wait
in one list, each as a tuple with a value for each series. They are sorted out to the series before
one of these is folded.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter, setitem
from typing import Any, Protocol

from metertap import faults
from metertap.recording.buffer import PUT_ALREADY, Delivery
from metertap.recording.latency_series import LatencySeries

_END = slice(sys.maxsize, None)
"""The slice behind the last item of a list."""
_Column = tuple[Sequence[float], Sequence[Any]]
"""Values for a series, and the times at which their calls ended."""


class Part(Protocol):
    """A series, or one of its data points, that gets one value of each call."""

    @property
    def series(self) -> LatencySeries[Any]:
        """The series."""

    def is_awaited(self, value: Any = 0, /) -> bool:
        """Return whether a reader has to see such a value at once."""

    def traced(self, value: Any, sampled: tuple[int, Any], /) -> object:
        """Return the item for `value`, with the time and the context that `sampled` has."""

    def items(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the items of the series' buffer for `values`."""


class Route:
    """The series that each call of one kind counts on, and the list in which such calls wait.

    `keep` takes a tuple: when the call ended, by `time.perf_counter`, and a value for each of
    `parts`. It is `list.append` itself, unless a reader has to see a part at once or the program
    traces. The caller has taken the call's tick on one of the series.
    """

    __slots__ = ("_items", "_recorder", "keep", "parts", "series")

    def __init__(self, recorder: Delivery, parts: tuple[Part, ...]) -> None:
        self._recorder = recorder
        self.parts = parts
        self.series = [part.series for part in parts]
        self._items: list[tuple[Any, ...]] = []
        self.keep: Callable[[tuple[Any, ...]], None] = self._keep_late

    @property
    def waiting(self) -> int:
        """The number of calls that were not sorted out yet."""
        return len(self._items)

    def choose(self) -> None:
        """Set `keep` to the cheapest function that will do now. With the recorder's lock held."""
        is_awaited = any(part.is_awaited() for part in self.parts)
        is_late = is_awaited or self._recorder.sampled_context is not None
        self.keep = self._keep_late if is_late else self._items.append

    def _keep_late(self, call: tuple[Any, ...]) -> None:
        """Keep a call where `list.append` is not enough. No guard is around this.

        An interrupt passes; `buffer.was_put` tells whether the call had been kept by then.
        """
        with faults.guarded("record"):
            sampled = self._recorder.trace()
            if sampled is not None:
                values = zip(self.parts, call[1:], strict=True)
                call = (call[0], *[part.traced(value, sampled) for part, value in values])
        items = self._items
        items += [call]
        self._fold_awaited(call)

    def _fold_awaited(self, call: tuple[Any, ...]) -> None:
        with faults.guarded("record"):
            values = zip(self.parts, call[1:], strict=True)
            if any(part.is_awaited(value) for part, value in values):
                for series in self.series:
                    series.fold_now()
            elif self._recorder.sampled_context is not None:
                return
            self.series[0].choose_routes()  # no reader has to see the next call at once

    def sort_out(self) -> Collection[LatencySeries[Any]]:
        """Move the waiting calls to their series, in the order in which they ended.

        The same is done for routes that share a series with this one, and so on. Returns the series
        that got any. With the recorder's lock held.
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
        # A single call of a C function, so that no other thread or signal handler comes in between:
        # each call is in exactly one of the lists.
        deque(map(setitem, lists, places, items), 0)
        return columns


PUT_ALREADY.add(Route._fold_awaited.__code__)


def _connected(first: Route) -> Iterable[Route]:
    """Yield `first` and all routes that are connected to it by common series."""
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
