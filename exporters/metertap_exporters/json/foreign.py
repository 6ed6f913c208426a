"""Tools that only another instrumentation measured: estimates from its histogram of calls."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from metertap import catalogue
from metertap.recording.window import Percentiles


class ForeignTool:
    """A tool known only from another instrumentation's histogram: its percentiles are estimates."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.count = 0
        self.failed = 0
        self._sum_seconds = 0.0
        self._minimum = math.inf
        self._maximum = -math.inf
        self._bounds: tuple[float, ...] = ()
        self._buckets: list[int] = []
        self.error_types: dict[str, int] = {}

    def add(self, point: Any) -> None:
        """Merge one histogram data point (seconds) of this tool."""
        self.count += point.count
        self._sum_seconds += point.sum
        error_type = (point.attributes or {}).get(catalogue.ERROR_TYPE)
        if error_type is not None:
            self.failed += point.count
            named = str(error_type)
            self.error_types[named] = self.error_types.get(named, 0) + point.count
        # Both are infinite where a View does not keep them.
        self._minimum = min(self._minimum, point.min)
        self._maximum = max(self._maximum, point.max)
        bounds = tuple(getattr(point, "explicit_bounds", ()))  # exponential ones have none
        if not self._buckets:
            self._bounds, self._buckets = bounds, [0] * (len(bounds) + 1)
        if bounds == self._bounds:
            for index, count in enumerate(getattr(point, "bucket_counts", ())):
                self._buckets[index] += count

    @property
    def total_ms(self) -> float | None:
        """The sum of all durations; None where the histogram keeps no usable one."""
        return _milliseconds(self._sum_seconds)

    @property
    def minimum_ms(self) -> float | None:
        """The shortest call; None where a View keeps no minimum."""
        return _milliseconds(self._minimum)

    @property
    def maximum_ms(self) -> float | None:
        """The longest call; None where a View keeps no maximum."""
        return _milliseconds(self._maximum)

    def percentiles(self) -> Percentiles:
        """Estimate them from the buckets, in milliseconds."""
        p50, p95, p99 = (_milliseconds(self._quantile(q)) for q in (0.50, 0.95, 0.99))
        return Percentiles(p50, p95, p99)

    def _quantile(self, q: float) -> float:
        """Interpolate in the bucket, as PromQL's histogram_quantile, within minimum and maximum."""
        counted = sum(self._buckets)
        if self.count < 2 or not counted or not self._bounds:
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
    """Find tools in other scopes' histograms of tool calls, in the data of one collection."""
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
    """Read the points of one scope's histogram of tool calls.

    Only the first of both conventions is read: a scope that has both would show each call twice.
    """
    for wanted in (catalogue.TOOL_DURATION, catalogue.SERVER_DURATION):
        for metric in metrics:
            if metric.name == wanted.name and metric.unit in {wanted.unit, ""}:
                return [point for point in metric.data.data_points if hasattr(point, "count")]
    return ()
