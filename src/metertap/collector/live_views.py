"""Live figures in the classes of `metertap.collector.standalone`, read at each access.

A record on a view is a record by hand of that tool or cache. A call that a patch counts at that
moment is not recorded again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

from metertap import faults
from metertap.caching import cache_meter
from metertap.collector.standalone import CacheMetrics, SystemMetrics, ToolMetrics
from metertap.measuring import by_hand
from metertap.state import recorder


class _LiveField:
    """Descriptor of a view's field, whose value is read at each access."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, view: _View | None, _owner: type | None = None) -> Any:
        return self if view is None else getattr(view._now(), self._name)

    def __set__(self, _view: _View, _value: object) -> None:
        faults.warn_once(
            f"set {self._name}", "%s is what was measured, and cannot be set", self._name
        )


class _View:
    """Mixin whose fields, those of a dataclass, show the current figures.

    A copy or pickle is an object of the dataclass, with the figures of that moment.
    """

    _key: tuple[str, ...] = ()
    """The recorder's key of the tool or cache."""

    def __init__(self, *key: str) -> None:
        self._key = key

    def __init_subclass__(cls) -> None:
        for field in dataclasses.fields(cast(Any, cls)):
            setattr(cls, field.name, _LiveField(field.name))

    def _now(self) -> Any:
        """Return the current figures as an object of the dataclass."""
        raise NotImplementedError

    def get_stats(self) -> dict[str, Any]:
        """Return the statistics, all of the same moment."""
        stats: dict[str, Any] = self._now().get_stats()
        return stats

    def __reduce__(self) -> Any:
        return _identity, (self._now(),)


def _identity(figures: object) -> object:
    return figures


def _by_hand(method: Callable[..., None], record: Callable[..., None]) -> Callable[..., None]:
    """Return a view's version of `method`, which records by hand for that tool or cache."""

    @functools.wraps(method)
    def of_view(view: _View, *arguments: Any, **keywords: Any) -> None:
        record(view._key[0], *arguments, **keywords)

    return of_view


class LiveToolMetrics(_View, ToolMetrics):
    """The current figures of one measured tool, in the shape of the collector's `ToolMetrics`."""

    record_call = _by_hand(ToolMetrics.record_call, by_hand.record_tool_call)

    def _now(self) -> ToolMetrics:
        name, source = self._key
        now = ToolMetrics(name)
        if (found := recorder().figures_of_tool(name, source)) is not None:
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
    """The current figures of one cache; None if its library does not show one."""

    record_hit = _by_hand(CacheMetrics.record_hit, cache_meter.record_cache_hit)
    record_miss = _by_hand(CacheMetrics.record_miss, cache_meter.record_cache_miss)
    record_eviction = _by_hand(CacheMetrics.record_eviction, cache_meter.record_cache_eviction)
    record_size_rejection = _by_hand(
        CacheMetrics.record_size_rejection, cache_meter.record_cache_size_rejection
    )

    def _now(self) -> CacheMetrics:
        name, system = self._key
        now: Any = CacheMetrics(name)
        if (found := recorder().figures_of_cache(name, system)) is not None:
            now.hits, now.misses = found.hits, found.misses
            now.evictions, now.size_rejections = found.evictions, found.rejections
        shown: CacheMetrics = now
        return shown


class LiveSystemMetrics(_View, SystemMetrics):
    """The current figures of the process."""

    def _now(self) -> SystemMetrics:
        found = recorder().figures(caches=False)
        return SystemMetrics(
            found.active_sessions, found.concurrent_requests, found.total_requests, found.start_time
        )
