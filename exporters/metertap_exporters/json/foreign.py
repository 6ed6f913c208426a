"""Tools that only another instrumentation measured: estimates from its histogram of calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metertap import catalogue
from metertap.labels import as_label
from metertap.outcomes import by_count
from metertap.recording.percentiles import Percentiles

if TYPE_CHECKING:
    from metertap.workers.rows import Items
    from metertap.workers.sections import Section
    from metertap_exporters.json.shape import Tool

_LARGEST = 1e300
"""The largest number from another worker."""


@dataclass(repr=False)
class ForeignCounts:
    """The counts of such a tool in one process, in seconds; None if the histogram lacks one."""

    count: int
    failed: int
    total: float | None
    minimum: float | None
    maximum: float | None
    bounds: tuple[float, ...]
    buckets: tuple[int, ...]
    error_types: dict[str, int]


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
        error_type = (point.attributes or {}).get(catalogue.ERROR_TYPE)
        failed = 0 if error_type is None else point.count
        self.add_counts(
            ForeignCounts(
                point.count,
                failed,
                point.sum,
                point.min,  # infinite, as the maximum is, if a View does not keep it
                point.max,
                tuple(getattr(point, "explicit_bounds", ())),  # exponential histograms have none
                tuple(getattr(point, "bucket_counts", ())),
                {} if error_type is None else {as_label(str(error_type)): failed},
            )
        )

    def add_counts(self, found: ForeignCounts) -> None:
        """Merge the counts of this tool from elsewhere."""
        self.count += found.count
        self.failed += found.failed
        self._sum_seconds += math.inf if found.total is None else found.total
        self._minimum = min(self._minimum, math.inf if found.minimum is None else found.minimum)
        self._maximum = max(self._maximum, -math.inf if found.maximum is None else found.maximum)
        for named, count in found.error_types.items():
            self.error_types[named] = self.error_types.get(named, 0) + count
        if not self._buckets:
            self._bounds, self._buckets = found.bounds, [0] * (len(found.bounds) + 1)
        if found.bounds == self._bounds and len(found.buckets) <= len(self._buckets):
            for index, count in enumerate(found.buckets):
                self._buckets[index] += count

    def counts(self) -> ForeignCounts:
        """Return all merged counts, for another process."""
        return ForeignCounts(
            self.count,
            self.failed,
            _finite(self._sum_seconds),
            _finite(self._minimum),
            _finite(self._maximum),
            self._bounds,
            tuple(self._buckets),
            dict(self.error_types),
        )

    def entry(self) -> Tool:
        """Return the tool's entry in the document, with null for what its histogram lacks."""
        quantiles = self.percentiles()
        total_ms = self.total_ms
        succeeded = self.count - self.failed
        return {
            "source": self.source,
            "method": "estimate",
            "total_calls": self.count,
            "total_latency_ms": total_ms,
            "successful_calls": succeeded,
            "failed_calls": self.failed,
            "cancelled_calls": None,
            "caller_errors": None,
            "interim_results": None,
            "outcomes": None,
            "success_rate": 100.0 * succeeded / self.count if self.count else None,
            "avg_latency_ms": None if total_ms is None else total_ms / self.count,
            "min_latency_ms": self.minimum_ms,
            "max_latency_ms": self.maximum_ms,
            "p50_latency_ms": quantiles.p50,
            "p95_latency_ms": quantiles.p95,
            "p99_latency_ms": quantiles.p99,
            "extrapolated": [],
            "window_samples": None,
            "active_calls": None,
            "error_types": by_count(self.error_types),
            "error_outcomes": None,
            "last_call_timestamp": None,
            "with_cache": None,
            "first_item": None,
        }

    @property
    def total_ms(self) -> float | None:
        """The sum of all durations; None if the histogram has no usable one."""
        return _milliseconds(self._sum_seconds)

    @property
    def minimum_ms(self) -> float | None:
        """The shortest call; None if a View keeps no minimum."""
        return _milliseconds(self._minimum)

    @property
    def maximum_ms(self) -> float | None:
        """The longest call; None if a View keeps no maximum."""
        return _milliseconds(self._maximum)

    def percentiles(self) -> Percentiles:
        """Estimate p50, p95 and p99 from the buckets, in milliseconds."""
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
                if not math.isfinite(high):  # beyond the last bound, without a maximum
                    high = low
                value = low + (high - low) * (rank - below) / count
                if self._minimum <= self._maximum:
                    value = min(max(value, self._minimum), self._maximum)
                return value
            below += count
        return math.nan


def _finite(seconds: float) -> float | None:
    return seconds if abs(seconds) <= _LARGEST else None


def _milliseconds(seconds: float) -> float | None:
    milliseconds = seconds * 1000.0
    return milliseconds if 0 <= milliseconds < math.inf else None


def foreign_tools(metrics_data: Any) -> list[ForeignTool]:
    """Return the tools in other scopes' histograms of tool calls, in one collection's data."""
    found: dict[tuple[str, str], ForeignTool] = {}
    for resource_metrics in getattr(metrics_data, "resource_metrics", ()):
        for scope_metrics in resource_metrics.scope_metrics:
            source = scope_metrics.scope.name
            if source == catalogue.SCOPE:
                continue
            for point in _tool_durations(scope_metrics.metrics):
                name = (point.attributes or {}).get(catalogue.TOOL_NAME)
                if name is not None and point.count:
                    key = (as_label(str(name)), as_label(source))
                    found.setdefault(key, ForeignTool(*key)).add(point)
    return list(found.values())


def _tool_durations(metrics: Iterable[Any]) -> Iterable[Any]:
    """Read the points of one scope's histogram of tool calls.

    Only the first of both conventions is read: a scope with both would show each call twice.
    """
    for wanted in (catalogue.TOOL_DURATION, catalogue.SERVER_DURATION):
        for metric in metrics:
            if metric.name == wanted.name and metric.unit in {wanted.unit, ""}:
                return [point for point in metric.data.data_points if hasattr(point, "count")]
    return ()


def section(found: Callable[[], Iterable[ForeignTool]]) -> Section:
    """Return the section of the foreign tools that `found` returns."""
    from metertap.workers.sections import Section, each  # imported with the first group of workers

    return Section(
        "foreign",
        ForeignCounts,
        lambda _figures, _before: {(tool.name, tool.source): tool.counts() for tool in found()},
        each(lambda counts: _tool_of(("", ""), counts).counts()),
        lambda counts: counts,
        tells_change=False,
    )


def tools_of(items: Items) -> list[ForeignTool]:
    """Return the tools in the items of workers."""
    return [_tool_of(key, [counts]) for key, counts in items.items()]


def _tool_of(key: Sequence[str | None], found: Iterable[ForeignCounts]) -> ForeignTool:
    tool = ForeignTool(key[0] or "", key[-1] or "")
    for counts in found:
        tool.add_counts(counts)
    return tool
