"""OTLP by the standard variables, over HTTP or gRPC; the exporters are OpenTelemetry's own.

`Delivery` stands around an exporter, because metertap is a guest in somebody's process: a collector
that cannot be reached is one warning and not one for each export, and it is known whether anything
was delivered. The exporters go on trying for ten seconds whatever time they are given, so nobody
waits for an export longer than for the time that was given.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation

from metertap import faults, locks, state, threads
from metertap.otel import sdk
from metertap.settings.settings import Settings
from metertap.signal_mask import signals_kept_away
from metertap.text import printable
from metertap_exporters import grpc_core

if TYPE_CHECKING:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    from metertap_exporters.grpc_fork import Pause

INTERVAL_SECONDS = 5.0
"""Time between two exports where nobody set one."""
FIRST_SECONDS = 1.0
"""Time from the first tool or cache to the first export."""
_ALIKE = ExponentialBucketHistogramAggregation(max_size=1600, max_scale=6)
"""Exponential histograms with the same bounds in each process: 64 buckets to a doubling.

By itself the SDK starts with finer buckets and widens them as values come, each process to another
width. A store that adds buckets up by their bounds then has percentiles that are off by more than
ten percent.
"""
_HEADERS_LOGGER = "opentelemetry.util.re"
"""The logger of what reads `OTEL_EXPORTER_OTLP_HEADERS`, and quotes what it cannot read."""
_LOGGERS = (
    _HEADERS_LOGGER,
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.common._internal",
    "opentelemetry.sdk.metrics._internal.export",
)
_MOST_SAID = 200
"""The most characters of what a collector says that are shown."""
_LATE_SECONDS = 30.0
"""An export that takes longer is a problem: the exporters try for ten seconds."""


class Delivery(MetricExporter):
    """An exporter that warns once of a failure, and remembers whether anything was delivered."""

    def __init__(self, inner: MetricExporter, protocol: str, pause: Pause | None = None) -> None:
        # An exporter's preferences are attributes that the SDK itself reads from outside.
        super().__init__(
            preferred_temporality=inner._preferred_temporality,
            preferred_aggregation=_alike(inner._preferred_aggregation),
        )
        self.inner = inner
        self.protocol = protocol
        self.delivered = False
        self._discards = False
        self._failing = False
        self._refused: str | None = None
        """What the collector said of the newest collection, if it did not take all of that."""
        self._since: float | None = None
        """The time by the monotonic clock at which the export in progress began."""
        self.pause = pause
        self._exporting = locks.lock() if pause is None else pause.exporting
        self._telling = locks.lock()

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Hand one collection to the exporter; never raises."""
        result = MetricExportResult.FAILURE
        if self.pause is not None:
            self.pause.wait()
        with self._exporting:
            if self._discards:
                return MetricExportResult.SUCCESS
            self._since, self._refused = time.monotonic(), None
            # An exporter raises, too, where its time is over between two tries: not delivered.
            with suppress(Exception), _quiet():
                if self.pause is not None:
                    self.pause.resume()
                result = self.inner.export(metrics_data, timeout_millis=timeout_millis, **kwargs)
            self._since = None
            if result is MetricExportResult.SUCCESS:
                self.delivered = True
            self._tell(failing=result is not MetricExportResult.SUCCESS)
        return result

    @property
    def problem(self) -> str | None:
        """Return the problem of the newest export, if it has one."""
        since = self._since
        if since is not None and (seconds := time.monotonic() - since) > _LATE_SECONDS:
            return f"an export by {self.protocol} has taken {seconds:.0f} s so far"
        if self._failing:
            return f"the newest export by {self.protocol} was not delivered"
        return self._refused

    def heard(self, answer: ExportMetricsServiceResponse) -> None:
        """Note what a collector says of data points that it refuses, or of what it took."""
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
        """Return whether anything was delivered; if nothing was, discard all later exports.

        Waits for an export in progress, `timeout_seconds` at most. One that lasts longer will not
        be delivered.
        """
        ended = self._exporting.acquire(timeout=timeout_seconds)
        if not self.delivered:
            self._discards = True
        if ended:
            self._exporting.release()
        return self.delivered

    def tell_if_late(self) -> None:
        """Warn of an export that is still in progress, after all the time that it was given."""
        if self._exporting.locked():
            self._tell(failing=True)

    def discard(self) -> None:
        """Deliver nothing from now on."""
        self._discards = True

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return self.inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        with faults.guarded("otlp"), _quiet():
            self.inner.shutdown(timeout_millis=max(0.0, timeout_millis))


