"""Instrumenting again: a provider takes each instrument once, and must not count anything twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

import metertap
from metertap.otel import sdk
from metertap.otel.instruments import OtelInstruments
from metertap.state import recorder
from servers.otlp_receiver import receiver
from support.http import get
from support.metric_data import points
from support.waiting import wait_for

pytestmark = pytest.mark.sdk

DURATION = "gen_ai.execute_tool.duration"


@pytest.fixture
def theirs() -> Iterator[InMemoryMetricReader]:
    """A reader of the application's provider, which is the global one."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    yield reader
    provider.shutdown()


def record() -> None:
    metertap.record_tool_call("search", True, 20.0)
    metertap.cache_meter("prompts").hit()


def counts(reader: InMemoryMetricReader) -> tuple[int, int]:
    """Calls and hits, each as the sum over all points."""
    hit = [p.value for p in points(reader, "cache.requests") if "hit" in p.attributes.values()]
    return sum(point.count for point in points(reader, DURATION)), sum(hit)


def test_the_same_provider_goes_on_counting(
    theirs: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    for times in (1, 2, 3):
        with metertap.instrument():
            record()
            assert counts(theirs) == (times, times)
    assert [record.getMessage() for record in caplog.records] == []  # of duplicate instruments


def test_between_two_taps_nothing_is_observed(theirs: InMemoryMetricReader) -> None:
    with metertap.instrument():
        record()
    assert points(theirs, "cache.requests") == []
    assert points(theirs, "metertap.tool.active") == []


def test_the_endpoints_come_back() -> None:
    for _ in range(2):
        with metertap.instrument(prometheus=True) as tap:
            record()
            for url in (wait_for(lambda: tap.json_url), wait_for(lambda: tap.prometheus_url)):
                assert get(url + "/metrics").status == 200
        assert (tap.json_url, tap.prometheus_url) == (None, None)


def test_after_reset_counting_begins_at_nothing(theirs: InMemoryMetricReader) -> None:
    with metertap.instrument():
        record()
    metertap.reset()
    with metertap.instrument() as tap:
        record()
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 1
        assert counts(theirs)[1] == 1


def test_after_reset_a_late_providers_counters_are_not_negative(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What a collector got earlier is left out there, but that was of the beginning before.
    reader = InMemoryMetricReader()
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        with metertap.instrument() as tap:
            for _ in range(5):
                record()
            tap.flush(60_000)
            metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
            record()
            assert counts(reader) == (1, 1)
        metertap.reset()
        with metertap.instrument():
            record()
            assert counts(reader)[1] == 1


def test_instruments_that_are_frozen_count_nothing_later() -> None:
    reader = InMemoryMetricReader()
    instruments = OtelInstruments(MeterProvider([reader], shutdown_on_exit=False))
    assert points(reader, "cache.requests") == []
    instruments.open(recorder())
    record()
    instruments.freeze()
    record()
    assert counts(reader)[1] == 1
    instruments.open(recorder())
    assert counts(reader)[1] == 2


def test_instruments_that_start_after_another_count_the_rest() -> None:
    reader = InMemoryMetricReader()
    first = OtelInstruments(MeterProvider(shutdown_on_exit=False))
    first.open(recorder())
    second = OtelInstruments(MeterProvider([reader], shutdown_on_exit=False))
    record()
    second.start_after(first.freeze())
    second.open(recorder())
    assert counts(reader)[1] == 0
    record()
    metertap.cache_meter("answers").hit()  # one that the first never saw
    assert counts(reader)[1] == 2


def narrow() -> MeterProvider:
    """A provider with a View that leaves attributes away: series could share a data point."""
    view = View(instrument_name=DURATION, attribute_keys={"gen_ai.tool.name", "metertap.outcome"})
    return MeterProvider([InMemoryMetricReader()], views=[view], shutdown_on_exit=False)


def limited() -> MeterProvider:
    """A provider whose reader takes two series of a metric."""
    return MeterProvider([InMemoryMetricReader(**sdk.series_limits(2))], shutdown_on_exit=False)


@pytest.mark.parametrize("make", [narrow, limited])
def test_the_bulk_path_stays_in_force_after_resets(make: Callable[[], MeterProvider]) -> None:
    provider = make()
    for _ in range(4):
        with metertap.instrument(meter_provider=provider) as tap:
            record()
            assert tap.pipeline.recording_paths() == ["bulk"]
        metertap.reset()


def test_series_that_share_a_data_point_are_noticed_after_a_reset() -> None:
    provider = narrow()
    for name in ("ValueError", "KeyError"):
        with metertap.instrument(meter_provider=provider) as tap:
            metertap.record_tool_call("search", False, 20.0, name)
            record()
            paths = tap.pipeline.recording_paths()
        metertap.reset()
    assert paths == ["value by value: series share a data point (past a limit, or by a View)"]
