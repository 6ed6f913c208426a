"""The readers that metertap adds to one meter provider, and the endpoints that serve them.

A provider gets only what it does not export already: the JSON view, Prometheus, OTLP. Readers that
the SDK made by name (`OTEL_METRICS_EXPORTER=metertap_json`) are used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.sdk.metrics.export import MetricReader

from metertap import faults, state
from metertap.install_command import install_command
from metertap.otel import sdk
from metertap.runtime.endings import END_SECONDS
from metertap.runtime.workers import Workers
from metertap.unmocked import unmocked
from metertap_exporters.host import Host

if TYPE_CHECKING:
    from metertap_exporters.http.endpoint import Endpoint
    from metertap_exporters.json.reader import JsonSnapshot
    from metertap_exporters.otlp import OtlpReader
    from metertap_exporters.prometheus import PrometheusExporter


class Mounted(NamedTuple):
    """The views that the program's own web application serves."""

    json: JsonSnapshot
    prometheus: PrometheusExporter
    join: Callable[[], None]
    """A function to call before the views answer, so that the workers answer together."""


class Readers:
    """Our readers on one provider at a time. Their endpoints stay when the provider changes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._settings = state.settings()
        self._recorder = state.recorder()
        self._provider: Any = None
        self._added: list[MetricReader] = []
        self._endpoints: list[Endpoint] = []  # ours, and not those of readers that the SDK made
        self.json: JsonSnapshot | None = None
        self.prometheus: PrometheusExporter | None = None
        self.otlp: OtlpReader | None = None
        self.otlp_problem: str | None = None
        self.mounted_json: JsonSnapshot | None = None
        self.mounted_prometheus: PrometheusExporter | None = None
        """The views for the program's own web application, if no endpoint of ours serves them."""
        self.workers = Workers(self._settings, self._recorder, self)

    def equip(self, provider: Any) -> None:
        """Add the readers that `provider` lacks."""
        self._provider = provider
        present = sdk.readers_of(provider)
        if self.mounted_prometheus is not None:
            self._add(self.mounted_prometheus.new_reader())
        for add in (self._add_json, self._add_prometheus, self._add_otlp):
            with faults.guarded(f"readers.{add.__name__.removeprefix('_')}"):
                add(present)

    def mounted(self) -> Mounted:
        """Return the views for a web application of the program; made if need be.

        Those made here have histograms only from now on.
        """
        if self.json is None and self.mounted_json is None:
            from metertap_exporters.json.reader import JsonSnapshot

            self.mounted_json = JsonSnapshot()
            self.mounted_json.describe(self._host)
        if self.prometheus is None and self.mounted_prometheus is None:
            from metertap_exporters.prometheus import PrometheusExporter

            self.mounted_prometheus = PrometheusExporter()
            if self._provider is not None:
                self._add(self.mounted_prometheus.new_reader())
        json, prometheus = (
            self.json or self.mounted_json,
            self.prometheus or self.mounted_prometheus,
        )
        assert json is not None
        assert prometheus is not None
        self.workers.mount(json, prometheus)
        return Mounted(json, prometheus, self.workers.join)

    def leave(self, but: MetricReader | None = None) -> None:
        """Remove our readers from the provider, except one that still has something to send."""
        for reader in self._added:
            if reader is not but:
                with faults.guarded("readers.leave"):
                    sdk.detach(self._provider, reader)
        self._added = []

    def close(self, until: float) -> None:
        """Close our endpoints, and wait until `until` by the monotonic clock at most."""
        for endpoint in list(self._endpoints):
            with faults.guarded("readers.close"):
                self._close(endpoint)
        self.workers.end(until)

    def rest(self) -> None:
        """Stop listening in this process; children that it forks may."""
        for view in (self.json, self.prometheus):
            if view is not None:
                self._recorder.forget_activity_callback(view.endpoint.start)
                view.endpoint.stop()
        self.workers.rest(unmocked.monotonic() + END_SECONDS)

    def forked(self) -> None:
        """Push nothing and listen nowhere in a forked child, until its first record."""
        self.workers.forked()
        for view in (self.json, self.prometheus, self.mounted_json, self.mounted_prometheus):
            if view is not None:
                view.forked()
        if self.mounted_prometheus is not None:
            self.mounted_prometheus.reader = None
        if self.otlp is not None:
            self.otlp.forked()
            self.otlp = None

    def listen_again(self) -> None:
        """Open the endpoints at the first record of a forked child."""
        for endpoint in self._endpoints:
            self._recorder.forget_activity_callback(endpoint.start)
            self._recorder.on_activity(endpoint.start)
        self.workers.wait_to_join()

    def described(self) -> list[tuple[str, bool]]:
        """List the provider's readers by class, and whether each is ours."""
        found = self._readers()
        return [(type(reader).__qualname__, reader in self._added) for reader in found]

    def _add_json(self, present: Sequence[MetricReader]) -> None:
        from metertap_exporters.json.reader import JsonMetricReader, JsonReader, JsonSnapshot

        made_by_sdk = next((item for item in present if isinstance(item, JsonReader)), None)
        if made_by_sdk is not None:
            self._drop(self.json)
            self.json = made_by_sdk.view
            self.json.reader = made_by_sdk
        elif self._settings.json_endpoint:
            if self.json is None:
                self.json = JsonSnapshot()
            self.json.reader = JsonMetricReader(self._settings)
            self._add(self.json.reader)
        if self.json is None:
            return
        self.workers.share(self.json)
        self.json.show(self._host)
        if made_by_sdk is None:
            self._open(self.json.endpoint)
        elif self._host.opens_at_once(self.json.endpoint):
            self.json.endpoint.start()

    def _add_prometheus(self, present: Sequence[MetricReader]) -> None:
        exported_already = any(sdk.exports_prometheus(item) for item in present)
        if not exported_already and not self._settings.prometheus:
            return
        from metertap_exporters.prometheus import PrometheusExporter, PrometheusReader

        if not exported_already:
            if self.prometheus is None:
                self.prometheus = PrometheusExporter()
            self._add(self.prometheus.new_reader())
            self.workers.share(self.prometheus)
            self.prometheus.endpoint.on_bound(self._host.settled)
            self._open(self.prometheus.endpoint)
            return
        self._drop(self.prometheus)
        self.prometheus = next(
            (item.exporter for item in present if isinstance(item, PrometheusReader)), None
        )
        if self.prometheus is not None:
            self.workers.share(self.prometheus)
            self.prometheus.endpoint.on_bound(self._host.settled)
            if self._host.opens_at_once(self.prometheus.endpoint):
                self.prometheus.endpoint.start()
        elif self._settings.prometheus:
            self._host.note(
                "the application exports Prometheus itself: no second endpoint, and so no "
                "summary and hit-ratio views"
            )

    def _add_otlp(self, present: Sequence[MetricReader]) -> None:
        if not self._settings.otlp:
            return
        if any(sdk.exports_otlp(item) for item in present):
            self._host.note("the application exports OTLP itself: no second reader")
            return
        from metertap_exporters.otlp import otlp_reader

        protocol = self._settings.otlp_protocol
        try:
            reader = otlp_reader(self._settings)
        except ModuleNotFoundError:
            self.otlp_problem = f"its exporter is not installed: {install_command('otlp')}"
        except Exception as error:  # a bad endpoint, header or certificate
            self.otlp_problem = faults.shown(error, str)
        else:
            self.otlp = reader
            self._add(reader)
            return
        faults.warn_once("otlp", "OTLP over %s cannot be set up: %s", protocol, self.otlp_problem)

    def _add(self, reader: MetricReader) -> None:
        self._provider.add_metric_reader(reader)
        self._added.append(reader)

    def _open(self, endpoint: Endpoint) -> None:
        if endpoint not in self._endpoints:
            self._endpoints.append(endpoint)
            self._recorder.on_activity(endpoint.start)
            if self._host.opens_at_once(endpoint):
                endpoint.start()

    def _drop(self, view: JsonSnapshot | PrometheusExporter | None) -> None:
        if view is not None and view.endpoint in self._endpoints:
            self._close(view.endpoint)

    def _close(self, endpoint: Endpoint) -> None:
        self._endpoints.remove(endpoint)
        self._recorder.forget_activity_callback(endpoint.start)
        endpoint.stop()

    def where_prometheus_is(self) -> str | None:
        """Return advice for a Prometheus that scrapes the JSON endpoint; None without any."""
        if self.prometheus is not None:
            endpoint = self.prometheus.endpoint
            address = endpoint.at("/metrics")
            return endpoint.problem if address is None else f"scrape {address} instead"
        theirs = [item for item in self._readers() if item not in self._added]
        if any(map(sdk.exports_prometheus, theirs)):
            return "scrape the port of the application's own Prometheus exporter (9464 by default)"
        return None

    def _readers(self) -> list[MetricReader]:
        return sdk.readers_of(self._provider)
