"""Metric readers that collect on demand: the common part of JSON and Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from metertap import faults, locks, state
from metertap.otel import sdk
from metertap.settings import settings as process_settings
from metertap.settings.settings import Settings
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.workers import HasLeft

if TYPE_CHECKING:
    from metertap.workers.group import WorkerGroup
    from metertap.workers.holder import Gathered

T = TypeVar("T")


class OnDemandReader(MetricReader):
    """A reader that collects on demand, with an endpoint if the SDK made it by name."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(**sdk.series_limits(settings.series_limit))
        # Reentrant: a signal handler may ask for figures while this thread collects.
        self._collecting = locks.rlock()
        self._latest: MetricsData | None = None
        self._endpoint: Endpoint | None = None

    def _collected(self, variable: ContextVar[T], value: T) -> MetricsData | None:
        """Collect now, with a context variable set; None if there is nothing.

        Nor is there anything within the SDK, such as for a callback of the program's.
        """
        if sdk.is_within():
            return None
        # One at a time: two requests would otherwise get each other's data.
        with self._collecting:
            around, self._latest = self._latest, None
            try:
                if sdk.is_attached(self):
                    context = copy_context()  # in its own one, an interrupt would leave it set
                    context.run(variable.set, value)
                    with sdk.outlasting_callbacks():
                        context.run(self.collect)
                return self._latest
            finally:
                self._latest = around

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_kwargs: Any
    ) -> None:
        self._latest = metrics_data

    def _open(self, endpoint: Endpoint, settings: Settings) -> None:
        """Open `endpoint` with the first record, until this reader's provider ends."""
        self._endpoint = endpoint
        if settings.enabled:
            state.recorder().on_activity(endpoint.start)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Close the endpoint, if it has one, since the provider ends."""
        if self._endpoint is not None:
            state.recorder().forget_activity_callback(self._endpoint.start)
            self._endpoint.stop()


def settings_with(label: str, host: str | None, port: int | None) -> Settings:
    """Return the settings in force, with the address that the declarative file may give."""
    if host is None and port is None:
        return state.settings()
    return process_settings.read({f"{label}_host": host, f"{label}_port": port})


def of_all_workers(
    group: WorkerGroup | None, endpoint: Endpoint, sections: Sequence[str], place: str
) -> Gathered | None:
    """Ask all workers for their sections; None if this process answers for itself alone.

    Faults are counted at `place`. Raises `HasLeft` if the counts of this process could be mistaken
    for those of all.
    """
    if group is None:
        return None
    found = faults.kept(place, lambda: group.gathered(sections), None)
    if found is None and endpoint.may_bind is not None and group.has_left:
        raise HasLeft
    return found
