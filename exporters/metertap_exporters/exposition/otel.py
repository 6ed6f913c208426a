"""OpenTelemetry's metric data as metric families, named as by the standard exporter."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from opentelemetry.exporter.prometheus._mapping import (
    map_unit,
    sanitize_attribute,
    sanitize_full_name,
)
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    MetricsData,
    Sum,
)
from opentelemetry.trace import format_span_id, format_trace_id

from metertap import catalogue, faults
from metertap.labels import encodable
from metertap_exporters.exposition.families import Distribution, Exemplar, Family, Group, Series

_NO_EXEMPLARS: Mapping[int, Exemplar] = {}
_EXEMPLAR_CHARACTERS = 128
"""The most characters that OpenMetrics allows in the labels of one exemplar."""


class Target:
    """The family `target_info`: the resource's attributes, as at the first scrape."""

    def __init__(self) -> None:
        self.known: Family | None = None
        """The family, after the first collection."""

    def family(self, data: MetricsData) -> Family:
        """Return the family; made of this collection's resources, if it is the first."""
        if self.known is None:
            attributes: dict[str, Any] = {}
            for resource in data.resource_metrics:
                attributes |= resource.resource.attributes
            labels = {sanitize_attribute(name): value for name, value in attributes.items()}
            group = Group({}, frozenset(labels), [Series(labels, 1)])
            self.known = Family("target", "info", "Target metadata", groups=[group])
        return self.known


def families(data: MetricsData) -> Iterable[Family]:
    """Yield a family for each metric; equal metrics of several scopes share one."""
    found: dict[tuple[str, str, str, str], Family] = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                with faults.guarded("prometheus.metric"):
                    _add(metric, scope.scope, found)
    return found.values()


def _add(metric: Any, scope: Any, found: dict[tuple[str, str, str, str], Family]) -> None:
    kind = _kind(metric.data)
    if kind is None:
        return
    name, unit = _name_and_unit(metric, kind)
    description = encodable(metric.description or "")
    family = found.setdefault(
        (name, kind, description, unit), Family(name, kind, description, unit)
    )
    is_ours = metric.name == catalogue.CACHE_ENTRIES.name
    family.adds_up = is_ours or not isinstance(metric.data, Gauge)
    points = metric.data.data_points
    names = frozenset(name for point in points for name in point.attributes or ())
    make = _distribution if kind == "histogram" else _value
    family.groups.append(Group(_scope_labels(scope), names, map(make, points)))


def _kind(data: Any) -> str | None:
    if isinstance(data, Histogram):
        return "histogram"
    if isinstance(data, Gauge):
        return "gauge"
    if isinstance(data, Sum):
        is_cumulative = data.aggregation_temporality == AggregationTemporality.CUMULATIVE
        return "gauge" if is_cumulative and not data.is_monotonic else "counter"
    faults.warn_once(
        "prometheus exponential",
        "a View makes histograms exponential: the Prometheus exporter leaves them out",
    )
    return None


def _name_and_unit(metric: Any, kind: str) -> tuple[str, str]:
    name, unit = sanitize_full_name(metric.name), map_unit(metric.unit or "")
    if kind == "counter":
        name = name.removesuffix("_total")
    if unit and not name.endswith(f"_{unit}"):
        name += f"_{unit}"
    return name, unit


def _scope_labels(scope: Any) -> dict[str, Any]:
    return {
        **{f"otel_scope_{name}": value for name, value in (scope.attributes or {}).items()},
        "otel_scope_name": scope.name or "",
        "otel_scope_version": scope.version or "",
        "otel_scope_schema_url": scope.schema_url or "",
    }


def _value(point: Any) -> Series:
    exemplars = point.exemplars
    newest = max(exemplars, key=lambda item: item.time_unix_nano) if exemplars else None
    return Series(point.attributes, point.value, newest and _exemplar(newest))


def _distribution(point: Any) -> Series:
    bounds, exemplars = point.explicit_bounds, _NO_EXEMPLARS
    if point.exemplars:
        in_order = sorted(point.exemplars, key=lambda item: item.time_unix_nano)
        exemplars = {bisect_left(bounds, item.value): _exemplar(item) for item in in_order}
    value = Distribution(bounds, point.bucket_counts, point.sum, exemplars)
    return Series(point.attributes, value)


def _exemplar(taken: Any) -> Exemplar:
    return Exemplar(tuple(_exemplar_labels(taken)), taken.value, taken.time_unix_nano / 1e9)


def _exemplar_labels(taken: Any) -> Iterator[tuple[str, str]]:
    """Yield the span's ids, then attributes that a View left out, as many as are allowed."""
    left = _EXEMPLAR_CHARACTERS
    named: dict[str, str] = {}
    if taken.trace_id is not None and taken.span_id is not None:
        named = {
            "trace_id": format_trace_id(taken.trace_id),
            "span_id": format_span_id(taken.span_id),
        }
    for name, value in (taken.filtered_attributes or {}).items():
        named.setdefault(sanitize_attribute(name), str(value))
    for name, value in named.items():
        left -= len(name) + len(value)
        if left < 0:
            return
        yield name, value
