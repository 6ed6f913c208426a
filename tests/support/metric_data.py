"""Reading OpenTelemetry metric data in tests."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader


def points(reader: InMemoryMetricReader, name: str) -> list[Any]:
    """The data points of one metric, of every scope, at a new collection."""
    data = reader.get_metrics_data()
    if data is None:
        return []
    return [
        point
        for resource_metrics in data.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


def by_attributes(reader: InMemoryMetricReader, name: str) -> dict[frozenset[Any], Any]:
    """The same points by their attributes."""
    return {frozenset(point.attributes.items()): point for point in points(reader, name)}
