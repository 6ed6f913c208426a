"""A meter provider that knows OpenTelemetry's API and no SDK."""

from __future__ import annotations

from typing import Any

from opentelemetry.metrics import MeterProvider, NoOpHistogram, NoOpMeter


class ApiProvider(MeterProvider):
    """Keeps what is recorded in its histograms: metric, value and tool."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, float, str]] = []
        self.callbacks: dict[str, Any] = {}

    def get_meter(self, name: str, *_args: Any, **_kwargs: Any) -> _Meter:
        return _Meter(name, self)


class _Meter(NoOpMeter):
    def __init__(self, name: str, provider: ApiProvider) -> None:
        super().__init__(name)
        self._provider = provider

    def create_histogram(self, name: str, *args: Any, **kwargs: Any) -> _Histogram:
        return _Histogram(name, self._provider)

    def create_observable_counter(
        self, name: str, callbacks: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        (self._provider.callbacks[name],) = callbacks
        return super().create_observable_counter(name, callbacks, *args, **kwargs)


class _Histogram(NoOpHistogram):
    def __init__(self, name: str, provider: ApiProvider) -> None:
        super().__init__(name)
        self._name = name
        self._provider = provider

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self._provider.recorded.append((self._name, amount, attributes["gen_ai.tool.name"]))
