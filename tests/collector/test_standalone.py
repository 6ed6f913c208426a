"""`ToolMetrics`, `CacheMetrics`, `SystemMetrics`: figures that a program keeps for itself."""

from __future__ import annotations

import random
from typing import Any

import pytest

from metertap import CacheMetrics, PerformanceMetricsCollector, SystemMetrics, ToolMetrics, state
from support.collectors import document


def test_metrics_of_the_programs_own_are_seen_nowhere_else() -> None:
    search, prompts = ToolMetrics("search"), CacheMetrics("prompts")
    search.record_call(True, 1.0)
    prompts.record_hit()
    assert (document()["tool_metrics"], document()["cache_metrics"]) == ({}, {})


@pytest.mark.parametrize("calls_made", [0, 1, 2, 50, 1500])
def test_the_same_calls_give_the_same_statistics_as_in_the_document(
    calls_made: int, collector: PerformanceMetricsCollector
) -> None:
    own = ToolMetrics(tool_name="search")
    state.recorder().tool("search", "manual")
    chance = random.Random(11)
    for _ in range(calls_made):
        success = chance.random() < 0.8
        latency_ms = chance.choice([None, chance.expovariate(0.1)])
        error_type = None if success else chance.choice(["KeyError", "ReadTimeout"])
        own.record_call(success, latency_ms, error_type)
        collector.record_tool_call("search", success, latency_ms, error_type)
    stats, shown = own.get_stats(), document()["tool_metrics"]["search"]
    for name in ("total_latency_ms", "avg_latency_ms"):  # the document sums them in batches
        assert stats.pop(name) == pytest.approx(shown[name])
    assert stats == {"tool_name": "search", **{key: shown[key] for key in stats if key in shown}}
    samples = collector.tool_metrics["search"].latency_samples
    assert (own.latency_samples, own.latency_samples.maxlen) == (samples, samples.maxlen)


def test_the_latencies_kept_are_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_WINDOW_SIZE", "3")
    own = ToolMetrics("search")
    for latency_ms in (100.0, 4.0, 2.0, 8.0):
        own.record_call(True, latency_ms)
    assert list(own.latency_samples) == [4.0, 2.0, 8.0]
    assert own.get_stats()["p50_latency_ms"] == 4.0
    assert own.get_stats()["max_latency_ms"] == 100.0
    assert own.total_latency_ms == 114.0


def test_statistics_without_data_are_none() -> None:
    stats = ToolMetrics("search").get_stats()
    unknown = [key for key, value in stats.items() if value is None]
    assert unknown == [
        "success_rate",
        *(f"{name}_latency_ms" for name in ("avg", "min", "max", "p50", "p95", "p99")),
    ]
    assert CacheMetrics("prompts").get_stats()["hit_rate"] is None
    own = ToolMetrics("search")
    own.record_call(True, 5.0)
    assert (own.get_stats()["avg_latency_ms"], own.get_stats()["p50_latency_ms"]) == (5.0, None)


def test_fields_that_a_program_gives_are_what_statistics_are_made_of() -> None:
    own = ToolMetrics("search", total_calls=4, successful_calls=3, failed_calls=1)
    own.total_latency_ms = 10.0
    own.latency_samples.extend([4.0, 2.0])
    stats = own.get_stats()
    assert (stats["success_rate"], stats["avg_latency_ms"]) == (75.0, 2.5)
    assert (stats["min_latency_ms"], stats["max_latency_ms"]) == (2.0, 4.0)
    cache = CacheMetrics(cache_name="prompts", hits=3, misses=1)
    assert cache.get_stats() == {
        "cache_name": "prompts",
        "hits": 3,
        "misses": 1,
        "total_requests": 4,
        "hit_rate": 75.0,
        "evictions": 0,
        "size_rejections": 0,
    }


@pytest.mark.parametrize("error", [KeyError("secret"), KeyError])
def test_an_error_is_recorded_by_its_class_and_never_by_its_text(error: Any) -> None:
    own = ToolMetrics("search")
    own.record_call(False, 1.0, error)
    assert own.error_types == {"KeyError": 1}


def test_the_process_by_itself_counts_time_from_its_making() -> None:
    own = SystemMetrics(active_sessions=1, concurrent_requests=2, total_requests=3)
    stats = own.get_stats()
    assert stats["total_requests"] == 3
    assert 0 <= stats["uptime_seconds"] <= own.uptime < 60
