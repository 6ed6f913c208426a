"""The meter provider that metertap makes if the program has none."""

from __future__ import annotations

import os

from opentelemetry.sdk.metrics import MeterProvider, TraceBasedExemplarFilter
from opentelemetry.sdk.resources import Resource

from metertap import locks
from metertap.settings.telling import unusable

_EXEMPLAR_FILTER = "OTEL_METRICS_EXEMPLAR_FILTER"


class OwnProvider(MeterProvider):
    """A provider that a forked child does not use, since it makes another at its first record."""

    def __init__(self, resource: Resource) -> None:
        try:
            super().__init__(resource=resource, shutdown_on_exit=False)
        except ValueError as error:  # the SDK refuses the variable, also where it is empty
            given = os.environ.get(_EXEMPLAR_FILTER, "")
            if given.strip():
                unusable(_EXEMPLAR_FILTER, given, str(error), "trace_based")
            default = TraceBasedExemplarFilter()
            super().__init__(resource=resource, exemplar_filter=default, shutdown_on_exit=False)

    def _handle_fork(self) -> None:
        # The SDK would run resource detectors here, in threads, for 10 ms before the child's first
        # own step. Only the locks, which the parent may have held, need renewal.
        self._lock = locks.lock()
        self._meter_lock = locks.lock()
        MeterProvider._all_metric_readers_lock = locks.lock()
