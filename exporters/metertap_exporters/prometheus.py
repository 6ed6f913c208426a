"""The Prometheus exporter: what the meter provider collects, and two views beside it.

The views are what a histogram cannot say: exact percentiles of the window, as a summary, and the
cache hit ratio.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from metertap import catalogue, faults, locks, state
from metertap.otel import resource, sdk
from metertap.otel.instruments import paced
from metertap.pacing import pause
from metertap.recording import Figures, OperationFigures, Recorder, ToolFigures
from metertap.settings import settings as process_settings
from metertap.settings.settings import Settings
from metertap.workers.sections import FIGURES, figures_of
from metertap_exporters.exposition.accept import Format, accepted, takes_gzip
from metertap_exporters.exposition.families import Family, Group, Labels, Quantiles, Series
from metertap_exporters.exposition.otel import Target, families
from metertap_exporters.exposition.summed import NAME, Summed, labelled, together
from metertap_exporters.exposition.text import Exposition, only
from metertap_exporters.http.app import App, Environ, Response, json_response
from metertap_exporters.http.endpoint import Endpoint
from metertap_exporters.http.shared import SharedRoute
from metertap_exporters.http.workers import EACH, HasLeft, no_worker, worker_asked

if TYPE_CHECKING:
    from metertap.workers.group import WorkerGroup
    from metertap.workers.holder import Gathered

_SECTIONS = (*FIGURES, NAME)
"""Sections that workers are asked for."""


class Views:
    """Exact percentiles of tool calls and MCP operations, longest calls, and caches' hit ratios."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._labels: dict[tuple[str | None, ...], Labels] = {}  # the same objects each scrape

    def families(self, figures: Figures | None = None) -> Iterator[Family]:
        """Make them from the recorder's figures, or others. No data is no sample, not 0."""
        figures = figures or self._recorder.lifetime()
        before, self._labels = self._labels, {}
        yield _family(
            catalogue.LATENCY_SUMMARY,
            "summary",
            "Latency of tool calls: exact percentiles of the last ones that succeeded or failed, "
            "none beyond the longest; count and sum of all that have a duration, of any outcome.",
            ("gen_ai_tool_name", "source"),
            (
                Series(
                    self._kept(before, gen_ai_tool_name=tool.name, source=tool.source),
                    _latencies(
                        tool, tool.sampled + tool.unsampled, tool.total_ms + tool.unsampled_ms
                    ),
                )
                for tool in figures.tools
            ),
        )
        yield _family(
            catalogue.LATENCY_MAX,
            "gauge",
            "Latency of the longest tool call that succeeded or failed since the start.",
            ("gen_ai_tool_name", "source"),
            (
                Series(
                    self._kept(self._labels, gen_ai_tool_name=tool.name, source=tool.source),
                    tool.maximum_ms / 1000.0,
                )
                for tool in figures.tools
                if tool.maximum_ms is not None
            ),
        )
        if figures.operations:
            yield _family(
                catalogue.OPERATION_SUMMARY,
                "summary",
                "Duration of MCP requests, by side: exact percentiles of the last ones, of any "
                "outcome, none beyond the longest. Histograms have their count and sum.",
                ("side", "mcp_method_name", "name"),
                (
                    Series(
                        self._kept(
                            before, side=item.side, mcp_method_name=item.method, name=item.name
                        ),
                        _latencies(item),
                    )
                    for item in figures.operations
                ),
            )
        yield _family(
            catalogue.HIT_RATIO,
            "gauge",
            "Hits among all lookups of a cache.",
            ("cache_name", "cache_system"),
            (
                Series(
                    self._kept(before, cache_name=cache.name, cache_system=cache.system),
                    cache.hits / (cache.hits + cache.misses),
                )
                for cache in figures.caches
                if cache.hits or cache.misses
            ),
        )

    def _kept(
        self, before: Mapping[tuple[str | None, ...], Labels], **labels: str | None
    ) -> Labels:
        """Return the labels of the scrape before, if there were these very ones."""
        key = (*labels, *labels.values())
        kept = before.get(key)
        if kept is None:
            kept = {name: value for name, value in labels.items() if value is not None}
        self._labels[key] = kept
        return kept


def _family(
    name: str, kind: str, description: str, labels: tuple[str, ...], series: Iterator[Series]
) -> Family:
    return Family(name, kind, description, groups=[Group({}, frozenset(labels), series)])


def _latencies(
    figures: ToolFigures | OperationFigures, count: int | None = None, total_ms: float = 0.0
) -> Quantiles:
    shown = figures.percentiles.at_most(figures.maximum_ms)
    known = [
        (quantile, value / 1000.0)
        for quantile, value in (("0.5", shown.p50), ("0.95", shown.p95), ("0.99", shown.p99))
        if value is not None
    ]
    return Quantiles(known, count, total_ms / 1000.0)


