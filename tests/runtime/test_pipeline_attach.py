"""Beside a provider that the application has set: nothing is replaced, everything is shared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

import metertap
from metertap import Tap
from metertap.otel import sdk
from support.exposition import samples
from support.http import get
from support.metric_data import by_attributes, points
from support.providers import ApiProvider
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.sdk

DURATION = "gen_ai.execute_tool.duration"


@pytest.fixture
def theirs() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(theirs: InMemoryMetricReader) -> Iterator[MeterProvider]:
    """The application's provider, which is the global one."""
    made = MeterProvider([theirs], shutdown_on_exit=False)
    metrics.set_meter_provider(made)
    yield made
    made.shutdown()


def readers(tap: Tap) -> list[tuple[str, str]]:
    return [(item["reader"], item["added_by"]) for item in tap.diagnosis()["readers"]]


def test_their_readers_see_what_metertap_measures(
    provider: MeterProvider, theirs: InMemoryMetricReader
) -> None:
    with metertap.instrument():
        metertap.record_tool_call("search", True, 250.0)
        metertap.cache_meter("prompts").hit()
        (duration,) = points(theirs, DURATION)
        assert (duration.count, duration.sum) == (1, 0.25)
        assert dict(duration.attributes) == {"gen_ai.tool.name": "search", "metertap.outcome": "ok"}
        hits = {
            point.attributes["cache.request.type"]: point.value
            for point in points(theirs, "cache.requests")
        }
        assert hits == {"hit": 1, "miss": 0}


def test_a_call_that_ends_after_everything_was_forgotten_is_in_no_figures(
    provider: MeterProvider, theirs: InMemoryMetricReader
) -> None:
    @metertap.tool
    def search() -> Iterator[str]:
        yield "found"
        yield "found again"

    with metertap.instrument():
        begun = [search() for _ in range(3)]
        for call in begun:
            next(call)
    metertap.reset()
    with metertap.instrument() as tap:
        list(search())
        begun.clear()  # which ends these calls
        (duration,) = points(theirs, DURATION)
        assert duration.count == tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1


def test_nothing_of_theirs_is_replaced(provider: MeterProvider, theirs: MetricReader) -> None:
    with metertap.instrument(prometheus=True) as tap:
        assert metrics.get_meter_provider() is provider
        assert tap.pipeline.provider is provider
        assert tap.pipeline.owned is None
        assert theirs in sdk.readers_of(provider)


def test_shutdown_takes_our_readers_away_and_leaves_their_provider_running(
    provider: MeterProvider, theirs: InMemoryMetricReader
) -> None:
    counter = provider.get_meter("theirs").create_counter("sold")
    with metertap.instrument(prometheus=True) as tap:
        assert readers(tap) == [
            ("InMemoryMetricReader", "application"),
            ("JsonMetricReader", "metertap"),
            ("PrometheusScrapeReader", "metertap"),
        ]
    assert sdk.readers_of(provider) == [theirs]
    counter.add(1)
    assert [point.value for point in points(theirs, "sold")] == [1]
    provider.get_meter("another").create_counter("works").add(1)
    assert len(points(theirs, "works")) == 1


def test_our_views_see_their_instruments(provider: MeterProvider) -> None:
    provider.get_meter("theirs").create_counter("sold").add(3)
    with metertap.instrument(prometheus=True) as tap:
        provider.get_meter("theirs").create_counter("bought").add(4)
        histogram = provider.get_meter("theirs").create_histogram(DURATION, "s")
        histogram.record(0.5, {"gen_ai.tool.name": "lookup"})
        metertap.cache_meter("any")
        assert tap.snapshot()["tool_metrics"]["lookup"]["method"] == "estimate"
        url = wait_for(lambda: tap.prometheus_url)
        assert "bought_total" in {name for name, _ in samples(get(url + "/metrics").body)}


def test_the_keyword_wins_over_the_global_provider(provider: MeterProvider) -> None:
    mine = InMemoryMetricReader()
    other = MeterProvider([mine], shutdown_on_exit=False)
    with metertap.instrument(meter_provider=other) as tap:
        metertap.record_tool_call("search", True, 1.0)
        assert tap.pipeline.provider is other
        assert len(points(mine, DURATION)) == 1
    other.shutdown()


def test_the_service_is_their_resources(theirs: InMemoryMetricReader) -> None:
    resource = Resource.create({"service.name": "shop", "service.version": "7"})
    metrics.set_meter_provider(MeterProvider([theirs], resource, shutdown_on_exit=False))
    with metertap.instrument() as tap:
        found = tap.snapshot()["service"]
    assert (found["name"], found["version"]) == ("shop", "7")


