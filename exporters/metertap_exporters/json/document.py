"""The JSON document: the recorder's figures, and foreign metrics, in the published shape.

`schema.json` beside this file is its JSON Schema. No data is null, never 0; an estimate says so.
"""

from __future__ import annotations

import gc
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metertap import catalogue, outcomes
from metertap.recording import CacheFigures, Figures, LatencyFigures, ToolFigures

SCHEMA_VERSION = "1.0"


def document(
    figures: Figures,
    *,
    enabled: bool = True,
    service: Mapping[str, str] | None = None,
    foreign: Iterable[ForeignTool] = (),
    alerts: list[dict[str, Any]] | None = None,
    entry: Callable[[str, ToolFigures], Any] | None = None,
) -> dict[str, Any]:
    """Everything, as `GET :9109/metrics` serves it.

    `entry` makes something else of a tool, by the name that it is shown under.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "enabled": enabled,
        "timestamp": time.time(),
        "service": dict(service or {}),
        "tool_metrics": _tools(figures.tools, foreign, entry or _entry),
        "cache_metrics": {
            name: _cache(cache) for name, cache in caches_by_name(figures.caches).items()
        },
        "system_metrics": _system(figures),
        "alerts": alerts,
    }


def tools_by_name(tools: Iterable[ToolFigures]) -> dict[str, ToolFigures]:
    """The tools that are shown, by the names that they are shown under."""
    shown: dict[str, ToolFigures] = {}
    tools = list(tools)
    called = {tool.name for tool in tools if any(tool.counts.values())}
    for tool in tools:
        # Decorated, and run by a framework that is patched: its calls are counted there.
        if (
            tool.name in called
            and tool.source == catalogue.MANUAL
            and not any(tool.counts.values())
        ):
            continue
        shown[_free_name(tool.name, tool.source, shown)] = tool
    return shown


def caches_by_name(caches: Iterable[CacheFigures]) -> dict[str, CacheFigures]:
    """The caches, by the names that they are shown under."""
    shown: dict[str, CacheFigures] = {}
    for cache in caches:
        shown[_free_name(cache.name, cache.system, shown)] = cache
    return shown


def _tools(
    tools: Iterable[ToolFigures],
    foreign: Iterable[ForeignTool],
    entry: Callable[[str, ToolFigures], Any],
) -> dict[str, Any]:
    entries = {name: entry(name, tool) for name, tool in tools_by_name(tools).items()}
    for estimated in foreign:
        entries[_free_name(estimated.name, estimated.source, entries)] = estimated.entry()
    return entries


def _free_name(name: str, source: str, taken: Mapping[str, Any]) -> str:
    """The first of equal names keeps it, later ones add their source."""
    while name in taken:
        name = f"{name}@{source}"
    return name


def _entry(_name: str, tool: ToolFigures) -> dict[str, Any]:
    return tool_entry(tool)


def tool_entry(tool: ToolFigures) -> dict[str, Any]:
    """One tool's part of the document."""
    quantiles = tool.percentiles
    finished = tool.succeeded + tool.failed
    return {
        "source": tool.source,
        "method": "exact",
        "total_calls": sum(tool.counts.values()),
        "total_latency_ms": tool.total_ms,
        "successful_calls": tool.succeeded,
        "failed_calls": tool.failed,
        "cancelled_calls": tool.counts[outcomes.CANCELLED],
        "caller_errors": tool.counts[outcomes.CALLER_ERROR],
        "interim_results": tool.counts[outcomes.INTERIM],
        "outcomes": dict(tool.counts),
        "success_rate": _percent(tool.succeeded, finished),
        "avg_latency_ms": tool.total_ms / tool.sampled if tool.sampled else None,
        "min_latency_ms": tool.minimum_ms,
        "max_latency_ms": tool.maximum_ms,
        "p50_latency_ms": quantiles.p50,
        "p95_latency_ms": quantiles.p95,
        "p99_latency_ms": quantiles.p99,
        "extrapolated": list(quantiles.extrapolated),
        "window_samples": tool.window_samples,
        "active_calls": tool.active,
        "error_types": dict(tool.error_types),
        "last_call_timestamp": tool.last_call,
        "with_cache": tool.with_cache
        and {
            "all_hit": _latencies(tool.with_cache[0]),
            "missed": _latencies(tool.with_cache[1]),
        },
        "first_item": tool.first_item and _latencies(tool.first_item),
    }


def _latencies(figures: LatencyFigures) -> dict[str, Any]:
    quantiles = figures.percentiles
    return {
        "calls": figures.calls,
        "avg_latency_ms": figures.total_ms / figures.calls if figures.calls else None,
        "p50_latency_ms": quantiles.p50,
        "p95_latency_ms": quantiles.p95,
        "p99_latency_ms": quantiles.p99,
    }


def _cache(cache: CacheFigures) -> dict[str, Any]:
    total = cache.hits + cache.misses
    return {
        "system": cache.system,
        "hits": cache.hits,
        "misses": cache.misses,
        "total_requests": total,
        "hit_rate": _percent(cache.hits, total),
        "evictions": cache.evictions,
        "size_rejections": cache.rejections,
        "entries": cache.entries,
        "by_tool": None
        if cache.by_tool is None
        else {
            tool: {"hits": hits, "misses": misses, "hit_rate": _percent(hits, hits + misses)}
            for tool, (hits, misses) in cache.by_tool.items()
        },
    }


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


