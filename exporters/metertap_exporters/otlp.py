"""OTLP by the standard variables, over HTTP or gRPC; the exporters are OpenTelemetry's own.

`Delivery` stands around an exporter for what a guest in somebody's process owes: a collector that
is not there is one warning and not one a minute, and it is known whether anything was delivered.
The exporters go on trying for ten seconds whatever they are told, so nobody waits for them longer
than they said.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)

from metertap import faults, locks
from metertap.otel import sdk
from metertap.settings.settings import Settings

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
        self._discards = False
        self._failing = False
        self._exporting = locks.lock()
        self._telling = locks.lock()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Hand one collection to the exporter; never raises."""
        result = MetricExportResult.FAILURE
        with self._exporting:
            if self._discards:
                return MetricExportResult.SUCCESS
            with faults.guarded("otlp"), _quiet():
                result = self.inner.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
            if result is MetricExportResult.SUCCESS:
                self.delivered = True
            self._tell(failing=result is not MetricExportResult.SUCCESS)
        return result

    def _tell(self, *, failing: bool) -> None:
        """Warn where a failure begins and where it ends."""
        with self._telling:
            changed, self._failing = failing != self._failing, failing
        if not changed or self._discards:
            return
        if failing:
            faults.warn(
                "OTLP: metrics could not be delivered by %s "
                "(is OTEL_EXPORTER_OTLP_ENDPOINT right?); told once until they can be",
                self.protocol,
            )
        else:
            faults.warn("OTLP: the collector answers again")

    def settle(self, timeout_seconds: float) -> bool:
        """Whether anything was delivered. If nothing was, nothing will be: it is discarded.

        Waits for an export in progress; one that lasts longer is on its way to nobody.
        """
        ended = self._exporting.acquire(timeout=timeout_seconds)
        if not self.delivered:
            self._discards = True
        if ended:
            self._exporting.release()
        return self.delivered

    def discard(self) -> None:
        """Deliver nothing from now on."""
        self._discards = True

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        if self._exporting.locked():  # still, after all the time that it was given
            self._tell(failing=True)
        with faults.guarded("otlp"), _quiet():
            self.inner.shutdown(timeout_millis=max(0.0, timeout_millis))


_made: list[OtlpReader] = []
"""Kept alive: before SDK 1.45 a reader that is gone makes every later fork print a traceback."""


class OtlpReader(PeriodicExportingMetricReader):
    """A periodic reader that exports OTLP, and whose shutdown is short and may be repeated."""

    def __init__(self, delivery: Delivery, settings: Settings) -> None:
        super().__init__(delivery, **sdk.series_limits(settings.series_limit))
        self.delivery = delivery
        self._closed = False
        _made.append(self)

    def force_flush(self, timeout_millis: float = 500) -> bool:
        """Export now. Returns after `timeout_millis` at most, and says whether it was enough."""
        flushed = threading.Event()

        def flush() -> None:
            with faults.guarded("flush"):
                super(OtlpReader, self).force_flush()
            flushed.set()

        threading.Thread(target=flush, name="metertap-flush", daemon=True).start()
        return flushed.wait(timeout_millis / 1000.0)

    def shutdown(self, timeout_millis: float = 500, **kwargs: Any) -> None:
        """Export once more, for at most `timeout_millis`, and end."""
        if not self._closed:
            self._closed = True
            super().shutdown(timeout_millis=timeout_millis, **kwargs)

    def forked(self) -> None:
        """In a forked child: thread, connection and counts are the parent's. Do nothing more."""
        self._closed = True
        self.delivery.discard()


def otlp_reader(settings: Settings) -> OtlpReader:
    """A reader that exports by the protocol of the settings, `http/protobuf` or `grpc`.

    Raises ModuleNotFoundError where the exporter of that protocol is not installed.
    """
    exporter: MetricExporter
    if settings.otlp_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
            OTLPMetricExporter as GrpcExporter,
        )

        exporter = GrpcExporter()
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter as HttpExporter,
        )

        exporter = HttpExporter()
    return OtlpReader(Delivery(exporter, settings.otlp_protocol), settings)


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
