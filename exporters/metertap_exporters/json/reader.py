"""The JSON metric reader and its endpoint: `GET :9109/metrics`, `/healthz`, `/schema.json`, and the
live page at `/`.

The reader is attached to the provider in force, so that tools which other instrumentations measure
appear too, as estimates. What metertap itself recorded comes from the recorder, and is exact.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import MetricsData

from metertap import faults, state
from metertap.otel.instruments import silent
from metertap.recording import Figures, ToolFigures
from metertap.settings.settings import Settings
from metertap_exporters import page
from metertap_exporters.host import Host, NoHost
from metertap_exporters.http.app import App, Environ, Response, Route, json_error, json_response
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.shared import SharedRoute
from metertap_exporters.http.workers import HasLeft, no_worker, worker_asked
from metertap_exporters.json.document import outline, shown_again, shown_tools, with_entries
from metertap_exporters.json.foreign import ForeignTool, foreign_tools, tools_of
from metertap_exporters.json.text import DocumentText, dumped
from metertap_exporters.on_demand import OnDemandReader, of_all_workers, settings_with

if TYPE_CHECKING:
    from metertap.workers.group import WorkerGroup
    from metertap.workers.holder import Gathered, Worker
    from metertap_exporters.json.shape import Document


class JsonMetricReader(OnDemandReader):
    """A reader that collects, on demand, what others than metertap have recorded."""

    ignores_metertap = True
    """Whether metertap's own metrics need not be aggregated for this reader."""

    def collected(self) -> MetricsData | None:
        """Collect now; None if there is nothing."""
        return self._collected(silent, True)

    def foreign(self) -> list[ForeignTool]:
        """Collect, and return the tools that only other instrumentations measured."""
        return foreign_tools(faults.kept("json.collect", self.collected, None))


