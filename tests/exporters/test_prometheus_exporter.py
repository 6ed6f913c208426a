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
from metertap import Tap, catalogue, faults, outcomes, state
from support.exposition import Samples, key, samples
from support.http import get
from support.waiting import wait_for
from support.warned import warnings_of

pytestmark = pytest.mark.sdk


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


def read_resource(name: str, milliseconds: float) -> None:
    attributes = {catalogue.MCP_METHOD: "resources/read", catalogue.NAMES[-1]: name}
    state.recorder().record_operation(
        name, catalogue.SERVER_DURATION, attributes, milliseconds / 1000
    )


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


def test_text_that_cannot_be_encoded_costs_nothing_else() -> None:
    provider = MeterProvider()
    meter = provider.get_meter("app\ud800")
    sold = meter.create_counter("sold", description="What was sold\ud800.")
    sold.add(2, {"path": "a\ud800b"})
    with metertap.instrument(prometheus=True, meter_provider=provider) as tap:
        sold.add(3, {"path": "a\ud800b"})
        record()
        found = text(tap).decode()
    assert "# HELP sold_total What was sold?.\n" in found
    assert re.search(r'sold_total{.*otel_scope_name="app\?".*path="a\?b"} 3.0\n', found)
    assert 'gen_ai_tool_name="search"' in found


@pytest.mark.faults
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
    assert search["extrapolated"] == ["p95", "p99"]
    for quantile, field in (("0.5", "p50_latency_ms"), ("0.95", "max_latency_ms")):
        in_document = search[field] / 1000
        assert found[key(summary, **labels, quantile=quantile)] == in_document
    assert found[key(f"{summary}_count", **labels)] == search["window_samples"] == 4
    assert found[key(f"{summary}_sum", **labels)] == search["total_latency_ms"] / 1000
    longest = found[key("metertap_tool_latency_max_seconds", **labels)]
    assert longest == search["max_latency_ms"] / 1000
    ratio = key("metertap_cache_hit_ratio", cache_name="prompts", cache_system="manual")
    assert found[ratio] * 100 == document["cache_metrics"]["prompts"]["hit_rate"] == 75


def test_no_percentile_lies_beyond_the_longest_call(tap: Tap) -> None:
    for latency in (10.0, 10.0, 10.0, 10.0, 45.0):
        metertap.record_tool_call("few", True, latency)
    found = scrape(tap)
    labels = {"gen_ai_tool_name": "few", "source": "manual"}
    for quantile in ("0.95", "0.99"):
        assert found[key("metertap_tool_latency_seconds", **labels, quantile=quantile)] == 0.045
    # The document keeps to the formula, and says of which figures it is so.
    few = tap.snapshot()["tool_metrics"]["few"]
    assert few["p95_latency_ms"] > 45.0
    assert few["extrapolated"] == ["p95", "p99"]


def test_the_summary_counts_what_the_histogram_counts(tap: Tap) -> None:
    for ended in outcomes.ALL:
        for latency_ms in (1.0, 30.0):
            recorder = state.recorder()
            recorder.record_tool(recorder.tool("any", "manual"), ended, None, latency_ms)
    metertap.record_tool_call("any", True)  # without a duration: neither has it
    for _ in range(2):
        found = scrape(tap)
        labels = {"gen_ai_tool_name": "any"}
        for suffix in ("count", "sum"):
            histogram = sum(
                value
                for (name, shown), value in found.items()
                if name == f"gen_ai_execute_tool_duration_seconds_{suffix}"
                and set(labels.items()) <= shown
            )
            summary = found[
                key(f"metertap_tool_latency_seconds_{suffix}", **labels, source="manual")
            ]
            assert summary == pytest.approx(histogram)
            assert summary == pytest.approx({"count": 14, "sum": 0.217}[suffix])
        assert tap.snapshot()["tool_metrics"]["any"]["window_samples"] in {8, 0}
        metertap.reset_metrics()  # and counters go on
    (told,) = re.findall(
        "^# HELP metertap_tool_latency_seconds (.*)$", text(tap).decode(), re.MULTILINE
    )
    assert told == (
        "Latency of tool calls: exact percentiles of the last ones that succeeded or failed, none "
        "beyond the longest; count and sum of all that have a duration, of any outcome."
    )


def test_operations_have_exact_percentiles_by_method_and_name(tap: Tap) -> None:
    metertap.cache_meter("any")
    assert b"metertap_operation" not in text(tap)
    for milliseconds in (10.0, 20.0, 30.0):
        read_resource("doc://a", milliseconds)
    found = scrape(tap)
    labels = {("side", "server"), ("mcp_method_name", "resources/read"), ("name", "doc://a")}
    for quantile, seconds in (("0.5", 0.02), ("0.95", 0.03), ("0.99", 0.03)):
        series = frozenset({*labels, ("quantile", quantile)})
        assert found["metertap_operation_latency_seconds", series] == pytest.approx(seconds)


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
    assert answer.json()["error"]["message"] == "nothing is here; there is /metrics, /targets"


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
