"""The meter provider that metertap makes if the program has none."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider

from metertap import locks


class OwnProvider(MeterProvider):
    """A provider that a forked child does not use, since it makes another at its first record."""

    def _handle_fork(self) -> None:
        # The SDK would run resource detectors here, in threads, for 10 ms before the child's first
        # own step. Only the locks, which the parent may have held, need renewal.
        self._lock = locks.lock()
        self._meter_lock = locks.lock()
        MeterProvider._all_metric_readers_lock = locks.lock()