class JsonSnapshot:
    """The JSON view of the recorder and its host, and the endpoint that serves it."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Use `settings`, if they are given, instead of those in force."""
        self._settings = settings = settings or state.settings()
        self._recorder = state.recorder()
        self._host: Host = NoHost()
        self.reader: JsonMetricReader | None = None
        self.group: WorkerGroup | None = None
        """The workers for which this process answers while it holds their port."""
        self._text = DocumentText()
        self._tools = _NO_TOOLS
        """The tools of all workers as they were last shown, their section, and its figures."""
        self._metrics = SharedRoute(self._serve_metrics, _kind)
        shown = page.routes(settings.history, lambda: self._host.service().get("name"))
        routes: dict[str, Route] = {
            **shown,
            "/metrics": self._metrics,
            "/healthz": lambda _environ: json_response(200, {"status": "ok"}),
            "/schema.json": lambda _environ: json_response(200, schema()),
            # Shared, since it takes long: many at once would hold up the program's own threads.
            "/doctor": SharedRoute(
                lambda _environ: json_response(200, self._diagnosis()), lambda _environ: None
            ),
        }
        self._shared = [route for route in routes.values() if isinstance(route, SharedRoute)]
        self.app = App(routes, parts=shown.keys() - {"/"})
        self.endpoint = Endpoint.by(settings, "json", self.app)

    def show(self, host: Host) -> None:
        """Show `host` from now on."""
        self.describe(host)
        self.endpoint.on_bound(host.settled)

    def describe(self, host: Host) -> None:
        """Take from `host` what the recorder does not know, without an endpoint."""
        self._host = host

    def document(self) -> Document:
        """Build the JSON document of this process as it is now."""
        return with_entries(self._own())

    def text(self) -> bytes:
        """Return the document of all workers as JSON; what has not changed costs little.

        Without other workers, it is the document of this process.
        """
        gathered = self._gathered()
        return self._text.of(self._own() if gathered is None else self._of_all(gathered))

    def _gathered(self) -> Gathered | None:
        if self.group is None:
            return None
        from metertap.workers.sections import FIGURES  # imported with the first group of workers

        return of_all_workers(self.group, self.endpoint, (*FIGURES, "foreign"), "document.workers")

    def _own(self) -> dict[str, Any]:
        return self._outline(self._recorder.figures(), self.foreign())

    def _of_all(self, gathered: Gathered) -> dict[str, Any]:
        from metertap.workers.sections import figures_of

        found = gathered.merged
        figures = figures_of(found)
        foreign = tools_of(found["foreign"])
        tools, of, before = self._tools
        if foreign:
            tools, self._tools = shown_tools(figures.tools, foreign), _NO_TOOLS
        elif of is not found["tools"]:
            now = figures.tools
            again = faults.kept("document.tools", partial(shown_again, tools, before, now), None)
            tools = shown_tools(now, ()) if again is None else again
            self._tools = tools, found["tools"], now
        return self._outline(
            figures, foreign, tools=tools, whole=found["whole"][()], **_workers_of(gathered)
        )

    def _diagnosis(self) -> dict[str, Any]:
        """Return this process's diagnosis, with the workers and calls of its service."""
        found = dict(self._host.diagnosis())
        with faults.guarded("diagnosis.workers"), suppress(HasLeft):
            gathered = self._gathered()
            if gathered is not None:
                calls: Counter[str] = Counter()
                for tool in (part.figures for part in gathered.merged["tools"].values()):
                    calls[tool.name] += sum(tool.counts.values()) + tool.active
                found |= _workers_of(gathered)
                found["calls_of_all_workers"] = calls
        return found

    def _of_worker(self, gathered: Gathered, pid: int) -> dict[str, Any] | None:
        """Build the document of one worker; None if nothing is known of it."""
        sheet = gathered.sheets.get(pid, {})
        if () not in sheet.get("whole", {}):
            return None
        from metertap.workers.sections import figures_of

        outline = self._outline(
            figures_of(sheet), tools_of(sheet["foreign"]), whole=sheet["whole"][()]
        )
        (worker,) = (item for item in gathered.workers if item.pid == pid)
        outline["service"]["instance_id"] = worker.instance
        outline["workers"] = [_shown(worker)]
        return outline

    def foreign(self) -> list[ForeignTool]:
        """Return the tools that only other instrumentations measured in this process."""
        reader = self.reader
        return [] if reader is None else faults.kept("document.foreign", reader.foreign, [])

    def _outline(self, figures: Figures, foreign: list[ForeignTool], **more: Any) -> dict[str, Any]:
        return outline(
            figures,
            enabled=self._settings.enabled,
            service=faults.kept("document.service", self._host.service, {}),
            foreign=foreign,
            alerts=faults.kept("document.alerts", self._host.alerts, None),
            **more,
        )

    def forked(self) -> None:
        """Reset a forked child: no listener until it is needed, and no figures of the parent."""
        self.endpoint.forked()
        for route in self._shared:
            route.forked()
        self._text.forget()
        self._tools = _NO_TOOLS
        self.reader = None

    def _one(self, asked: str) -> Response:
        """Answer with the document of one worker, by its process id."""
        gathered = self._gathered()
        if gathered is None:
            found = self._own() if asked == str(os.getpid()) else None
        else:
            found = self._of_worker(gathered, int(asked)) if asked.isdecimal() else None
        if found is None:
            pids = [os.getpid()] if gathered is None else [item.pid for item in gathered.workers]
            return no_worker(asked, pids)
        return Response(200, "application/json", dumped(with_entries(found)).encode())

    def _serve_metrics(self, environ: Environ) -> Response:
        if not is_prometheus(environ):
            asked = worker_asked(environ)
            return self._one(asked) if asked else Response(200, "application/json", self.text())
        # Prometheus shows only the status line, as the target's last error.
        instead = self._host.where_prometheus_is() or (
            f"set PROMETHEUS_ENABLED=true and scrape port {self._settings.prometheus_port}"
        )
        advice = f"This is the JSON endpoint: {instead}"
        return json_error(406, advice, reason=advice)


_NO_TOOLS: tuple[Mapping[str, ToolFigures | ForeignTool], object, Sequence[ToolFigures]]
_NO_TOOLS = {}, None, ()


def _shown(worker: Worker) -> dict[str, Any]:
    return {each.name: getattr(worker, each.name) for each in fields(worker)}


def _workers_of(gathered: Gathered) -> dict[str, Any]:
    return {
        "workers": [*map(_shown, gathered.workers)],
        "ended_workers": gathered.ended,
        "killed_workers": gathered.killed,
    }


def _kind(environ: Environ) -> tuple[bool, str]:
    return is_prometheus(environ), worker_asked(environ)


def is_prometheus(environ: Environ) -> bool:
    """Return whether the request comes from Prometheus."""
    return "HTTP_X_PROMETHEUS_SCRAPE_TIMEOUT_SECONDS" in environ or str(
        environ.get("HTTP_USER_AGENT", "")
    ).startswith("Prometheus/")


class JsonReader(JsonMetricReader):
    """The reader that `OTEL_METRICS_EXPORTER=metertap_json` and the declarative file create.

    The SDK passes no arguments, so the settings in force apply. The declarative file may give
    `host` and `port`.
    """

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        settings = settings_with("json", host, port)
        super().__init__(settings)
        self.view = JsonSnapshot(settings)
        self.view.reader = self
        self._open(self.view.endpoint, settings)


def schema() -> dict[str, Any]:
    """Return the document's JSON Schema."""
    text = resources.files("metertap_exporters").joinpath("schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
