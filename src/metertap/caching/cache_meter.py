"""The meter of one cache, which counts its hits; and counting by hand, by a cache's name.

Every function works before and without `instrument()`. After the last `shutdown()`, and if
measuring is disabled, it does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from metertap import catalogue, faults
from metertap.measuring.calls import current, tool_of_lookup
from metertap.recording.recorder import is_count
from metertap.state import is_enabled, recorder

if TYPE_CHECKING:
    from metertap.recording import CacheSeries, ToolSeries

SOURCE = catalogue.MANUAL

_current = current.get
_NO_COUNT: Iterator[None] = iter(())


class _Unbound(dict[Any, Callable[[], None]]):
    """The hits or the misses of a cache before its first lookup, and while nothing is measured."""

    __slots__ = ("_bind", "_hit")

    def __init__(self, bind: Callable[[], CacheSeries | None], *, hit: bool) -> None:
        self._bind = bind
        self._hit = hit

    def __missing__(self, tool: ToolSeries | None) -> Callable[[], None]:
        with faults.guarded("cache_meter"):
            series = self._bind()
            if series is not None:
                return (series.hits if self._hit else series.misses)[tool]
        return _count_nothing


def _count_nothing() -> None:
    return None


class CacheMeter:
    """Counts the lookups of one cache. Get one by `metertap.cache_meter(name)`, and keep it.

    A lookup during a tool call counts for that tool, too.
    """

    __slots__ = (
        "__weakref__",
        "_hits",
        "_hits_outside",
        "_misses",
        "_misses_outside",
        "_name",
        "_system",
    )

    def __init__(self, name: str, system: str = SOURCE) -> None:
        self._name = name
        self._system = system
        self._hits: dict[Any, Callable[[], None]]
        self._misses: dict[Any, Callable[[], None]]
        # A lookup outside of tools takes one item of these. They are empty before the first lookup.
        self._hits_outside = self._misses_outside = _NO_COUNT
        self.forget()
        with faults.guarded("cache_meter"):
            recorder().keep(self)

    def forget(self) -> None:
        """Look the series up again, after a fork, a reset or a change of settings."""
        self._hits_outside = self._misses_outside = _NO_COUNT
        self._hits = _Unbound(self._bind, hit=True)
        self._misses = _Unbound(self._bind, hit=False)

    def hit(self) -> None:
        """Count one lookup that found its entry."""
        try:
            frame = _current()
            if frame is None:
                for _ in self._hits_outside:
                    return
                self._hits[None]()
            elif frame[0]:
                frame[3] = True
                self._hits[frame[0]]()
            else:
                self._hits[tool_of_lookup(hit=True)]()
        except Exception as fault:
            faults.fault("cache_meter", fault)

    def miss(self) -> None:
        """Count one lookup that found nothing."""
        try:
            frame = _current()
            if frame is None:
                for _ in self._misses_outside:
                    return
                self._misses[None]()
            elif frame[0]:
                frame[3] = frame[4] = True
                self._misses[frame[0]]()
            else:
                self._misses[tool_of_lookup(hit=False)]()
        except Exception as fault:
            faults.fault("cache_meter", fault)

    def evicted(self, entries: int = 1) -> None:
        """Count `entries` that the cache removed to make room or by its policy, not by age."""
        with faults.guarded("cache_meter"):
            if (series := self._find()) is not None:
                if is_count(entries):
                    recorder().cache_evicted(series, entries)
                else:
                    shown = faults.shown(entries)
                    faults.warn_once("cache.evicted", "%s is not a number of entries", shown)

    def rejected(self) -> None:
        """Count one entry that the cache refused because of its size."""
        with faults.guarded("cache_meter"):
            if (series := self._find()) is not None:
                recorder().cache_rejected(series)

    def _bind(self) -> CacheSeries | None:
        """Count on the series from now on, without look-ups; None while nothing is measured."""
        era = recorder().era
        series = self._find()
        if series is not None:
            self._hits, self._misses = series.hits, series.misses
            self._hits_outside = series.hits.outside_tools()
            self._misses_outside = series.misses.outside_tools()
            if era is not recorder().era:
                self.forget()
        return series

    def _find(self) -> CacheSeries | None:
        """Return the series to count on; None while nothing is measured."""
        if not is_enabled():
            return None
        recorder().wake()
        return recorder().cache_by_hand(self._name, self._system)


def cache_meter(name: str) -> CacheMeter:
    """Return a meter for a cache of the program: `hit`, `miss`, `evicted`, `rejected`."""
    with faults.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_by_hand(name, SOURCE)
    return CacheMeter(name)


def record_cache_hit(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found its entry."""
    _record_lookup(cache_name, hit=True)


def record_cache_miss(cache_name: str) -> None:
    """Count one lookup in `cache_name` that found nothing."""
    _record_lookup(cache_name, hit=False)


def record_cache_eviction(cache_name: str) -> None:
    """Count one entry that `cache_name` dropped."""
    with faults.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_evicted(recorder().cache_by_hand(cache_name, SOURCE), 1)


def record_cache_size_rejection(cache_name: str) -> None:
    """Count one entry that `cache_name` refused because of its size."""
    with faults.guarded("cache_meter"):
        if is_enabled():
            recorder().cache_rejected(recorder().cache_by_hand(cache_name, SOURCE))


def _record_lookup(cache_name: str, *, hit: bool) -> None:
    with faults.guarded("cache_meter"):
        if is_enabled():
            series = recorder().cache_by_hand(cache_name, SOURCE)
            recorder().cache_looked_up(series, hit, tool_of_lookup(hit=hit))
