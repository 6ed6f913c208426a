"""OTLP by the standard variables, over HTTP or gRPC: the reader that exports periodically.

The exporters are OpenTelemetry's own, inside a `metertap_exporters.otlp_delivery.Delivery`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    PeriodicExportingMetricReader,
)

from metertap import faults, locks, state, threads
from metertap.otel import sdk
from metertap.settings.settings import Settings
from metertap.signal_mask import signals_kept_away
from metertap.unmocked import unmocked
from metertap_exporters import grpc_core
from metertap_exporters.otlp_delivery import Delivery, quiet

INTERVAL_SECONDS = 5.0
"""Seconds between two exports, unless the operator sets another interval."""
FIRST_SECONDS = 1.0
"""Seconds from the first tool or cache to the first export."""


class OtlpReader(PeriodicExportingMetricReader):
    """A periodic reader that exports OTLP; its shutdown is short and may be repeated.

    Unless the operator sets an interval (`OTEL_METRIC_EXPORT_INTERVAL`), it exports every
    `INTERVAL_SECONDS`, and `FIRST_SECONDS` after the first tool or cache. That limits what is lost
    with a process that ends without notice.
    """

    def __init__(self, delivery: Delivery, settings: Settings) -> None:
        # Unless the interval is infinite, the base class starts a thread of its own, which knows no
        # first export, and outlives every reader in a forked child.
        super().__init__(delivery, math.inf, **sdk.series_limits(settings.series_limit))
        sdk.export_natively(self)
        self.delivery = delivery
        self._interval = settings.export_interval_seconds or INTERVAL_SECONDS
        self._changed = locks.event()
        self._closed = False
        self._thread = threads.Thread(target=self._run, name="metertap-otlp", daemon=True)
        self._has_thread = False
        with suppress(RuntimeError):  # no thread can start while Python 3.12 finalises
            self._thread.start()
            self._has_thread = True  # it may begin later
        if settings.export_interval_seconds is None:
            state.recorder().on_activity(self._changed.set)

    def force_flush(self, timeout_millis: float = 500) -> bool:
        """Export now. Returns after `timeout_millis` at most; True if that was long enough."""
        flushed = locks.event()

        def flush() -> None:
            with faults.guarded("flush"), sdk.outlasting_callbacks():
                super(OtlpReader, self).force_flush()
            flushed.set()

        threads.Thread(target=flush, name="metertap-flush", daemon=True).start()
        return flushed.wait(timeout_millis / 1000.0)

    def shutdown(self, timeout_millis: float = 500, **kwargs: Any) -> None:
        """Export once more, for at most `timeout_millis`, and end.

        May be repeated, also at the same time: each call returns when that export is done.
        """
        was_closed = self._closed
        self._close()
        self._changed.set()
        if not self._has_thread:
            if not was_closed:
                self._run()
            return
        self._thread.join(timeout_millis / 1000)
        if self._thread.is_alive():
            self.delivery.tell_if_late()
            # Shut down, an exporter gives up its export. If no thread can start, since Python 3.12
            # finalises, the exporter's thread ends with the process.
            with suppress(RuntimeError):
                threads.Thread(
                    target=self._shut_down, name="metertap-otlp-shutdown", daemon=True
                ).start()

    def _shut_down(self) -> None:
        """Shut the exporter down, in a thread of metertap, since it may hang."""
        with faults.guarded("otlp"), quiet():
            super().shutdown(timeout_millis=0)

    def forked(self) -> None:
        """Stop exporting in a forked child: thread, connection and counts are the parent's."""
        self._close()
        self.delivery.discard()

    def _close(self) -> None:
        self._closed = True
        state.recorder().forget_activity_callback(self._changed.set)

    def _run(self) -> None:
        due = unmocked.monotonic() + self._interval
        while not self._closed:
            if self._changed.wait(max(0.0, due - unmocked.monotonic())):
                self._changed.clear()
                due = min(due, unmocked.monotonic() + FIRST_SECONDS)
                continue
            due = max(due + self._interval, unmocked.monotonic())
            self._export_now()
        self._export_now()
        self._shut_down()

    def _export_now(self) -> None:
        with faults.guarded("otlp"):
            if sdk.is_attached(self):  # it may be due before the provider has it
                with sdk.outlasting_callbacks():
                    self.collect(timeout_millis=self._export_timeout_millis)


def otlp_reader(settings: Settings) -> OtlpReader:
    """Make a reader that exports by the protocol of the settings, `http/protobuf` or `grpc`.

    Raises ModuleNotFoundError if the exporter of that protocol is not installed.
    """
    exporter: MetricExporter
    if settings.otlp_protocol == "grpc":
        with grpc_core.tells_errors_alone():
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
                OTLPMetricExporter as GrpcExporter,
            )

            from metertap_exporters.grpc_fork import Pause

            with quiet(), signals_kept_away():  # grpc has threads of its own
                exporter = GrpcExporter()
        delivery = Delivery(exporter, settings.otlp_protocol, Pause(exporter))
        sdk.hear_answers(exporter, delivery.heard)
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (
            OTLPMetricExporter as HttpExporter,
        )

        from metertap_exporters.otlp_session import new_session

        session = new_session()
        with quiet():
            exporter = HttpExporter(session=session)
        delivery = Delivery(exporter, settings.otlp_protocol)
        if session is not None:
            session.sends, session.heard = delivery.sends, delivery.heard
    return OtlpReader(delivery, settings)