def test_a_resource_that_nobody_named_does_not_make_the_service_unknown(
    provider: MeterProvider,
) -> None:
    with metertap.instrument() as tap:
        assert not tap.snapshot()["service"]["name"].startswith("unknown_service")


def otlp_reader() -> MetricReader:
    exporter = OTLPMetricExporter(endpoint="http://127.0.0.1:1/v1/metrics")
    return PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))


def test_where_they_export_otlp_already_there_is_no_second_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    metrics.set_meter_provider(MeterProvider([otlp_reader()], shutdown_on_exit=False))
    with metertap.instrument() as tap:
        assert readers(tap) == [
            ("PeriodicExportingMetricReader", "application"),
            ("JsonMetricReader", "metertap"),
        ]
        assert "the application exports OTLP itself: no second reader" in tap.diagnosis()["notes"]


def test_where_they_export_prometheus_already_there_is_no_second_endpoint() -> None:
    standard = PrometheusMetricReader(registry=CollectorRegistry())
    metrics.set_meter_provider(MeterProvider([standard], shutdown_on_exit=False))
    with metertap.instrument(prometheus=True) as tap:
        metertap.cache_meter("any")
        wait_for(lambda: tap.json_url)
        assert [item["name"] for item in tap.diagnosis()["endpoints"]] == ["json"]
        (note,) = [item for item in tap.diagnosis()["notes"] if "Prometheus" in item]
        assert note.startswith("the application exports Prometheus itself: no second endpoint")


@pytest.mark.parametrize("chosen", [True, False], ids=["keyword", "global"])
def test_a_provider_that_takes_no_readers_is_recorded_to_beside_ours(chosen: bool) -> None:
    api = ApiProvider()
    options: dict[str, Any] = {"meter_provider": api} if chosen else {}
    if not chosen:
        metrics.set_meter_provider(api)
    with metertap.instrument(**options) as tap:
        metertap.record_tool_call("search", True, 250.0)
        assert api.recorded == [(DURATION, 0.25, "search")]
        assert tap.pipeline.owned is not None
        assert readers(tap) == [("JsonMetricReader", "metertap")]
        mine = InMemoryMetricReader()
        tap.pipeline.owned.add_metric_reader(mine)
        metertap.record_tool_call("search", True, 250.0)
        assert [point.count for point in points(mine, DURATION)] == [1]
        note = "support.providers.ApiProvider takes no readers: ours have a provider of their own"
        assert note in tap.diagnosis()["notes"]


def test_a_provider_that_does_nothing_leaves_the_views_whole() -> None:
    metrics.set_meter_provider(NoOpMeterProvider())
    with metertap.instrument(prometheus=True) as tap:
        metertap.record_tool_call("search", True, 250.0)
        url = wait_for(lambda: tap.prometheus_url)
        assert "gen_ai_execute_tool_duration_seconds_count" in {
            name for name, _ in samples(get(url + "/metrics").body)
        }


def test_a_provider_of_ours_is_never_the_global_one() -> None:
    with metertap.instrument() as tap:
        assert tap.pipeline.owned is not None
        assert metrics.get_meter_provider() is not tap.pipeline.owned
        assert sdk.provider_in_force() is None


@pytest.mark.parametrize(("name", "logged"), [("", 0), (" ", 0), ("misspelt_provider", 1)])
def test_a_provider_that_the_environment_names_and_that_is_none_leaves_all_figures(
    name: str,
    logged: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_METER_PROVIDER", name)
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 250.0)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
    assert len([record for record in caplog.records if record.exc_info]) == logged
    assert warnings_of(caplog) == []


def test_a_limit_on_series_holds_for_our_readers_alone(
    provider: MeterProvider, theirs: InMemoryMetricReader
) -> None:
    if not sdk.series_limits(1):
        pytest.skip("this SDK has no limit on series (1.45 and later do)")
    counter = provider.get_meter("theirs").create_counter("sold")
    with metertap.instrument(prometheus=True, series_limit=3) as tap:
        for item in range(10):
            counter.add(1, {"item": str(item)})
        metertap.cache_meter("any")
        url = wait_for(lambda: tap.prometheus_url)
        names = [name for name, _ in samples(get(url + "/metrics").body)]
        assert names.count("sold_total") == 4  # three, and what overflows
        assert len(by_attributes(theirs, "sold")) == 10
