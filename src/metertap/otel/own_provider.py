"""The meter provider that metertap makes where the program has none."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider

from metertap import locks


class OwnProvider(MeterProvider):
    """A provider that a forked child does not use: it makes another one at its first record."""

    def _handle_fork(self) -> None:
        # The SDK would ask detectors of resources here, in threads, which takes each child 10 ms
        # before its own first step. What is left of it are the locks that the parent may have held.
        self._lock = locks.lock()
        self._meter_lock = locks.lock()
        MeterProvider._all_metric_readers_lock = locks.lock()
