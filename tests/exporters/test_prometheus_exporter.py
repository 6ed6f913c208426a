"""The Prometheus endpoint: the standard exporter's metrics, and the views beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

import metertap
from metertap import Tap, faults
from support.exposition import Samples, key, samples
from support.http import get
from support.waiting import wait_for
from support.warned import warnings_of


@pytest.fixture
def tap() -> Iterator[Tap]:
    # Without the process's own, whose figures are others at each scrape.
    with metertap.instrument(prometheus=True, disabled_instrumentations=["system_metrics"]) as tap:
        yield tap


def record() -> None:
    """Two tools and a cache, in ways that show in every metric."""
    for latency_ms in (5.0, 15.0, 30.0):
        metertap.record_tool_call("search", True, latency_ms)
    metertap.record_tool_call("search", False, 700.0, "ValueError")
    metertap.record_tool_call("once", True, 1.0)
    cache = metertap.cache_meter("prompts")
    for _ in range(3):
        cache.hit()
    cache.evicted(2)
    cache.rejected()
    with metertap.measure_tool("cached"):
        cache.miss()


def text(tap: Tap) -> bytes:
    answer = get(wait_for(lambda: tap.prometheus_url) + "/metrics")
    assert answer.status == 200
    return answer.body


def scrape(tap: Tap) -> Samples:
    return samples(text(tap))


def test_durations_are_histograms_in_seconds(tap: Tap) -> None:
    record()
    found = scrape(tap)
    ok = {"gen_ai_tool_name": "search", "metertap_outcome": "ok"}
    name = "gen_ai_execute_tool_duration_seconds"
    assert found[key(f"{name}_count", **ok)] == 3
    assert found[key(f"{name}_sum", **ok)] == pytest.approx(0.05)
    bounds = {
        bound: found[key(f"{name}_bucket", **ok, le=bound)]
        for bound in ("0.01", "0.02", "0.04", "0.08", "81.92", "+Inf")
    }
    assert list(bounds.values()) == [1, 2, 3, 3, 3, 3]
    failed = {**ok, "metertap_outcome": "exception", "error_type": "ValueError"}
    assert found[key(f"{name}_count", **failed)] == 1


def test_everything_else_has_its_prometheus_name(tap: Tap) -> None:
    record()
    faults.fault("a place", "a reason")
    with metertap.measure_tool("slow"):
        found = scrape(tap)
    cache = {"cache_name": "prompts", "cache_system": "manual"}
    in_tool = {**cache, "gen_ai_tool_name": "cached"}
    for expected, value in {
        key("cache_requests_total", **cache, cache_request_type="hit"): 3,
        key("cache_requests_total", **cache, cache_request_type="miss"): 0,
        key("cache_requests_total", **in_tool, cache_request_type="miss"): 1,
        key("cache_evictions_total", **cache): 2,
        key("cache_rejections_total", **cache): 1,
        key("metertap_tool_active", gen_ai_tool_name="slow"): 1,
        key("metertap_tool_active", gen_ai_tool_name="search"): 0,
        key("metertap_session_active"): 0,
        key("metertap_errors_total", metertap_place="a place"): 1,
    }.items():
        assert found[expected] == value, expected


def test_the_views_say_what_the_document_says(tap: Tap) -> None:
    record()
    found, document = scrape(tap), tap.snapshot()
    search = document["tool_metrics"]["search"]
    labels = {"gen_ai_tool_name": "search", "source": "manual"}
    summary = "metertap_tool_latency_seconds"
    for quantile, field in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")):
        in_document = search[f"{field}_latency_ms"] / 1000
        assert found[key(summary, **labels, quantile=quantile)] == in_document
    assert found[key(f"{summary}_count", **labels)] == search["window_samples"] == 4
    assert found[key(f"{summary}_sum", **labels)] == search["total_latency_ms"] / 1000
    ratio = key("metertap_cache_hit_ratio", cache_name="prompts", cache_system="manual")
    assert found[ratio] * 100 == document["cache_metrics"]["prompts"]["hit_rate"] == 75


def test_a_percentile_beyond_the_longest_call_is_explained_where_it_is_published(tap: Tap) -> None:
    for latency in (10.0, 10.0, 10.0, 10.0, 45.0):
        metertap.record_tool_call("few", True, latency)
    labels = {"gen_ai_tool_name": "few", "source": "manual"}
    beyond = scrape(tap)[key("metertap_tool_latency_seconds", **labels, quantile="0.95")]
    assert beyond > 0.045
    assert tap.snapshot()["tool_metrics"]["few"]["extrapolated"] == ["p95", "p99"]
    pattern = "^# HELP metertap_tool_latency_seconds (.*)$"
    (told,) = re.findall(pattern, text(tap).decode(), re.MULTILINE)
    assert "0.95 of fewer than 19, 0.99 of fewer than 99 lie beyond the longest" in told


def test_no_data_is_no_sample(tap: Tap) -> None:
    record()
    metertap.cache_meter("never asked")
    metertap.tool(name="never called")(print)
    names = {
        (name, value)
        for name, labels in scrape(tap)
        for label, value in labels
        if label in {"gen_ai_tool_name", "cache_name"}
    }
    views = ("metertap_tool_latency_seconds", "metertap_cache_hit_ratio")
    # One call has a count and no percentile.
    assert {pair for pair in names if pair[0] in views} == {
        ("metertap_tool_latency_seconds", "search"),
        ("metertap_cache_hit_ratio", "prompts"),
    }
    assert ("metertap_tool_latency_seconds_count", "once") in names


def test_the_registry_is_not_the_global_one(tap: Tap) -> None:
    before = prometheus_client.generate_latest()
    record()
    scrape(tap)
    assert b"metertap" not in before + prometheus_client.generate_latest()


def test_target_info_names_the_service(tap: Tap) -> None:
    record()
    ((_, labels),) = [pair for pair in scrape(tap) if pair[0] == "target_info"]
    assert dict(labels)["service_name"] == tap.snapshot()["service"]["name"]


def test_scrapes_at_the_same_time_are_whole_and_equal(tap: Tap) -> None:
    record()
    url = wait_for(lambda: tap.prometheus_url) + "/metrics"
    alone = get(url).body
    with ThreadPoolExecutor(16) as pool:
        texts = {answer.body for answer in pool.map(get, [url] * 64)}
    assert texts == {alone}


def test_openmetrics_is_spoken_to_whom_asks_for_it(tap: Tap) -> None:
    record()
    url = wait_for(lambda: tap.prometheus_url) + "/metrics"
    answer = get(url, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


def test_head_has_the_length_and_no_body(tap: Tap) -> None:
    record()
    url = wait_for(lambda: tap.prometheus_url) + "/metrics"
    head = get(url, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get(url).body))


def test_elsewhere_errors_are_json(tap: Tap) -> None:
    record()
    answer = get(wait_for(lambda: tap.prometheus_url) + "/")
    assert answer.status == 404
    assert answer.json()["error"]["message"] == "nothing is here; there is /metrics"


def test_exponential_histograms_do_not_break_the_scrape(caplog: pytest.LogCaptureFixture) -> None:
    view = View(instrument_name="gen_ai.*", aggregation=ExponentialBucketHistogramAggregation())
    metrics.set_meter_provider(MeterProvider(views=[view], shutdown_on_exit=False))
    with metertap.instrument(prometheus=True) as tap:
        record()
        for _ in range(2):
            found = scrape(tap)
    names = {name for name, _ in found}
    assert {"metertap_tool_latency_seconds", "cache_requests_total"} < names
    assert not any(name.startswith("gen_ai_execute_tool") for name in names)
    assert warnings_of(caplog) == [
        "a View makes histograms exponential: the Prometheus exporter leaves them out"
    ]


def test_it_is_off_unless_asked_for() -> None:
    with metertap.instrument() as tap:
        record()
        wait_for(lambda: tap.json_url)
        assert tap.pipeline.prometheus is None
