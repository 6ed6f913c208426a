"""A switch between OpenTelemetry's instrumentor of the process and one meter provider."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metertap import catalogue, faults
from metertap._version import __version__
from metertap.otel.instruments import silent
from metertap_instrumentation.process.source import UTILIZATION, Read, Source


class Gate:
    """A stand-in for a meter provider and its meter, whose observations can be held back."""

    def __init__(self, provider: MeterProvider) -> None:
        self.is_open = False
        self.names: list[str] = []
        self._source: Source | None = None
        # Now: a provider that is shut down later warns whoever asks it for a meter.
        self._meter: Any = provider.get_meter(catalogue.SCOPE, __version__)

    def open(self, source: Source) -> None:
        """Let the instrumentor's observations through."""
        source.renew()
        if self._source is None:
            self._source = source
            source.register(self)
            self._meter = None
        self.is_open = True

    # What the instrumentor calls

    def get_meter(self, *_args: Any, **_kwargs: Any) -> Gate:
        return self

    def create_observable_counter(self, name: str, callbacks: Any = (), **told: str) -> Any:
        return self._meter.create_observable_counter(name, self._through(name, callbacks), **told)

    def create_observable_up_down_counter(self, name: str, callbacks: Any = (), **told: str) -> Any:
        create = self._meter.create_observable_up_down_counter
        return create(name, self._through(name, callbacks), **told)

    def create_observable_gauge(self, name: str, callbacks: Any = (), **told: str) -> Any:
        return self._meter.create_observable_gauge(name, self._through(name, callbacks), **told)

    def _through(self, name: str, callbacks: Iterable[Read]) -> list[Read]:
        assert self._source is not None
        self.names.append(name)
        return [self._callback(name, read, self._source) for read in callbacks]

    def _callback(self, name: str, read: Read, source: Source) -> Read:
        def callback(options: CallbackOptions) -> Iterable[Observation]:
            if self.is_open and not silent.get():
                with faults.guarded("process_metrics"):
                    return source.observations(name, read, options)
            return ()

        if name == UTILIZATION:
            source.observations(name, read, CallbackOptions())  # the first one is for nobody
        return callback
