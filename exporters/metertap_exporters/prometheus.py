"""The Prometheus exporter: the meter provider's metrics, and metertap's views beside them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from opentelemetry.sdk.metrics.export import MetricsData

from metertap import faults, state
from metertap.otel import resource
from metertap.otel.aggregations import collect_in_pieces
from metertap.otel.instruments import paced
from metertap.pacing import pause
from metertap.settings.settings import Settings
from metertap.workers.sections import FIGURES, figures_of
from metertap_exporters.exposition.accept import Format, accepted, takes_gzip
from metertap_exporters.exposition.families import Family
from metertap_exporters.exposition.otel import Target, families
from metertap_exporters.exposition.summed import NAME, Summed, labelled, together
from metertap_exporters.exposition.text import Exposition, only
from metertap_exporters.exposition.views import Views
from metertap_exporters.http.app import App, Environ, Response, json_response
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.shared import SharedRoute
from metertap_exporters.http.workers import EACH, no_worker, worker_asked
from metertap_exporters.on_demand import OnDemandReader, of_all_workers, settings_with

if TYPE_CHECKING:
    from metertap.workers.group import WorkerGroup
    from metertap.workers.holder import Gathered


class PrometheusScrapeReader(OnDemandReader):
    """A reader that collects on demand, with every metric cumulative."""

    exports_prometheus = True

    def collected(self) -> MetricsData | None:
        """Collect now; None if there is nothing."""
        with faults.guarded("prometheus.pieces"):
            collect_in_pieces(self)
        return self._collected(paced, pause)


class PrometheusExporter:
    """The views, the provider's metrics while a reader is attached, and their endpoint."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Use `settings`, if they are given, instead of those in force."""
        self._settings = settings = settings or state.settings()
        self._views = Views(state.recorder())
        self._target = Target()
        self._summed = Summed()
        self._exposition = Exposition(pause)
        self._route = SharedRoute(self._serve, _kind)
        self.reader: PrometheusScrapeReader | None = None
        self.group: WorkerGroup | None = None
        """The workers for which this process answers while it holds their port."""
        self.app = App({"/metrics": self._route, "/targets": self._serve_targets})
        self.endpoint = Endpoint.by(settings, "prometheus", self.app)

    def new_reader(self) -> PrometheusScrapeReader:
        """Return a reader for one provider, whose metrics are shown from now on."""
        self.reader = PrometheusScrapeReader(self._settings)
        return self.reader

    def text(self, *, is_openmetrics: bool = False) -> bytes:
        """Collect, and return everything as text. For one thread at a time."""
        return self._exposition.text(self._families(), is_openmetrics=is_openmetrics)

    def forked(self) -> None:
        """Reset a forked child: no listener until it is needed, and no waiting threads."""
        self.endpoint.forked()
        self._route.forked()

    def collected(self) -> Iterable[Family]:
        """Collect the provider's metrics in this process, without the views."""
        reader = self.reader
        data = None if reader is None else faults.kept("prometheus.collect", reader.collected, None)
        if data is None:
            return ()
        with faults.guarded("prometheus.target"):
            self._target.family(data)
        return families(data)

    def _families(self) -> Iterator[Family]:
        """Yield all families; a fault leaves out the views, or the provider's metrics."""
        gathered = self._gathered()
        with faults.guarded("prometheus.views"):
            merged = None if gathered is None else figures_of(gathered.merged)
            yield from self._views.families(merged, is_kept=gathered is not None)
        with faults.guarded("prometheus.families"):
            if gathered is None:
                collected = self.collected()
            else:
                collected = self._summed.families(gathered.merged[NAME], is_kept=True)
            if self._target.known is not None:
                yield self._target.known
            yield from collected

    def _gathered(self) -> Gathered | None:
        return of_all_workers(self.group, self.endpoint, (*FIGURES, NAME), "prometheus.workers")

    def _of_workers(self, gathered: Gathered, pids: Sequence[int]) -> Iterator[Family]:
        """Yield the families of some workers, with the label `worker`."""
        for pid in pids:
            sheet = gathered.sheets[pid]
            if () in sheet.get("whole", {}):
                found = [*self._views.families(figures_of(sheet))]
                found += self._summed.families(sheet[NAME])
                yield from labelled(found, worker=str(pid))

    def _text_of(self, asked: str, *, is_openmetrics: bool) -> bytes | Response:
        """Return the families of one worker, or of each, as text; an error for an unknown one."""
        gathered = self._gathered()
        known = [os.getpid()] if gathered is None else [item.pid for item in gathered.workers]
        pids = known if asked == EACH else [pid for pid in known if str(pid) == asked]
        if not pids:
            return no_worker(asked, known)
        if gathered is None:
            found = labelled([*self._views.families(), *self.collected()], worker=str(pids[0]))
        else:
            found = together(self._of_workers(gathered, pids))
        return Exposition(pause).text(found, is_openmetrics=is_openmetrics)

    def _serve_targets(self, environ: Environ) -> Response:
        """Answer Prometheus's `http_sd_configs`: each worker is a target.

        All are scraped at this address, with the parameter `worker`.
        """
        address = str(environ.get("HTTP_HOST", ""))
        service = resource.identity(self._settings)["service.name"]
        gathered = None if self.group is None else self.group.gathered(("whole",))
        apart = (
            [{}]
            if gathered is None
            else [
                {"__param_worker": str(item.pid), "instance": f"{address}/{item.pid}"}
                for item in gathered.workers
            ]
        )
        return json_response(
            200, [{"targets": [address], "labels": {"service": service, **one}} for one in apart]
        )

    def _serve(self, environ: Environ) -> Response:
        wanted, takes_gzipped, names = _asked(environ)
        asked = worker_asked(environ)
        body: bytes | Response
        if asked:
            body = self._text_of(asked, is_openmetrics=wanted.is_openmetrics)
            if isinstance(body, Response):
                return body
        else:
            body = self.text(is_openmetrics=wanted.is_openmetrics)
        if names:
            body = only(body, names)
        if not takes_gzipped:
            return Response(200, wanted.content_type, body)
        body = gzip.compress(body, compresslevel=1)
        return Response(200, wanted.content_type, body, (("Content-Encoding", "gzip"),))


def _kind(environ: Environ) -> tuple[object, ...]:
    return *_asked(environ), worker_asked(environ)


def _asked(environ: Environ) -> tuple[Format, bool, frozenset[str]]:
    """Return what differs between scrapes: format, compression, and wanted samples."""
    names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ())
    takes_gzipped = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING"))
    return accepted(environ.get("HTTP_ACCEPT")), takes_gzipped, frozenset(names)


class PrometheusReader(PrometheusScrapeReader):
    """The reader that `OTEL_METRICS_EXPORTER=metertap_prometheus` and the declarative file create.

    The SDK passes no arguments, so the settings in force apply. The declarative file may give
    `host` and `port`.
    """

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        settings = settings_with("prometheus", host, port)
        super().__init__(settings)
        self.exporter = PrometheusExporter(settings)
        self.exporter.reader = self
        self._open(self.exporter.endpoint, settings)
