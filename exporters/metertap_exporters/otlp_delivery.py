"""Exports to a collector as metertap makes them: quiet, and known to have arrived or not.

A collector that cannot be reached is one warning, and not one for each export. The exporters go on
trying for ten seconds whatever time they are given, so no call waits for an export longer than for
the time that was given.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation

from metertap import faults, locks
from metertap.text import printable
from metertap.unmocked import unmocked
from metertap_exporters.otlp_encoding import encodable  # now, since no thread of ours may import

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    from metertap_exporters.grpc_fork import Pause

_ALIKE = ExponentialBucketHistogramAggregation(max_size=1600, max_scale=6)
"""Exponential histograms with the same bounds in all processes: 64 buckets to a doubling.

By default, the SDK begins with finer buckets and widens them as values come, in each process to
another width. A store that adds such buckets up has percentiles that are wrong by more than ten
percent.
"""
_HEADERS_LOGGER = "opentelemetry.util.re"
"""The logger of the parser of `OTEL_EXPORTER_OTLP_HEADERS`, which quotes what it cannot read."""
_LOGGERS = (
    _HEADERS_LOGGER,
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.sdk.metrics._internal.export",
)
_MOST_SAID = 200
"""The most characters that are shown of a collector's message."""
_LATE_SECONDS = 30.0
"""An export that takes longer is a problem, since the exporters try for ten seconds."""


class Delivery(MetricExporter):
    """An exporter that warns once of a failure, and remembers whether anything was delivered."""

    def __init__(self, inner: MetricExporter, protocol: str, pause: Pause | None = None) -> None:
        # An exporter's preferences are private attributes, which the SDK itself reads.
        super().__init__(
            preferred_temporality=inner._preferred_temporality,
            preferred_aggregation=_alike(inner._preferred_aggregation),
        )
        self.inner = inner
        self.protocol = protocol
        self.delivered = False
        self._discards = False
        self._failing = False
        self._is_encoded = False
        """Whether the exporter is known to have encoded the newest collection."""
        self._refused: str | None = None
        """The collector's message on the newest collection, if it refused a part or warned."""
        self._since: float | None = None
        """When the export in progress began, by the monotonic clock."""
        self.pause = pause
        self._exporting = locks.lock() if pause is None else pause.exporting
        self._telling = locks.lock()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Hand one collection to the exporter; never raises."""
        result: MetricExportResult | None
        if self.pause is not None:
            self.pause.wait()
        with self._exporting:
            if self._discards:
                return MetricExportResult.SUCCESS
            self._since, self._refused, self._is_encoded = unmocked.monotonic(), None, False
            with quiet():
                result = self._handed_on(metrics_data, timeout_millis, kwargs)
                if result is not MetricExportResult.SUCCESS and not self._is_encoded:
                    result = self._without_unencodable(metrics_data, timeout_millis, kwargs)
            self._since = None
            if result is MetricExportResult.SUCCESS:
                self.delivered = True
            if result is not None:  # else the collector was not asked
                self._tell(failing=result is not MetricExportResult.SUCCESS)
        return MetricExportResult.FAILURE if result is None else result

    def _handed_on(
        self, data: MetricsData, milliseconds: float, named: dict[str, Any]
    ) -> MetricExportResult:
        # An exporter also raises if its time is over between two tries: not delivered, then.
        with suppress(Exception):
            if self.pause is not None:
                self.pause.resume()
            result = self.inner.export(data, timeout_millis=milliseconds, **named)
            # The exporter for HTTP returns even if it cannot encode. Its session calls `sends`.
            self._is_encoded = self._is_encoded or self.protocol == "grpc"
            return result
        return MetricExportResult.FAILURE

    def sends(self) -> None:
        """Note that the exporter sends the newest collection, so it could encode that."""
        self._is_encoded = True

    def _without_unencodable(
        self, data: MetricsData, milliseconds: float, named: dict[str, Any]
    ) -> MetricExportResult | None:
        """Export again what was not delivered, if some figures in it kept the others back.

        Returns None if nothing can be encoded.
        """
        with faults.guarded("otlp.encoding"):
            rest, said = encodable(data)
            if said is not None:
                result = (
                    self._handed_on(rest, milliseconds, named) if rest.resource_metrics else None
                )
                self._refused = self._refused or said
                return result
        return MetricExportResult.FAILURE

    @property
    def problem(self) -> str | None:
        """The problem of the newest export, if there is one."""
        since = self._since
        if since is not None and (seconds := unmocked.monotonic() - since) > _LATE_SECONDS:
            return f"an export by {self.protocol} has taken {seconds:.0f} s so far"
        if self._failing:
            return f"the newest export by {self.protocol} was not delivered"
        return self._refused

    def heard(self, answer: ExportMetricsServiceResponse) -> None:
        """Note what a collector answers: that it refused data points, or a warning."""
        with faults.guarded("otlp.heard"):
            found = answer.partial_success
            said = printable(found.error_message[:_MOST_SAID])
            if found.rejected_data_points:
                refused = f"the collector refused {found.rejected_data_points} data points"
            elif said:
                refused = "the collector took everything, but warns"
            else:
                return
            self._refused = f"{refused}: {said}" if said else refused
            faults.warn_once("otlp.refused", "OTLP: %s; told once", self._refused)

    def _tell(self, *, failing: bool) -> None:
        """Warn when failures begin, and when they end."""
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
        """Return whether anything was delivered; if nothing was, discard all later exports.

        Waits for an export in progress, for `timeout_seconds` at most; a longer one will not be
        delivered.
        """
        ended = self._exporting.acquire(timeout=timeout_seconds)
        if not self.delivered:
            self._discards = True
        if ended:
            self._exporting.release()
        return self.delivered

    def tell_if_late(self) -> None:
        """Warn of an export that is still in progress after all of its time."""
        if self._exporting.locked():
            self._tell(failing=True)

    def discard(self) -> None:
        """Deliver nothing from now on."""
        self._discards = True

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        with faults.guarded("otlp"), quiet():
            self.inner.shutdown(timeout_millis=max(0.0, timeout_millis))


def _alike(aggregations: dict[type, Aggregation] | None) -> dict[type, Aggregation]:
    """Return an exporter's aggregations, with common bounds for exponential ones."""
    return {
        instrument: _ALIKE
        if isinstance(aggregation, ExponentialBucketHistogramAggregation)
        else aggregation
        for instrument, aggregation in (aggregations or {}).items()
    }


class _ThisThread(logging.Filter):
    """A filter that drops what exporters log in threads that export for metertap.

    A message about headers that cannot be read passes, without the headers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exporting = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(self.exporting, "now", False):
            return True
        if record.name == _HEADERS_LOGGER and record.args:
            record.args = tuple("(not shown)" for _ in record.args)
            return True
        return False


_filter = _ThisThread()


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what the exporters log in this thread during the block."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # adding it again changes nothing
    _filter.exporting.now = True
    try:
        yield
    finally:
        _filter.exporting.now = False