class PrometheusScrapeReader(MetricReader):
    """A reader that collects when it is asked to, every metric cumulative."""

    exports_prometheus = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(**sdk.series_limits(settings.series_limit))
        self._collecting = locks.lock()
        self._latest: MetricsData | None = None

    def collected(self) -> MetricsData | None:
        """Collect now; None where there is nothing."""
        with self._collecting:
            self._latest = None
            if sdk.is_attached(self):
                was_paced = paced.set(pause)
                try:
                    self.collect()
                finally:
                    paced.reset(was_paced)
            latest, self._latest = self._latest, None
            return latest

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_kwargs: Any
    ) -> None:
        self._latest = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Nothing is held open."""


class PrometheusExporter:
    """The views and, while a reader is attached, the provider's metrics; and their endpoint."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Use `settings` in place of those in force, if they are given."""
        self._settings = settings = settings or state.settings()
        self._views = Views(state.recorder())
        self._target = Target()
        self._summed = Summed()
        self._exposition = Exposition(pause)
        self._route = SharedRoute(self._serve, _kind)
        self.reader: PrometheusScrapeReader | None = None
        self.group: WorkerGroup | None = None
        """The workers that this process answers for where it holds their port."""
        self.app = App({"/metrics": self._route, "/targets": self._serve_targets})
        self.endpoint = Endpoint.by(settings, "prometheus", self.app)

    def new_reader(self) -> PrometheusScrapeReader:
        """Make a reader for one provider: from now on its metrics are shown, not another's."""
        self.reader = PrometheusScrapeReader(self._settings)
        return self.reader

    def text(self, *, is_openmetrics: bool = False) -> bytes:
        """Collect, and write all of it. For one thread at a time."""
        return self._exposition.text(self._families(), is_openmetrics=is_openmetrics)

    def forked(self) -> None:
        """Reset a forked child: no listener until one is needed, and nobody who waits."""
        self.endpoint.forked()
        self._route.forked()

    def collected(self) -> Iterable[Family]:
        """Collect what the provider has in this process, and nothing of the views."""
        reader = self.reader
        data = None if reader is None else faults.kept("prometheus.collect", reader.collected, None)
        if data is None:
            return ()
        with faults.guarded("prometheus.target"):
            self._target.family(data)
        return families(data)

    def _families(self) -> Iterator[Family]:
        """Make them; a fault of ours costs the views, or what was collected."""
        gathered = self._gathered()
        with faults.guarded("prometheus.views"):
            merged = None if gathered is None else figures_of(gathered.merged)
            yield from self._views.families(merged)
        with faults.guarded("prometheus.families"):
            if gathered is None:
                collected = self.collected()
            else:
                collected = self._summed.families(gathered.merged[NAME])
            if self._target.known is not None:
                yield self._target.known
            yield from collected

    def _gathered(self) -> Gathered | None:
        group = self.group
        if group is None:
            return None
        found = faults.kept("prometheus.workers", lambda: group.gathered(_SECTIONS), None)
        if found is None and self.endpoint.may_bind is not None and group.has_left:
            raise HasLeft  # its own counts would seem to be those of all
        return found

    def _of_workers(self, gathered: Gathered, pids: Sequence[int]) -> Iterator[Family]:
        """Make the families of some workers, each apart from the others by the label `worker`."""
        for pid in pids:
            sheet = gathered.sheets[pid]
            if () in sheet.get("whole", {}):
                found = [*self._views.families(figures_of(sheet))]
                found += self._summed.families(sheet[NAME])
                yield from labelled(found, worker=str(pid))

    def _text_of(self, asked: str, *, is_openmetrics: bool) -> bytes | Response:
        """Write what one worker has, or each of them; answer otherwise if there is none."""
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
        """Answer what `http_sd_configs` of a Prometheus asks: each worker is a target of its own.

        All are scraped at this address, by the parameter `worker`.
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
    """Read from a request what scrapes differ in: format, compression, and wanted samples."""
    names = parse_qs(environ.get("QUERY_STRING", "")).get("name[]", ())
    takes_gzipped = takes_gzip(environ.get("HTTP_ACCEPT_ENCODING"))
    return accepted(environ.get("HTTP_ACCEPT")), takes_gzipped, frozenset(names)


class PrometheusReader(PrometheusScrapeReader):
    """The reader that `OTEL_METRICS_EXPORTER=metertap_prometheus` and the declarative file create.

    The SDK gives no arguments: the settings in force count. The declarative file may give `host`
    and `port`.
    """

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        settings = state.settings()
        if host is not None or port is not None:
            settings = process_settings.read({"prometheus_host": host, "prometheus_port": port})
        self.exporter = PrometheusExporter(settings)
        self.exporter.reader = self
        super().__init__(settings)
        if settings.enabled:
            state.recorder().on_activity(self.exporter.endpoint.start)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Close the endpoint: the provider that made this reader ends."""
        state.recorder().forget_activity_callback(self.exporter.endpoint.start)
        self.exporter.endpoint.stop()
        super().shutdown(timeout_millis, **kwargs)
