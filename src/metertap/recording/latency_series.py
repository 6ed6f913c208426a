"""The common part of the series of tools and of operations: figures of durations."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from metertap import catalogue, faults, locks
from metertap.labels import as_label
from metertap.recording.buffer import CHUNK, Buffer, Delivery
from metertap.recording.window import LatencyTotals, Run, Window
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from metertap.recording.percentiles import Percentiles

F = TypeVar("F")

_ERROR_TYPES_LIMIT = 100
"""The most error types of a series: classes made at run time could be any number."""
_NONE: dict[str, int] = {}


def sums(counts: dict[str, int], more: Counter[str]) -> dict[str, int]:
    """Return `counts` with the counts of `more` added."""
    return {**counts, **{name: counts.get(name, 0) + value for name, value in more.items()}}


class LatencySeries(Buffer, Generic[F]):
    """A buffer whose durations are counted, added up and kept in a window, for figures `F`.

    Latencies are in milliseconds.
    """

    __slots__ = ("_bare", "_last_call", "_shown", "bare_runs", "error_types", "latencies", "routes")

    def __init__(self, recorder: Delivery) -> None:
        self.routes: tuple[Any, ...] = ()
        """Each `routes.Route` in which calls wait that count on other series too; never changed."""
        super().__init__(recorder)
        self.latencies = LatencyTotals(recorder.window_size)
        self.error_types: dict[str, int] = _NONE  # replaced by a new one, never changed
        self._last_call: tuple[float, float] | None = None  # by the wall clock and `perf_counter`
        self._shown: tuple[tuple[object, ...], F | None] = (), None
        self._bare: tuple[tuple[object, ...], F | None] = (), None  # without percentiles
        self.bare_runs: tuple[F | None, tuple[Run, ...]] = None, ()
        """The last figures without percentiles, and the samples of their percentiles."""

    @property
    def window(self) -> Window:
        """The latencies of the last calls."""
        return self.latencies.window

    @property
    def last_call(self) -> float | None:
        """When the last call ended, in Unix seconds."""
        ended = self.ended
        if ended is not None and (self._last_call is None or self._last_call[0] != ended):
            self._last_call = (ended, time.time() - (unmocked.perf_counter() - ended))
        return None if self._last_call is None else self._last_call[1]

    @property
    def series(self) -> LatencySeries[F]:
        """The series itself; of a data point, the series that it is part of."""
        return self

    def is_awaited(self, _value: object = 0) -> bool:
        """Return whether a reader has to see such a value at once."""
        return self._is_new or self._recorder.in_order

    @property
    def waiting(self) -> int:
        routes = self.routes  # before the items, to which waiting calls move
        waiting = sum([route.waiting for route in routes]) if routes else 0
        return waiting + super().waiting

    def fold(self) -> None:
        if self.routes:
            for series in self._sort_out():
                # Calls that come by routes take no tick here, so no tick tells that the list is
                # full.
                if series is not self and len(series._items) >= CHUNK:
                    series.fold()
        super().fold()

    def settle(self) -> None:
        """Sort out calls that wait in routes, so that later records come after them."""
        if self.routes:
            locks.tried(self._recorder.lock, self._sort_out, locks.PATIENCE)

    def _sort_out(self) -> Collection[LatencySeries[Any]]:
        """Move the calls that wait in routes to their series; return these. Never raises."""
        recorder = self._recorder
        # A finaliser may run during this, and come here in the same thread.
        if not recorder.folding and any(route.waiting for route in self.routes):
            recorder.folding = True
            try:
                with faults.guarded("fold"):
                    found: Collection[LatencySeries[Any]] = self.routes[0].sort_out()
                    return found
            finally:
                recorder.folding = False
        return ()

    def choose_append(self) -> None:
        super().choose_append()
        self.choose_routes()

    def choose_routes(self) -> None:
        """Let each route choose anew how it keeps calls."""

        def choose() -> None:
            for route in self.routes:
                route.choose()

        if self.routes:
            locks.briefly(self._recorder.lock, choose)

    def items(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the buffer's items for durations of successful calls: the durations themselves."""
        return values

    def figures(self, *, is_bare: bool = False) -> F:
        """Return a copy for views: the last one, if nothing has changed since.

        With `is_bare`, percentiles are left out, which take most of the time. With the recorder's
        lock held.
        """
        self.fold()
        before, figures = self._bare if is_bare else self._shown
        state = self._state()
        if figures is None or state != before:
            if is_bare:
                from metertap.recording.percentiles import NO_PERCENTILES  # on first use

                figures = self._figures_now(NO_PERCENTILES)
                self._bare = state, figures
                self.bare_runs = figures, self.runs()
            else:
                figures = self._figures_now(self.window.percentiles())
                self._shown = state, figures
        return figures

    def runs(self) -> tuple[Run, ...]:
        """Copy the samples of the figures' percentiles. With the recorder's lock held."""
        return (self.latencies.run(),)

    def same_figures(self, *, is_bare: bool = False) -> F | None:
        """Return the last copy if nothing has changed; cheaper than `figures`, without a lock."""
        state, figures = self._bare if is_bare else self._shown
        # `waiting` first: a call that waits in a route moves to the items.
        return None if self.waiting or state != self._state() else figures

    def start_over(self) -> None:
        """Forget all counts; calls in progress stay so. With the recorder's lock held."""
        self.latencies = LatencyTotals(self._recorder.window_size)
        self.error_types = _NONE
        self.ended = self._last_call = None

    def resize(self) -> None:
        """Keep the newest samples that fit the window's new size. With the recorder's lock held."""
        self.latencies.resize(self._recorder.window_size)

    @abstractmethod
    def _figures_now(self, percentiles: Percentiles) -> F:
        """Build the figures. With the recorder's lock held, after a fold."""

    def _state(self) -> tuple[object, ...]:
        """Return a value that differs after anything that may change figures."""
        return (self.position, self.latencies.count, self.ended, self.latencies.window)

    def _bounded(self, error_type: str, *others: str | None) -> str:
        """Return `error_type`, or `_OTHER` if too many types are known, including `others`."""
        if error_type in self.error_types:
            return error_type
        error_type = as_label(error_type)
        known = {*self.error_types, *others}
        return (
            error_type
            if error_type in known or len(known) < _ERROR_TYPES_LIMIT
            else catalogue.OTHER
        )
