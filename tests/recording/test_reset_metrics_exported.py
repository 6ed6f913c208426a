"""`reset_metrics`: what is exported goes on, and never goes back."""

from __future__ import annotations

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

import metertap
from metertap import Tap, state
from metertap.otel.instruments import OtelInstruments
from support.exposition import Samples, key, samples
from support.http import get
from support.metric_data import points
from support.resettable import DURATION, use
from support.waiting import wait_for

pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("without_the_process")]


def totals(reader: InMemoryMetricReader) -> dict[str, float]:
    """Everything that a reader has of tools and one cache, at a new collection."""
    data = reader.get_metrics_data()
    found: dict[str, float] = {}
    if data is not None:
        scopes = data.resource_metrics[0].scope_metrics
        for metric in (metric for scope in scopes for metric in scope.metrics):
            if metric.name.startswith(("process.", "cpython.")):
                continue  # a thread adds these at any time, and maybe as the first scope
            if metric.name == "metertap.tool.lookup.time":
                continue  # no call takes exactly as long as another
            for point in metric.data.data_points:
                attributes = point.attributes or {}
                if attributes.get("cache.name", "prompts") != "prompts":
                    continue  # of another test, and not gone yet
                name = f"{metric.name} {sorted(attributes.items())}"
                found[name] = point.count if hasattr(point, "count") else point.value
    return found


def test_cumulative_counts_go_on_in_their_streams() -> None:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    metertap.reset()
    with metertap.instrument(json_endpoint=False):
        prompts = metertap.cache_meter("prompts")
        use(prompts)
        once = totals(reader)
        started = {point.start_time_unix_nano for point in points(reader, DURATION)}
        assert sum(point.count for point in points(reader, DURATION)) == 8
        metertap.reset_metrics()
        assert totals(reader) == once
        use(prompts)
        assert totals(reader) == {name: 2 * value for name, value in once.items()}
        assert {point.start_time_unix_nano for point in points(reader, DURATION)} == started


def test_a_reader_of_differences_gets_each_call_once() -> None:
    delta = dict.fromkeys((Counter, Histogram, ObservableCounter), AggregationTemporality.DELTA)
    reader = InMemoryMetricReader(preferred_temporality=delta)
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    metertap.reset()
    with metertap.instrument(json_endpoint=False):
        prompts = metertap.cache_meter("prompts")
        use(prompts)
        first = totals(reader)
        use(prompts)
        metertap.reset_metrics()
        assert totals(reader) == first
        metertap.reset_metrics()
        use(prompts)
        assert totals(reader) == first


def test_calls_in_progress_never_make_a_negative_number() -> None:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))

    def active() -> list[float]:
        return [point.value for point in points(reader, "metertap.tool.active")]

    metertap.reset()
    with metertap.instrument(json_endpoint=False):
        with metertap.measure_tool("search"):
            metertap.reset_metrics()
            assert active() == [1]
        assert active() == [0]
        metertap.reset_metrics()
        assert active() == [0]


def test_counts_that_another_provider_took_over_stay_taken_over() -> None:
    """A provider that comes late counts what comes on top: a reset is no new beginning of that."""
    recorder = state.recorder()
    ours = OtelInstruments(MeterProvider(shutdown_on_exit=False))
    reader = InMemoryMetricReader()
    theirs = OtelInstruments(MeterProvider([reader], shutdown_on_exit=False))
    ours.open(recorder)
    for _ in range(3):
        metertap.record_cache_hit("prompts")
    theirs.start_after(ours.freeze())
    theirs.open(recorder)
    metertap.reset_metrics()
    metertap.record_cache_hit("prompts")
    hits = {
        point.attributes["cache.request.type"]: point.value
        for point in points(reader, "cache.requests")
    }
    assert hits == {"hit": 1, "miss": 0}


def scrape(tap: Tap) -> Samples:
    return samples(get(wait_for(lambda: tap.prometheus_url) + "/metrics").body)


def test_prometheus_sees_counters_that_only_grow_and_the_window_of_the_calls_since() -> None:
    metertap.reset()
    with metertap.instrument(prometheus=True) as tap:
        prompts = metertap.cache_meter("prompts")
        use(prompts)
        before = scrape(tap)
        urls = wait_for(lambda: tap.json_url), tap.prometheus_url
        metertap.reset_metrics()
        after = scrape(tap)
        cumulative = ("_total", "_count", "_sum", "_bucket", "_ratio")
        for name, value in before.items():
            if name[0].endswith(cumulative):
                assert after[name] == value, name
        summary = "metertap_tool_latency_seconds"
        labels = {"gen_ai_tool_name": "by hand", "source": "manual"}
        p50 = key(summary, quantile="0.5", **labels)
        assert (before[p50], p50 in after) == (0.0055, False)
        for latency_ms in (100.0, 200.0):
            metertap.record_tool_call("by hand", True, latency_ms)
        use(prompts)
        last = scrape(tap)
        assert last[key(f"{summary}_count", **labels)] == 6
        assert last[key(f"{summary}_sum", **labels)] == pytest.approx(0.322)
        counted = sum(
            value
            for (name, shown), value in last.items()
            if name == "gen_ai_execute_tool_duration_seconds_count"
            and ("gen_ai_tool_name", "by hand") in shown
        )
        assert counted == 6
        ratio = key("metertap_cache_hit_ratio", cache_name="prompts", cache_system="manual")
        assert last[ratio] == pytest.approx(1 / 3)
        assert urls == (tap.json_url, tap.prometheus_url)
        assert get(f"{tap.json_url}/metrics").json()["tool_metrics"]["by hand"]["total_calls"] == 5
