"""The live views of `PerformanceMetricsCollector`: always what the document says."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import random
import statistics
from typing import Any

import pytest

import metertap
from metertap import CacheMetrics, PerformanceMetricsCollector, SystemMetrics, ToolMetrics, state
from support.collectors import document, use
from support.patched_call import patched
from support.warned import warnings_of

PERCENTILES = {"p50_latency_ms": 49, "p95_latency_ms": 94, "p99_latency_ms": 98}


def measure_everything(collector: PerformanceMetricsCollector) -> None:
    use(collector)
    collector.record_tool_call("no latency", True)
    collector.record_tool_call("no type", False, 2.0)
    metertap.tool(name="never called")(len)
    with patched("search"):
        pass
    with metertap.measure_tool("block"):
        metertap.cache_meter("prompts").hit()
    with pytest.raises(KeyError), metertap.measure_tool("block"):
        raise KeyError
    chance = random.Random(7)
    for _ in range(1500):
        collector.record_tool_call("many", True, chance.expovariate(1.0))


def test_views_and_statistics_are_those_of_the_document(
    collector: PerformanceMetricsCollector,
) -> None:
    measure_everything(collector)
    shown = document()
    assert collector.tool_metrics.keys() == shown["tool_metrics"].keys()
    assert {"search", "search@library", "never called"} < collector.tool_metrics.keys()
    for name, view in collector.tool_metrics.items():
        entry = shown["tool_metrics"][name]
        assert isinstance(view, ToolMetrics)
        assert name in {view.tool_name, f"{view.tool_name}@library"}
        stats = view.get_stats()
        assert stats == {**{key: entry.get(key) for key in stats}, "tool_name": view.tool_name}
        assert collector.get_tool_metrics(name) == collector.get_tool_metrics()[name] == stats
        for field in dataclasses.fields(view)[1:]:
            if field.name != "latency_samples":
                assert getattr(view, field.name) == entry[field.name]
        assert len(view.latency_samples) == entry["window_samples"]
        for percentile, index in PERCENTILES.items():
            samples = view.latency_samples
            exact = statistics.quantiles(samples, n=100)[index] if len(samples) > 1 else None
            assert entry[percentile] == exact
    for name, cache in collector.cache_metrics.items():
        entry = shown["cache_metrics"][name]
        assert isinstance(cache, CacheMetrics)
        stats = cache.get_stats()
        assert stats == {**{key: entry.get(key) for key in stats}, "cache_name": cache.cache_name}
        assert collector.get_cache_metrics(name) == collector.get_cache_metrics()[name] == stats
        for field in dataclasses.fields(cache)[1:]:
            assert getattr(cache, field.name) == entry[field.name]


def test_a_view_shows_what_is_recorded_after_it_was_handed_out(
    collector: PerformanceMetricsCollector,
) -> None:
    use(collector)
    search, prompts = collector.tool_metrics["search"], collector.cache_metrics["prompts"]
    search.record_call(True, 5.0)
    search.record_call(success=False, latency_ms=6.0, error_type="KeyError")
    metertap.record_tool_call("search", True, 7.0)
    assert (search.total_calls, search.error_types["KeyError"]) == (8, 1)
    assert list(search.latency_samples)[-3:] == [5.0, 6.0, 7.0]
    prompts.record_hit()
    prompts.record_miss()
    prompts.record_eviction()
    prompts.record_size_rejection()
    assert dataclasses.astuple(prompts) == ("prompts", 3, 2, 2, 2)
    assert document()["cache_metrics"]["prompts"]["evictions"] == 2


def test_what_a_library_does_not_show_is_none_in_a_view_too(
    collector: PerformanceMetricsCollector,
) -> None:
    state.recorder().cache("prompts", "library", frozenset()).hits[None]()
    assert collector.cache_metrics["prompts"].size_rejections is None
    assert collector.get_cache_metrics("prompts")["evictions"] is None


def test_statistics_of_what_is_unknown_are_none_at_all(
    collector: PerformanceMetricsCollector,
) -> None:
    assert collector.get_tool_metrics("search") == collector.get_cache_metrics("prompts") == {}


@pytest.mark.parametrize("odd", [[], {}, 7, b"search", object])
def test_statistics_of_what_is_no_name_are_none_at_all(
    odd: Any, collector: PerformanceMetricsCollector
) -> None:
    use(collector)
    assert collector.get_tool_metrics(odd) == collector.get_cache_metrics(odd) == {}


@pytest.mark.parametrize("name", ["s" * 300, "half a pair \ud800"])
def test_statistics_are_found_by_the_name_under_which_they_were_recorded(
    name: str, collector: PerformanceMetricsCollector
) -> None:
    collector.record_tool_call(name, True, 1.0)
    collector.record_cache_hit(name)
    assert collector.get_tool_metrics(name)["total_calls"] == 1
    assert collector.get_cache_metrics(name)["hits"] == 1


def test_the_process_is_shown_as_in_the_document(collector: PerformanceMetricsCollector) -> None:
    use(collector)
    state.recorder().session_opened()
    with metertap.measure_tool("block"):
        system = collector.system_metrics
        shown = document()["system_metrics"]
        assert isinstance(system, SystemMetrics)
        assert dataclasses.asdict(system) == {
            key: shown[key]
            for key in ("active_sessions", "concurrent_requests", "total_requests", "start_time")
        }
        assert (system.active_sessions, system.concurrent_requests) == (1, 1)
        stats = collector.get_system_metrics()
        assert stats["uptime_seconds"] >= shown["uptime_seconds"]
        assert stats["uptime_hours"] == stats["uptime_seconds"] / 3600
        assert system.uptime >= stats["uptime_seconds"]


def test_sessions_and_requests_set_by_hand_are_not_added_to_those_that_are_seen(
    collector: PerformanceMetricsCollector,
) -> None:
    collector.set_active_sessions(2)
    collector.set_concurrent_requests(1)
    for _ in range(3):
        state.recorder().session_opened()
    with metertap.measure_tool("one"), metertap.measure_tool("two"):
        shown = document()["system_metrics"]
    assert (shown["active_sessions"], shown["concurrent_requests"]) == (3, 2)
    collector.set_active_sessions(5)
    shown = document()["system_metrics"]
    assert (shown["active_sessions"], shown["concurrent_requests"]) == (5, 1)


def test_a_copy_of_a_view_is_an_object_of_its_own_as_it_was(
    collector: PerformanceMetricsCollector,
) -> None:
    measure_everything(collector)
    views: list[Any] = [*collector.tool_metrics.values(), *collector.cache_metrics.values()]
    for view in views:
        stats, fields = view.get_stats(), dataclasses.asdict(view)
        for again in (pickle.loads(pickle.dumps(view)), copy.copy(view), copy.deepcopy(view)):
            assert type(again) in {ToolMetrics, CacheMetrics}
            assert again.get_stats() == stats
            assert dataclasses.asdict(again) == fields
    search = collector.tool_metrics["search"]
    kept = copy.copy(search)
    kept.record_call(True, 1.0)
    assert (search.total_calls, kept.total_calls) == (5, 6)
    system = pickle.loads(pickle.dumps(collector.system_metrics))
    assert type(system) is SystemMetrics
    assert system == copy.copy(collector.system_metrics)


def test_views_of_the_same_are_equal_and_show_what_they_are(
    collector: PerformanceMetricsCollector,
) -> None:
    use(collector)
    assert collector.tool_metrics == collector.tool_metrics
    assert collector.tool_metrics["search"] != collector.tool_metrics["once"]
    assert "tool_name='search', total_calls=5, successful_calls=2" in repr(
        collector.tool_metrics["search"]
    )


def test_what_was_measured_cannot_be_set(
    collector: PerformanceMetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    use(collector)
    search = collector.tool_metrics["search"]
    search.total_calls = 100
    search.error_types.clear()
    search.latency_samples.append(1.0)
    assert search.total_calls == 5
    assert len(search.error_types) == len(search.latency_samples) == 3
    (warning,) = warnings_of(caplog)
    assert "total_calls is what was measured, and cannot be set" in warning


def test_a_view_outlives_everything_that_it_shows(collector: PerformanceMetricsCollector) -> None:
    use(collector)
    search, prompts = collector.tool_metrics["search"], collector.cache_metrics["prompts"]
    metertap.reset()
    assert search.get_stats() == ToolMetrics("search").get_stats()
    assert prompts.get_stats() == CacheMetrics("prompts").get_stats()
    search.record_call(True, 1.0)
    prompts.record_hit()
    assert (search.total_calls, prompts.hits) == (1, 1)
