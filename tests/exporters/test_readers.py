"""Readers of the views: where they listen, and that a collection for one leaves others alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, state
from metertap.otel.instruments import silent
from metertap.pacing import pause
from metertap_exporters import on_demand
from metertap_exporters.http.endpoint import _Listening
from metertap_exporters.json.reader import JsonMetricReader, JsonReader, JsonSnapshot, schema
from metertap_exporters.prometheus import (
    PrometheusExporter,
    PrometheusReader,
    PrometheusScrapeReader,
    paced,
)
from servers.otlp_receiver import receiver
from support.http import get
from support.interrupting import everywhere
from support.metric_data import points
from support.waiting import wait_for

pytestmark = pytest.mark.sdk


@pytest.fixture
def provider() -> Iterator[MeterProvider]:
    made = MeterProvider(shutdown_on_exit=False)
    yield made
    made.shutdown()


def record(provider: MeterProvider, seconds: float = 0.5) -> None:
    """As another instrumentation does."""
    histogram = provider.get_meter("other").create_histogram("gen_ai.execute_tool.duration", "s")
    histogram.record(seconds, {"gen_ai.tool.name": "search"})


def test_a_reader_without_a_provider_has_nothing(caplog: pytest.LogCaptureFixture) -> None:
    settings = state.settings()
    assert JsonMetricReader(settings).foreign() == []
    assert PrometheusScrapeReader(settings).collected() is None
    assert JsonSnapshot().document()["tool_metrics"] == {}
    assert PrometheusExporter().text().startswith(b"# HELP metertap_tool_latency_seconds")
    assert PrometheusExporter().text(is_openmetrics=True).endswith(b"# EOF\n")
    assert caplog.records == []  # the SDK warns whoever collects so


def test_an_interrupted_collection_silences_no_later_one(provider: MeterProvider) -> None:
    reader = JsonMetricReader(state.settings())
    provider.add_metric_reader(reader)

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        context = copy_context()

        def check(number: int) -> None:
            assert not context.run(silent.get), number

        return lambda: context.run(reader.foreign), check

    def is_here(file: str) -> bool:
        return file == on_demand.__file__

    assert everywhere(prepare, is_here) > 3


def test_what_one_collection_found_is_not_shown_by_the_next(provider: MeterProvider) -> None:
    reader = JsonMetricReader(state.settings())
    scraped = PrometheusScrapeReader(state.settings())
    for one in (reader, scraped):
        provider.add_metric_reader(one)
    record(provider)
    assert [tool.count for tool in reader.foreign()] == [1]
    assert scraped.collected() is not None
    assert scraped._latest is None
    reader._set_collect_callback(lambda *_args, **_kwargs: None)  # the provider has nothing more
    assert reader.foreign() == []
    scraped._set_collect_callback(lambda *_args, **_kwargs: None)
    assert scraped.collected() is None


def test_other_readers_see_what_metertap_recorded_after_a_document_and_a_scrape() -> None:
    memory = InMemoryMetricReader()
    provider = MeterProvider([memory], shutdown_on_exit=False)
    with metertap.instrument(meter_provider=provider, prometheus=True) as tap:
        metertap.record_cache_hit("prompts")
        record(provider)
        seen: list[tuple[bool, bool]] = []
        meter = provider.get_meter("program")
        meter.create_observable_gauge(
            "looks", [lambda _options: seen.append((silent.get(), paced.get() is pause)) or ()]
        )
        assert tap.snapshot()["tool_metrics"]["search"]["method"] == "estimate"
        assert not silent.get()
        exporter = tap.pipeline.prometheus
        assert exporter is not None
        assert b'cache_requests_total{cache_name="prompts"' in exporter.text()
        assert paced.get() is None
        assert sum(point.value for point in points(memory, "cache.requests")) == 1
        assert seen[1:] == [(False, True), (False, False)]
        assert all(not paces for _, paces in seen[:1])
    provider.shutdown()


@pytest.mark.parametrize("reader", [JsonReader, PrometheusReader])
def test_the_declarative_file_may_say_where_a_reader_listens(
    reader: type[JsonReader] | type[PrometheusReader], free_port: int
) -> None:
    name = "json" if reader is JsonReader else "prometheus"
    made = reader(host="localhost", port=free_port)
    try:
        view = made.view if isinstance(made, JsonReader) else made.exporter
        metertap.record_tool_call("search", True, 5.0)  # activity
        bound = view.endpoint.wait(60)
        assert bound is not None
        assert bound.endswith(f":{free_port}")
        assert getattr(view._settings, f"{name}_host") == "localhost"
        assert view.reader is made
    finally:
        made.shutdown()
    assert getattr(state.settings(), f"{name}_port") != free_port
    assert getattr(state.settings(), f"{name}_host") != "localhost"
    at_port = reader(port=free_port)
    view = at_port.view if isinstance(at_port, JsonReader) else at_port.exporter
    assert getattr(view._settings, f"{name}_port") == free_port
    at_port.shutdown()
    by_default = reader()
    view = by_default.view if isinstance(by_default, JsonReader) else by_default.exporter
    assert view._settings is state.settings()
    by_default.shutdown()


@pytest.mark.parametrize("reader", [JsonReader, PrometheusReader])
def test_a_reader_that_was_shut_down_opens_nothing(
    reader: type[JsonReader] | type[PrometheusReader],
) -> None:
    made = reader()
    made.shutdown()
    view = made.view if isinstance(made, JsonReader) else made.exporter
    metertap.record_tool_call("search", True, 5.0)
    assert view.endpoint.url is None


@pytest.mark.parametrize("reader", [JsonReader, PrometheusReader])
def test_a_reader_that_the_sdk_made_reads_its_provider(
    reader: type[JsonReader] | type[PrometheusReader],
) -> None:
    made = reader()
    provider = MeterProvider([made], shutdown_on_exit=False)
    record(provider)
    if isinstance(made, JsonReader):
        assert made.view.document()["tool_metrics"]["search"]["total_calls"] == 1
    else:
        assert b"gen_ai_execute_tool_duration_seconds_count" in made.exporter.text()
    provider.shutdown()


def test_what_metertap_records_is_not_aggregated_for_the_document(provider: MeterProvider) -> None:
    reader = JsonMetricReader(state.settings())
    provider.add_metric_reader(reader)
    with metertap.instrument(meter_provider=provider, json_endpoint=False):
        metertap.record_tool_call("search", True, 5.0)
        record(provider)
        assert [tool.count for tool in reader.foreign()] == [1]
        data = reader.collected()
        assert data is not None
        names = {
            metric.name
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if scope.scope.name == "metertap"
        }
        assert catalogue.TOOL_DURATION.name not in names


def test_a_provider_that_has_our_prometheus_reader_gets_no_other(provider: MeterProvider) -> None:
    provider.add_metric_reader(PrometheusScrapeReader(state.settings()))
    with metertap.instrument(meter_provider=provider, prometheus=True) as tap:
        assert tap.pipeline.prometheus is None


@pytest.mark.parametrize("make", [JsonSnapshot, PrometheusExporter])
def test_a_view_in_a_forked_child_has_nothing_of_its_parents(
    make: type[JsonSnapshot] | type[PrometheusExporter],
) -> None:
    metertap.record_tool_call("search", True, 5.0)
    view = make()
    route = view._metrics if isinstance(view, JsonSnapshot) else view._route
    route._waiting["any"] = 1  # a thread of the parent's
    view.endpoint._listening = _Listening()
    if isinstance(view, JsonSnapshot):
        view.reader = JsonMetricReader(state.settings())
        assert b"search" in view.text()
        assert view._text._kept
    view.forked()
    assert not route._waiting
    assert view.endpoint._listening is None
    if isinstance(view, JsonSnapshot):
        assert view.reader is None
        assert not view._text._kept


def test_the_schema_is_read_whole() -> None:
    assert schema()["properties"].keys() == dict(JsonSnapshot().document()).keys()


@pytest.mark.faults
def test_a_callback_that_ends_its_thread_ends_none_of_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callbacks: list[Any] = []
    provider = MeterProvider()
    provider.get_meter("app").create_observable_gauge(
        "rooms", [lambda options: callbacks[-1](options)]
    )

    def leave(_options: Any) -> list[Any]:
        raise SystemExit(3)

    callbacks.append(lambda _options: [])
    with receiver() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        patch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
        with metertap.instrument(prometheus=True, json_port=0, meter_provider=provider) as tap:
            metertap.record_tool_call("search", True, 12.5)
            wait_for(collector.tool_calls)
            callbacks.append(leave)
            wait_for(lambda: "otlp: RuntimeError: a callback ended by SystemExit" in caplog.text)
            for url in (tap.json_url, tap.prometheus_url):
                answer = get(f"{url}/metrics")
                assert (answer.status, b"search" in answer.body) == (200, True)
            with pytest.raises(SystemExit):  # in the program's own thread
                tap.snapshot()
            callbacks.append(callbacks[0])
            metertap.record_tool_call("search", True, 12.5)
            wait_for(lambda: collector.tool_calls() == {("search", "ok"): 2})
