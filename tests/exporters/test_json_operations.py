"""MCP operations and sessions in the JSON document: in the published shape, exact, and as text."""

from __future__ import annotations

import json
import statistics
from typing import Any

import pytest

import metertap
from metertap import catalogue, state
from metertap_exporters.json.document import outline
from metertap_exporters.json.text import DocumentText
from support.checked import check


def record(
    metric: catalogue.Metric, seconds: float, method: str = "", name: str = "", error: str = ""
) -> None:
    given = {catalogue.MCP_METHOD: method, catalogue.TOOL_NAME: name, catalogue.ERROR_TYPE: error}
    attributes = {key: value for key, value in given.items() if value}
    state.recorder().record_operation(
        (metric.name, *attributes.items()), metric, attributes, seconds
    )


def document() -> dict[str, Any]:
    found = metertap.get_all_metrics()
    check(found)
    return found


def test_requests_stand_by_side_method_and_name() -> None:
    durations = [number / 1000 for number in range(1, 121)]
    for seconds in durations:
        record(catalogue.SERVER_DURATION, seconds, "tools/call", "search")
    record(catalogue.SERVER_DURATION, 0.5, "tools/call", "search", "ValueError")
    record(catalogue.SERVER_DURATION, 0.2, "resources/list")
    record(catalogue.CLIENT_DURATION, 0.3, "tools/call", "search")
    found = document()["operations"]
    assert [
        (item["side"], item["method"], item["name"], item["total_calls"]) for item in found
    ] == [
        ("server", "tools/call", "search", 121),
        ("server", "resources/list", None, 1),
        ("client", "tools/call", "search", 1),
    ]
    search, listed, _ = found
    window = [seconds * 1000 for seconds in [*durations, 0.5]]
    exact = statistics.quantiles(window, n=100)
    for percent in (50, 95, 99):
        assert search[f"p{percent}_latency_ms"] == exact[percent - 1]
    assert search["failed_calls"] == 1
    assert search["error_types"] == {"ValueError": 1}
    assert search["success_rate"] == pytest.approx(100 * 120 / 121)
    assert search["total_latency_ms"] == pytest.approx(sum(window))
    assert search["avg_latency_ms"] == pytest.approx(sum(window) / 121)
    assert (search["min_latency_ms"], search["max_latency_ms"]) == (1.0, 500.0)
    assert (search["window_samples"], search["extrapolated"]) == (121, [])
    assert listed["p50_latency_ms"] is None
    assert listed["last_call_timestamp"] == pytest.approx(document()["timestamp"], abs=60)


def test_sessions_have_their_durations() -> None:
    record(catalogue.SERVER_SESSION, 60.0)
    record(catalogue.SERVER_SESSION, 120.0, error="ConnectionError")
    record(catalogue.CLIENT_SESSION, 1.0)
    found = document()["sessions"]
    assert [(item["side"], item["ended_sessions"], item["failed_sessions"]) for item in found] == [
        ("server", 2, 1),
        ("client", 1, 0),
    ]
    server = found[0]
    assert (server["total_duration_ms"], server["avg_duration_ms"]) == (180_000.0, 90_000.0)
    assert (server["p50_duration_ms"], server["max_duration_ms"]) == (90_000.0, 120_000.0)
    assert server["extrapolated"] == ["p95", "p99"]
    assert server["error_types"] == {"ConnectionError": 1}


def test_they_begin_again_with_the_rest() -> None:
    record(catalogue.SERVER_DURATION, 0.1, "prompts/get", "greet")
    metertap.reset_metrics()
    assert document()["operations"] == []


def test_the_text_has_them_as_the_document_has_them() -> None:
    kept = DocumentText()
    steps = (
        lambda: record(catalogue.SERVER_DURATION, 0.1, "tools/call", 'se"arch'),
        lambda: record(catalogue.CLIENT_SESSION, 0.2),
        lambda: None,
        lambda: record(catalogue.SERVER_DURATION, 0.3, "tools/list"),
        lambda: record(catalogue.SERVER_DURATION, 0.1, "tools/call", 'se"arch', "E"),
    )
    for step in steps:
        step()
        figures = state.recorder().figures()
        text = kept.of(outline(figures, enabled=True, service={}, foreign=(), alerts=None))
        found, expected = json.loads(text), document()
        assert found["operations"] == expected["operations"]
        assert found["sessions"] == expected["sessions"]