class OtlpReader(PeriodicExportingMetricReader):
    """A periodic reader that exports OTLP; its shutdown is short and may be repeated.

    Unless the operator set an interval (`OTEL_METRIC_EXPORT_INTERVAL`), it exports every
    `INTERVAL_SECONDS`, and first of all `FIRST_SECONDS` after the first tool or cache is seen. That
    bounds what a process loses that ends without notice.
    """

    def __init__(self, delivery: Delivery, settings: Settings) -> None:
        # The base class has a thread of its own unless the interval is infinite. That one knows
        # no first export, and outlives every reader in the child of a fork.
        super().__init__(delivery, math.inf, **sdk.series_limits(settings.series_limit))
        self.delivery = delivery
        self._interval = settings.export_interval_seconds or INTERVAL_SECONDS
        self._changed = locks.event()
        self._closed = False
        self._thread = threads.Thread(target=self._run, name="metertap-otlp", daemon=True)
        with suppress(RuntimeError):  # Python 3.12 starts none while it ends
            self._thread.start()
        if settings.export_interval_seconds is None:
            state.recorder().on_activity(self._changed.set)

    def force_flush(self, timeout_millis: float = 500) -> bool:
        """Export now. Returns after `timeout_millis` at most, and says whether it was enough."""
        flushed = threading.Event()

        def flush() -> None:
            with faults.guarded("flush"):
                super(OtlpReader, self).force_flush()
            flushed.set()

        threads.Thread(target=flush, name="metertap-flush", daemon=True).start()
        return flushed.wait(timeout_millis / 1000.0)

    def shutdown(self, timeout_millis: float = 500, **kwargs: Any) -> None:
        """Export once more, for at most `timeout_millis`, and end.

        May be repeated, also while it is under way: each call returns when that export is done.
        """
        was_closed = self._closed
        self._close()
        self._changed.set()
        if self._thread.ident is None:
            if not was_closed:
                self._run()
            return
        self._thread.join(timeout_millis / 1000)
        if self._thread.is_alive():
            self.delivery.tell_if_late()
            # Shut down, an exporter gives up what it is at. None can start while Python 3.12 ends;
            # then its thread ends with the process.
            with suppress(RuntimeError):
                threads.Thread(
                    target=self._shut_down, name="metertap-otlp-shutdown", daemon=True
                ).start()

    def _shut_down(self) -> None:
        """Shut down the exporter, in a thread of ours: it may hang."""
        with faults.guarded("otlp"), _quiet():
            super().shutdown(timeout_millis=0)

    def forked(self) -> None:
        """Stop exporting in a forked child: thread, connection and counts are the parent's."""
        self._close()
        self.delivery.discard()

    def _close(self) -> None:
        self._closed = True
        state.recorder().forget_activity_callback(self._changed.set)

    def _run(self) -> None:
        due = time.monotonic() + self._interval
        while not self._closed:
            if self._changed.wait(max(0.0, due - time.monotonic())):
                self._changed.clear()
                due = min(due, time.monotonic() + FIRST_SECONDS)
                continue
            due = max(due + self._interval, time.monotonic())
            self._export_now()
        self._export_now()
        self._shut_down()

    def _export_now(self) -> None:
        with faults.guarded("otlp"):
            if sdk.is_attached(self):  # it may be due before the provider has it
                self.collect(timeout_millis=self._export_timeout_millis)


def _alike(aggregations: dict[type, Aggregation] | None) -> dict[type, Aggregation]:
    """Return an exporter's aggregations, exponential ones with bounds that processes share."""
    return {
        instrument: _ALIKE
        if isinstance(aggregation, ExponentialBucketHistogramAggregation)
        else aggregation
        for instrument, aggregation in (aggregations or {}).items()
    }


def otlp_reader(settings: Settings) -> OtlpReader:
    """Make a reader that exports by the protocol of the settings, `http/protobuf` or `grpc`.

    Raises ModuleNotFoundError where the exporter of that protocol is not installed.
    """
    exporter: MetricExporter
    if settings.otlp_protocol == "grpc":
        with grpc_core.tells_errors_alone():
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
                OTLPMetricExporter as GrpcExporter,
            )

            from metertap_exporters.grpc_fork import Pause

            with _quiet(), signals_kept_away():  # grpc has threads of its own
                exporter = GrpcExporter()
        delivery = Delivery(exporter, settings.otlp_protocol, Pause(exporter))
        sdk.hear_answers(exporter, delivery.heard)
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter as HttpExporter,
        )

        from metertap_exporters.otlp_session import new_session

        session = new_session()
        with _quiet():
            exporter = HttpExporter(session=session)
        delivery = Delivery(exporter, settings.otlp_protocol)
        if session is not None:
            session.heard = delivery.heard
    return OtlpReader(delivery, settings)


class _ThisThread(logging.Filter):
    """A filter that drops what the exporters log in threads that are exporting for metertap.

    Of headers that cannot be read it lets the message through, and none of them.
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
def _quiet() -> Iterator[None]:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_filter)  # adding it again changes nothing
    _filter.exporting.now = True
    try:
        yield
    finally:
        _filter.exporting.now = False
