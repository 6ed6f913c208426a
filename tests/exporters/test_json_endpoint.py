"""The JSON endpoint: its routes, its schema, what it tells a Prometheus that came by mistake."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from prometheus_client import CollectorRegistry

import metertap
from metertap import Tap
from metertap_exporters.json.reader import JsonSnapshot, schema
from support.checked import check
from support.http import get
from support.waiting import wait_for

AS_PROMETHEUS = {"User-Agent": "Prometheus/2.53.3", "X-Prometheus-Scrape-Timeout-Seconds": "10"}


def url_of(tap: Tap) -> str:
    metertap.cache_meter("any")
    return wait_for(lambda: tap.json_url)


def test_metrics_is_the_document_of_the_snapshot() -> None:
    with metertap.instrument() as tap:
        metertap.record_tool_call("search", True, 12.5)
        answer = get(url_of(tap) + "/metrics")
        assert answer.json()["tool_metrics"] == tap.snapshot()["tool_metrics"]
        assert answer.json()["tool_metrics"]["search"]["total_latency_ms"] == 12.5


def test_healthz_says_that_it_answers() -> None:
    with metertap.instrument() as tap:
        assert get(url_of(tap) + "/healthz").json() == {"status": "ok"}


def test_doctor_is_the_diagnosis() -> None:
    with metertap.instrument() as tap:
        answer = get(url_of(tap) + "/doctor")
        report = answer.json()
        assert answer.status == 200
        assert report == tap.diagnosis()
        assert report["endpoints"] == [{"name": "json", "url": tap.json_url, "problem": None}]


def test_those_who_ask_for_the_diagnosis_at_once_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[JsonSnapshot] = []
    go_on = Event()
    with metertap.instrument(json_port=0) as tap, ThreadPoolExecutor(20) as pool:
        metertap.record_tool_call("search", True, 1.0)
        url = url_of(tap) + "/doctor"
        diagnosis = JsonSnapshot._diagnosis

        def slow(view: JsonSnapshot) -> dict[str, Any]:
            made.append(view)
            go_on.wait(60)
            return diagnosis(view)

        monkeypatch.setattr(JsonSnapshot, "_diagnosis", slow)
        asked = [pool.submit(get, url) for _ in range(20)]
        wait_for(lambda: made)
        wait_for(lambda: 20 in [sum(route._waiting.values()) for route in made[0]._shared])
        go_on.set()
        assert {answer.result().status for answer in asked} == {200}
    assert len(made) == 2  # the others came when the first was being made


def test_the_schema_is_published_and_is_one() -> None:
    with metertap.instrument() as tap:
        published = get(url_of(tap) + "/schema.json").json()
    assert published == schema()
    Draft202012Validator.check_schema(published)


def test_a_404_names_what_there_is() -> None:
    with metertap.instrument() as tap:
        message = get(url_of(tap) + "/nowhere").json()["error"]["message"]
    assert message == "nothing is here; there is /, /doctor, /healthz, /metrics, /schema.json"


def every_outcome() -> None:
    for index in range(120):
        metertap.record_tool_call("search", True, index + 0.5)
    metertap.record_tool_call("search", False, 3.0, "ValueError")
    metertap.record_tool_call("search", False)
    with metertap.measure_tool("search"):
        pass


def cached() -> None:
    meter = metertap.cache_meter("prompts")
    with metertap.measure_tool("search"):
        meter.hit()
        meter.miss()
    meter.evicted(2)
    meter.rejected()


def foreign() -> None:
    histogram = metrics.get_meter("theirs").create_histogram("gen_ai.execute_tool.duration", "s")
    for seconds in (0.02, 0.3, 7.0):
        histogram.record(seconds, {"gen_ai.tool.name": "lookup"})
    histogram.record(1.0, {"gen_ai.tool.name": "lookup", "error.type": "ValueError"})
    histogram.record(1.0, {"gen_ai.tool.name": "only once"})


STATES: dict[str, tuple[dict[str, Any], Callable[[], None]]] = {
    "nothing": ({}, lambda: None),
    "a tool without a call": ({}, lambda: metertap.tool(print) and None),
    "one call": ({}, lambda: metertap.record_tool_call("search", True, 1.0)),
    "two calls": ({}, lambda: [metertap.record_tool_call("s", True, t) for t in (1, 2)] and None),
    "a failure without latency": ({}, lambda: metertap.record_tool_call("search", False)),
    "every outcome": ({}, every_outcome),
    "caches": ({}, cached),
    "foreign estimates": ({}, foreign),
    "no endpoint": ({"json_endpoint": False}, every_outcome),
    "disabled": ({"enabled": False}, every_outcome),
}


@pytest.mark.parametrize("state", STATES)
def test_the_document_fits_its_schema(state: str) -> None:
    options, bring_about = STATES[state]
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    with metertap.instrument(**options) as tap:
        bring_about()
        document = tap.snapshot()
    check(document)
    assert document["enabled"] is (state != "disabled")


def test_a_tool_of_another_instrumentation_is_an_estimate() -> None:
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    with metertap.instrument() as tap:
        foreign()
        tools = tap.snapshot()["tool_metrics"]
    lookup = tools["lookup"]
    assert (lookup["method"], lookup["source"]) == ("estimate", "theirs")
    assert (lookup["total_calls"], lookup["failed_calls"]) == (4, 1)
    assert lookup["total_latency_ms"] == pytest.approx(8320.0)
    assert (lookup["min_latency_ms"], lookup["max_latency_ms"]) == (20.0, 7000.0)
    assert lookup["min_latency_ms"] <= lookup["p50_latency_ms"] <= lookup["p99_latency_ms"] <= 7000
    assert tools["only once"]["p50_latency_ms"] is None


def test_a_tool_that_both_measure_is_exact_and_the_estimate_stands_beside_it() -> None:
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    with metertap.instrument() as tap:
        foreign()
        metertap.record_tool_call("lookup", True, 1.0)
        tools = tap.snapshot()["tool_metrics"]
    assert tools["lookup"]["method"] == "exact"
    assert tools["lookup@theirs"]["method"] == "estimate"


def test_what_a_view_leaves_out_of_a_foreign_histogram_is_null() -> None:
    without_extremes = ExplicitBucketHistogramAggregation(record_min_max=False)
    view = View(instrument_name="*", aggregation=without_extremes)
    metrics.set_meter_provider(MeterProvider(views=[view], shutdown_on_exit=False))
    with metertap.instrument() as tap:
        foreign()
        lookup = get(url_of(tap) + "/metrics").json()["tool_metrics"]["lookup"]
    assert lookup["total_calls"] == 4
    assert lookup["max_latency_ms"] is None


def test_a_foreign_histogram_in_another_unit_is_not_taken_for_seconds() -> None:
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
    with metertap.instrument() as tap:
        histogram = metrics.get_meter("t").create_histogram("gen_ai.execute_tool.duration", "ms")
        histogram.record(1000, {"gen_ai.tool.name": "lookup"})
        assert "lookup" not in tap.snapshot()["tool_metrics"]


def reason_for_prometheus(tap: Tap) -> str:
    answer = get(url_of(tap) + "/metrics", headers=AS_PROMETHEUS)
    assert answer.status == 406
    assert answer.json()["error"]["message"] == answer.reason
    return answer.reason


def test_a_prometheus_that_came_by_mistake_is_told_where_to_go() -> None:
    with metertap.instrument(prometheus=True) as tap:
        url_of(tap)
        right = wait_for(lambda: tap.prometheus_url)
        assert reason_for_prometheus(tap) == (
            f"This is the JSON endpoint: scrape {right}/metrics instead"
        )


def test_a_prometheus_is_told_how_to_switch_its_endpoint_on() -> None:
    with metertap.instrument(prometheus_port=9108) as tap:
        assert reason_for_prometheus(tap) == (
            "This is the JSON endpoint: set PROMETHEUS_ENABLED=true and scrape port 9108"
        )


def test_a_prometheus_is_told_of_the_applications_own_exporter() -> None:
    theirs = PrometheusMetricReader(registry=CollectorRegistry())
    metrics.set_meter_provider(MeterProvider([theirs], shutdown_on_exit=False))
    with metertap.instrument(prometheus=True) as tap:
        assert reason_for_prometheus(tap) == (
            "This is the JSON endpoint: scrape the port of the application's own Prometheus "
            "exporter (9464 by default)"
        )