def _system(figures: Figures) -> dict[str, Any]:
    return {
        "active_sessions": figures.active_sessions,
        "concurrent_requests": figures.concurrent_requests,
        "total_requests": figures.total_requests,
        "start_time": figures.start_time,
        "uptime_seconds": figures.uptime_seconds,
        "process": {
            "cpu_seconds": time.process_time(),
            "resident_bytes": _resident_bytes(),
            "threads": threading.active_count(),
            "gc": _collections(),
        },
    }


def _collections() -> list[dict[str, int]] | None:
    """Garbage collections of each generation, youngest first; None where Python does not say."""
    if not hasattr(gc, "get_stats"):
        return None
    names = ("collections", "collected", "uncollectable")
    return [{name: generation[name] for name in names} for generation in gc.get_stats()]


def _resident_bytes() -> int | None:
    """Resident memory of this process; None where the system offers no cheap way to ask."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # a codec would be an import, late
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


class ForeignTool:
    """A tool known only from another instrumentation's histogram: everything is an estimate."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self._count = 0
        self._failed = 0
        self._sum_seconds = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._bounds: tuple[float, ...] = ()
        self._buckets: list[int] = []
        self._error_types: dict[str, int] = {}

    def add(self, point: Any) -> None:
        """Merge one histogram data point (seconds) of this tool."""
        self._count += point.count
        self._sum_seconds += point.sum
        error_type = (point.attributes or {}).get(catalogue.ERROR_TYPE)
        if error_type is not None:
            self._failed += point.count
            named = str(error_type)
            self._error_types[named] = self._error_types.get(named, 0) + point.count
        # Both are infinite where a View does not keep them.
        self._minimum = min(self._minimum, point.min)
        self._maximum = max(self._maximum, point.max)
        bounds = tuple(getattr(point, "explicit_bounds", ()))  # exponential ones have none
        if not self._buckets:
            self._bounds, self._buckets = bounds, [0] * (len(bounds) + 1)
        if bounds == self._bounds:
            for index, count in enumerate(getattr(point, "bucket_counts", ())):
                self._buckets[index] += count

    def entry(self) -> dict[str, Any]:
        """Its part of the document. What a histogram cannot know is null."""
        succeeded = self._count - self._failed
        total_ms = _milliseconds(self._sum_seconds)
        return {
            "source": self.source,
            "method": "estimate",
            "total_calls": self._count,
            "total_latency_ms": total_ms,
            "successful_calls": succeeded,
            "failed_calls": self._failed,
            "cancelled_calls": None,
            "caller_errors": None,
            "interim_results": None,
            "outcomes": None,
            "success_rate": _percent(succeeded, self._count),
            "avg_latency_ms": total_ms / self._count if total_ms is not None else None,
            "min_latency_ms": _milliseconds(self._minimum),
            "max_latency_ms": _milliseconds(self._maximum),
            "p50_latency_ms": _milliseconds(self._quantile(0.50)),
            "p95_latency_ms": _milliseconds(self._quantile(0.95)),
            "p99_latency_ms": _milliseconds(self._quantile(0.99)),
            "extrapolated": [],
            "window_samples": None,
            "active_calls": None,
            "error_types": self._error_types,
            "last_call_timestamp": None,
            "with_cache": None,
            "first_item": None,
        }

    def _quantile(self, q: float) -> float:
        """Linear inside the bucket, as PromQL's histogram_quantile, kept within min and max."""
        counted = sum(self._buckets)
        if self._count < 2 or not counted or not self._bounds:
            return math.nan
        rank, below = q * counted, 0
        edges = [min(0.0, self._bounds[0]), *self._bounds, self._maximum]
        for index, count in enumerate(self._buckets):
            if count and below + count >= rank:
                low, high = edges[index], edges[index + 1]
                if not math.isfinite(high):  # beyond the last bound, and no maximum is kept
                    high = low
                value = low + (high - low) * (rank - below) / count
                if self._minimum <= self._maximum:
                    value = min(max(value, self._minimum), self._maximum)
                return value
            below += count
        return math.nan


def _milliseconds(seconds: float) -> float | None:
    milliseconds = seconds * 1000.0
    return milliseconds if 0 <= milliseconds < math.inf else None


def foreign_tools(metrics_data: Any) -> list[ForeignTool]:
    """Tools in other scopes' tool-call histograms, from the metric data of one collection."""
    found: dict[tuple[str, str], ForeignTool] = {}
    for resource_metrics in getattr(metrics_data, "resource_metrics", ()):
        for scope_metrics in resource_metrics.scope_metrics:
            source = scope_metrics.scope.name
            if source == catalogue.SCOPE:
                continue
            for point in _tool_durations(scope_metrics.metrics):
                name = (point.attributes or {}).get(catalogue.TOOL_NAME)
                if name is not None and point.count:
                    key = (str(name), source)
                    found.setdefault(key, ForeignTool(*key)).add(point)
    return list(found.values())


def _tool_durations(metrics: Iterable[Any]) -> Iterable[Any]:
    """Points of one scope's histogram of tool calls: one that has both would show each twice."""
    for wanted in (catalogue.TOOL_DURATION, catalogue.SERVER_DURATION):
        for metric in metrics:
            if metric.name == wanted.name and metric.unit in {wanted.unit, ""}:
                return [point for point in metric.data.data_points if hasattr(point, "count")]
    return ()
