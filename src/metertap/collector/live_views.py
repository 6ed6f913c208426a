"""What is measured, in the classes of `metertap.collector.standalone`: read when somebody looks.

Records of a view are records by hand of the tool or cache of that name; no record is made of a
call that something else counts at that moment.
"""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.caching import by_hand as caches_by_hand
from metertap.collector.standalone import CacheMetrics, SystemMetrics, ToolMetrics
from metertap.measuring import by_hand
from metertap.state import recorder


class _Shown:
    """A field of a view: read when it is asked for."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, view: _View | None, _owner: type | None = None) -> Any:
        return self if view is None else getattr(view._now(), self._name)

    def __set__(self, _view: _View, _value: object) -> None:
        faults.warn_once("collector", "%s is what was measured, and cannot be set", self._name)


class _View:
    """Shows what is measured at the moment of each look. A copy or pickle stays as it was then."""

    def _now(self) -> Any:
        """The figures, in an object of the class that the view is one of."""
        raise NotImplementedError

    def get_stats(self) -> dict[str, Any]:
        """The statistics now, all of one moment."""
        stats: dict[str, Any] = self._now().get_stats()
        return stats

    def __reduce__(self) -> Any:
        return _the_same, (self._now(),)


def _the_same(figures: object) -> object:
    return figures


class LiveToolMetrics(_View, ToolMetrics):
    """One tool as it is measured. Its records are records by hand of a tool of that name."""

    tool_name: Any = _Shown()
    total_calls: Any = _Shown()
    successful_calls: Any = _Shown()
    failed_calls: Any = _Shown()
    total_latency_ms: Any = _Shown()
    latency_samples: Any = _Shown()
    error_types: Any = _Shown()

    def __init__(self, name: str, source: str) -> None:
        self._key = (name, source)

    def record_call(
        self, success: bool, latency_ms: float | None = None, error_type: str | None = None
    ) -> None:
        """Count one call, unless something else counts it."""
        by_hand.record_tool_call(self._key[0], success, latency_ms, error_type)

    def _now(self) -> ToolMetrics:
        now = ToolMetrics(self._key[0])
        if (found := recorder().figures_of_tool(*self._key)) is not None:
            figures, samples = found
            now.total_calls = sum(figures.counts.values())
            now.successful_calls, now.failed_calls = figures.succeeded, figures.failed
            now.total_latency_ms = figures.total_ms
            now.latency_samples.extend(samples)
            now.error_types = dict(figures.error_types)
            now.untimed_calls = now.total_calls - figures.sampled
            if figures.minimum_ms is not None and figures.maximum_ms is not None:
                now.latency_extremes = figures.minimum_ms, figures.maximum_ms
        return now


class LiveCacheMetrics(_View, CacheMetrics):
    """One cache as it is measured; None is what its library does not show.

    Its records are records by hand of a cache of that name.
    """

    cache_name: Any = _Shown()
    hits: Any = _Shown()
    misses: Any = _Shown()
    evictions: Any = _Shown()
    size_rejections: Any = _Shown()

    def __init__(self, name: str, system: str) -> None:
        self._key = (name, system)

    def record_hit(self) -> None:
        """Count one lookup that found its entry."""
        caches_by_hand.record_cache_hit(self._key[0])

    def record_miss(self) -> None:
        """Count one lookup that found nothing."""
        caches_by_hand.record_cache_miss(self._key[0])

    def record_eviction(self) -> None:
        """Count one entry that was dropped."""
        caches_by_hand.record_cache_eviction(self._key[0])

    def record_size_rejection(self) -> None:
        """Count one entry that was refused because of its size."""
        caches_by_hand.record_cache_size_rejection(self._key[0])

    def _now(self) -> CacheMetrics:
        now: Any = CacheMetrics(self._key[0])
        if (found := recorder().figures_of_cache(*self._key)) is not None:
            now.hits, now.misses = found.hits, found.misses
            now.evictions, now.size_rejections = found.evictions, found.rejections
        shown: CacheMetrics = now
        return shown


class LiveSystemMetrics(_View, SystemMetrics):
    """The process as it is measured."""

    active_sessions: Any = _Shown()
    concurrent_requests: Any = _Shown()
    total_requests: Any = _Shown()
    start_time: Any = _Shown()

    def __init__(self) -> None:
        """Nothing is held."""

    def _now(self) -> SystemMetrics:
        found = recorder().figures(caches=False)
        return SystemMetrics(
            found.active_sessions,
            found.concurrent_requests,
            found.total_requests,
            found.start_time,
        )
