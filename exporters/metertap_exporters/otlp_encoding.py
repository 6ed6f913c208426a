"""What OTLP cannot carry, which is left out of an export so that the rest is delivered.

OpenTelemetry's exporters encode a collection as a whole. One figure of the application's own that
has no encoding, such as an integer beyond 64 bits, would keep everything else back for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics

from metertap import faults
from metertap.text import printable

_MOST_SAID = 300
"""The most characters of names, and of reasons, in a sentence on what is left out."""


def encodable(data: MetricsData) -> tuple[MetricsData, str | None]:
    """Return what of `data` can be encoded, and a sentence on what is left out, if anything is.

    A warning tells it, once for each instrument.
    """
    if _problem(data) is None:
        return data, None
    reasons: dict[str, str] = {}
    resources = []
    for resource in data.resource_metrics:
        scopes = []
        for scope in resource.scope_metrics:
            metrics = [
                kept for metric in scope.metrics for kept in _kept(resource, scope, metric, reasons)
            ]
            if metrics:
                scopes.append(replace(scope, metrics=metrics))
        if scopes:
            resources.append(replace(resource, scope_metrics=scopes))
    for name, reason in reasons.items():
        said = _left_out({name: reason})
        faults.warn_once(f"otlp.encoding {name}", "OTLP: %s; told once", said)
    return MetricsData(resource_metrics=resources), _left_out(reasons) if reasons else None


def _left_out(reasons: dict[str, str]) -> str:
    """Return a sentence on the instruments, by name, of which figures are left out."""
    names = printable(", ".join(reasons), _MOST_SAID)
    why = printable("; ".join(dict.fromkeys(reasons.values())), _MOST_SAID)
    return f"figures of {names} are left out, since they cannot be encoded ({why})"


def _kept(
    resource: ResourceMetrics, scope: ScopeMetrics, metric: Metric, reasons: dict[str, str]
) -> Iterator[Metric]:
    """Yield `metric` with those of its points that can be encoded, if there are any."""

    def problem(of: Metric) -> Exception | None:
        alone = replace(resource, scope_metrics=[replace(scope, metrics=[of])])
        return _problem(MetricsData(resource_metrics=[alone]))

    data: Any = metric.data  # of four types, each with points of its own

    def only(points: list[Any]) -> Metric:
        return replace(metric, data=replace(data, data_points=points))

    error = problem(metric)
    if error is None:
        yield metric
        return
    # The encoder's own error has the whole instrument in its text, with values of attributes.
    error = getattr(error, "original_exception", error)
    reasons[printable(metric.name)] = faults.shown(error, str)
    points = [point for point in data.data_points if problem(only([point])) is None]
    if points:
        yield only(points)


def _problem(data: MetricsData) -> Exception | None:
    """Return the error of the exporters' encoder; None if it can encode `data`."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

    try:
        encode_metrics(data).SerializeToString()
    except Exception as error:
        return error
    return None
