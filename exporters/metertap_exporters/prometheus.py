"""The Prometheus exporter: OpenTelemetry's standard reader in a registry of its own, and two views.

The views are what a histogram cannot say: exact percentiles of the window, as a summary, and the
cache hit ratio. Scrapes are serialised, because the standard reader passes its collections
through one shared queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics.export import ExponentialHistogram, MetricsData
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metertap import catalogue, faults, locks, state
from metertap.otel import sdk
from metertap.recording import Recorder
from metertap.settings import settings as process_settings
from metertap.settings.settings import Options, Settings
from metertap_exporters.http.app import App, Environ, Response, Route, from_wsgi
from metertap_exporters.http.endpoint import Endpoint

_TOOL_LABEL = "gen_ai_tool_name"
_SOURCE_LABEL = "source"
_CACHE_LABELS = ("cache_name", "cache_system")


class Views(Collector):
    """`metertap_tool_latency_seconds` (a summary) and `metertap_cache_hit_ratio`."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def collect(self) -> Iterator[Metric]:
        """Make both families from the recorder's figures. No data is no sample, not 0."""
        figures = self._recorder.lifetime()
        latency = Metric(
            catalogue.LATENCY_SUMMARY,
            "Latency of tool calls: exact percentiles of the last calls (0.95 of fewer than 19, "
            "0.99 of fewer than 99 lie beyond the longest), count and sum of all.",
            "summary",
        )
        for tool in figures.tools:
            labels = {_TOOL_LABEL: tool.name, _SOURCE_LABEL: tool.source}
            found = tool.percentiles
            for quantile, value in (("0.5", found.p50), ("0.95", found.p95), ("0.99", found.p99)):
                if value is not None:
                    latency.add_sample(
                        catalogue.LATENCY_SUMMARY, {**labels, "quantile": quantile}, value / 1000.0
                    )
            latency.add_sample(f"{catalogue.LATENCY_SUMMARY}_count", labels, tool.sampled)
            latency.add_sample(f"{catalogue.LATENCY_SUMMARY}_sum", labels, tool.total_ms / 1000.0)
        yield latency

        ratio = GaugeMetricFamily(
            catalogue.HIT_RATIO, "Hits among all lookups of a cache.", labels=_CACHE_LABELS
        )
        for cache in figures.caches:
            total = cache.hits + cache.misses
            if total:
                ratio.add_metric((cache.name, cache.system), cache.hits / total)
        yield ratio


class SafePrometheusReader(PrometheusMetricReader):
    """The standard reader, which exponential histograms would break: those are left out."""

    def __init__(self, registry: CollectorRegistry, settings: Settings) -> None:
        super().__init__(registry=registry, **sdk.series_limits(settings.series_limit))

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> None:
        super()._receive_metrics(_without_exponential(metrics_data), timeout_millis, **kwargs)


def _without_exponential(metrics_data: MetricsData) -> MetricsData:
    resources = []
    for resource in metrics_data.resource_metrics:
        scopes = []
        for scope in resource.scope_metrics:
            kept = [item for item in scope.metrics if type(item.data) is not ExponentialHistogram]
            if len(kept) < len(scope.metrics):
                faults.warn_once(
                    "prometheus exponential",
                    "a View makes histograms exponential: the Prometheus exporter leaves them out",
                )
            scopes.append(replace(scope, metrics=kept))
        resources.append(replace(resource, scope_metrics=scopes))
    return replace(metrics_data, resource_metrics=resources)


class PrometheusExporter:
    """A registry with the views and, while attached, the provider's metrics; and its endpoint."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self._settings = settings
        self.registry = CollectorRegistry()
        self.registry.register(Views(recorder))
        self._scrapes = _Serialised(from_wsgi(make_wsgi_app(self.registry)))
        self.endpoint = Endpoint(
            label="prometheus",
            app=App({"/metrics": self._scrapes}),
            host=settings.prometheus_host,
            port=settings.prometheus_port,
            explicit=settings.is_explicit("prometheus_port"),
            variable="PROMETHEUS_PORT",
            allowed_hosts=settings.allowed_hosts,
        )

    def new_reader(self) -> PrometheusMetricReader:
        """A reader for one provider; until it is shut down its metrics are in the registry."""
        return SafePrometheusReader(self.registry, self._settings)

    def forked(self) -> None:
        """In a forked child: no listener until one is needed."""
        self.endpoint.forked()


class PrometheusReader(SafePrometheusReader):
    """What `OTEL_METRICS_EXPORTER=metertap_prometheus` and the declarative file make.

    The SDK gives no arguments: settings come from the environment. The declarative file may give
    `host` and `port`.
    """

    def __init__(self, host: str | None = None, port: int | None = None) -> None:
        options: Options = {}
        if host is not None:
            options["prometheus_host"] = host
        if port is not None:
            options["prometheus_port"] = port
        settings = process_settings.read(options)
        self.exporter = PrometheusExporter(settings, state.recorder())
        super().__init__(self.exporter.registry, settings)
        if settings.enabled:
            state.recorder().on_activity(self.exporter.endpoint.start)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Close the endpoint: the provider that made this reader ends."""
        state.recorder().forget_activity_callback(self.exporter.endpoint.start)
        self.exporter.endpoint.stop()
        super().shutdown(timeout_millis, **kwargs)


class _Serialised:
    """A route that is asked by one request at a time."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._lock = locks.lock()

    def __call__(self, environ: Environ) -> Response:
        with self._lock:
            return self._route(environ)
