"""The JSON metric reader and its endpoint: `GET :9109/metrics`, `/healthz`, `/schema.json`, and the
live page at `/`.

The reader is attached to the provider in force, so that tools which other instrumentations
measure appear too (as estimates); what metertap recorded itself comes from the recorder, exact.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from metertap import faults, locks, state
from metertap.otel import sdk
from metertap.otel.instruments import silent
from metertap.settings import settings as process_settings
from metertap.settings.settings import Options, Settings
from metertap_exporters import page
from metertap_exporters.host import Host, NoHost
from metertap_exporters.http.app import App, Environ, Response, Route, json_error, json_response
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.shared import SharedRoute
from metertap_exporters.json.document import outline, with_entries
from metertap_exporters.json.foreign import ForeignTool, foreign_tools
from metertap_exporters.json.shape import Document
from metertap_exporters.json.text import DocumentText


class JsonMetricReader(MetricReader):
    """Collects on demand and keeps what the last collection found outside metertap's scope."""

    ignores_metertap = True
    """What metertap records need not be aggregated for it."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(**sdk.series_limits(settings.series_limit))
        self._collecting = locks.lock()
        self._latest: MetricsData | None = None

    def foreign(self) -> list[ForeignTool]:
        """Collect, and find the tools that only other instrumentations measured."""
        # One at a time: two requests would otherwise read each other's collection.
        with self._collecting:
            self._latest = None
            if sdk.is_attached(self):
                was_silent = silent.set(True)
                try:
                    with faults.guarded("json.collect"):
                        self.collect()
                finally:
                    silent.reset(was_silent)
            return foreign_tools(self._latest)

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_kwargs: Any
    ) -> None:
        self._latest = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Nothing is held open."""


class JsonSnapshot:
    """The JSON view of the recorder and its host, and the endpoint that serves it."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Use `settings` in place of those in force, if they are given."""
        self._settings = settings = settings or state.settings()
        self._recorder = state.recorder()
        self._host: Host = NoHost()
        self.reader: JsonMetricReader | None = None
        self._text = DocumentText()
        self._metrics = SharedRoute(self._serve_metrics, is_prometheus)
        shown = page.routes()
        routes: dict[str, Route] = {
            **shown,
            "/metrics": self._metrics,
            "/healthz": lambda _environ: json_response(200, {"status": "ok"}),
            "/schema.json": lambda _environ: json_response(200, schema()),
            "/doctor": lambda _environ: json_response(200, self._host.diagnosis()),
        }
        self.app = App(routes, parts=shown.keys() - {"/"})
        self.endpoint = Endpoint.by(settings, "json", self.app)

    def show(self, host: Host) -> None:
        """Show `host` from now on."""
        self.describe(host)
        self.endpoint.on_bound(host.settled)

    def describe(self, host: Host) -> None:
        """Take from `host` what no recorder knows, without an endpoint."""
        self._host = host

    def document(self) -> Document:
        """Build the JSON document as it is now."""
        return with_entries(self._outline())

    def text(self) -> bytes:
        """Write the same as JSON, at a fraction of the cost where little has happened since."""
        return self._text.of(self._outline())

    def _outline(self) -> dict[str, Any]:
        foreign = self.reader.foreign() if self.reader is not None else []
        return outline(
            self._recorder.figures(),
            enabled=self._settings.enabled,
            service=self._host.service(),
            foreign=foreign,
            alerts=self._host.alerts(),
        )

    def forked(self) -> None:
        """In a forked child: no listener until one is needed, nothing of what the parent saw."""
        self.endpoint.forked()
        self._metrics.forked()
        self._text.forget()
        self.reader = None

    def _serve_metrics(self, environ: Environ) -> Response:
        if not is_prometheus(environ):
            return Response(200, "application/json", self.text())
        # Prometheus shows the status line, and nothing else, as the target's last error.
        instead = self._host.where_prometheus_is() or (
            f"set PROMETHEUS_ENABLED=true and scrape port {self._settings.prometheus_port}"
        )
        advice = f"This is the JSON endpoint: {instead}"
        return json_error(406, advice, reason=advice)


def is_prometheus(environ: Environ) -> bool:
    """Say whether it is Prometheus who asks."""
    return "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS" in environ or str(
        environ.get("HTTP_USER_AGENT", "")
    ).startswith("Prometheus/")


class JsonReader(JsonMetricReader):
    """What `OTEL_METRICS_EXPORTER=metertap_json` and the declarative file make.

    The SDK gives no arguments: the settings in force count. The declarative file may give `host`
    and `port`.
    """

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        options: Options = {}
        if host is not None:
            options["json_host"] = host
        if port is not None:
            options["json_port"] = port
        settings = process_settings.read(options) if options else state.settings()
        super().__init__(settings)
        self.view = JsonSnapshot(settings)
        self.view.reader = self
        if settings.enabled:
            state.recorder().on_activity(self.view.endpoint.start)

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Close the endpoint: the provider that made this reader ends."""
        state.recorder().forget_activity_callback(self.view.endpoint.start)
        self.view.endpoint.stop()


def schema() -> dict[str, Any]:
    """Read the JSON Schema of the document."""
    text = resources.files("metertap_exporters").joinpath("schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
