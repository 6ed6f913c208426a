"""OTLP by the standard variables, over HTTP or gRPC; the exporters are OpenTelemetry's own.

`Delivery` stands around an exporter for what a guest in somebody's process owes: a collector that
is not there is one warning and not one a minute, and it is known whether anything was delivered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics.export import (
    CardinalityLimits,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from metertap import guard

_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.sdk.metrics._internal.export",
)


class Delivery(MetricExporter):
    """An exporter that says once what goes wrong and remembers whether anything arrived."""

    def __init__(self, inner: MetricExporter, protocol: str) -> None:
        # An exporter's preferences are attributes that the SDK itself reads from outside.
        super().__init__(
            preferred_temporality=inner._preferred_temporality,
            preferred_aggregation=inner._preferred_aggregation,
        )
        self.inner = inner
        self.protocol = protocol
        self.delivered = False
        self.discard = False
        self._failing = False

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Hand one collection to the exporter; never raises."""
        if self.discard:
            return MetricExportResult.SUCCESS
        result = MetricExportResult.FAILURE
        with guard.guarded("otlp"), _quiet():
            result = self.inner.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
        if result is MetricExportResult.SUCCESS:
            self.delivered = True
            if self._failing:
                guard.logger.warning("OTLP: the collector answers again")
        elif not self._failing:
            guard.logger.warning(
                "OTLP: metrics could not be delivered by %s; it goes on trying "
                "(is OTEL_EXPORTER_OTLP_ENDPOINT right?)",
                self.protocol,
            )
        self._failing = result is not MetricExportResult.SUCCESS
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        with guard.guarded("otlp"), _quiet():
            self.inner.shutdown(timeout_millis=max(0.0, timeout_millis))


class OtlpReader(PeriodicExportingMetricReader):
    """A periodic reader that exports OTLP, and whose shutdown is short and may be repeated."""

    def __init__(self, delivery: Delivery, limits: CardinalityLimits | None = None) -> None:
        super().__init__(delivery, cardinality_limits=limits)
        self.delivery = delivery
        self._closed = False

    def shutdown(self, timeout_millis: float = 500, **kwargs: Any) -> None:
        """Export once more, for at most `timeout_millis`, and end."""
        if not self._closed:
            self._closed = True
            super().shutdown(timeout_millis=timeout_millis, **kwargs)


def otlp_reader(protocol: str, limits: CardinalityLimits | None = None) -> OtlpReader:
    """A reader that exports by `protocol`, `http/protobuf` or `grpc`.

    Raises ModuleNotFoundError where the exporter of that protocol is not installed.
    """
    exporter: MetricExporter
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as GrpcExporter,
        )

        exporter = GrpcExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter as HttpExporter,
        )

        exporter = HttpExporter()
    return OtlpReader(Delivery(exporter, protocol), limits)


class _ThisThread(logging.Filter):
    """Drops what the exporters log in threads that are exporting for metertap."""

    def __init__(self) -> None:
        super().__init__()
        self.exporting = threading.local()

    def filter(self, _record: logging.LogRecord) -> bool:
        return not getattr(self.exporting, "now", False)


_filter = _ThisThread()


@contextmanager
def _quiet() -> Iterator[None]:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # adding it again changes nothing
    _filter.exporting.now = True
    try:
        yield
    finally:
        _filter.exporting.now = False
