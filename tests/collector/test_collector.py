"""`PerformanceMetricsCollector`, its live views, and the same classes by themselves."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import random
import statistics
import threading
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap import (
    CacheMetrics,
    PerformanceMetricsCollector,
    SystemMetrics,
    ToolMetrics,
    state,
)
from support.patched_call import patched
from support.warned import warnings_of

PERCENTILES = {"p50_latency_ms": 49, "p95_latency_ms": 94, "p99_latency_ms": 98}


@pytest.fixture
def collector() -> PerformanceMetricsCollector:
    return PerformanceMetricsCollector()


def document() -> dict[str, Any]:
    return metertap.get_all_metrics()


def without(stats: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in stats.items() if key not in names}


# One collector


def test_there_is_one_collector_however_many_threads_make_it() -> None:
    barrier = threading.Barrier(16)
    made: list[PerformanceMetricsCollector] = []

    class Fresh(PerformanceMetricsCollector):
        """Class of which there is no object yet."""

    def make() -> None:
        barrier.wait()
        made.append(Fresh())

    threads = [threading.Thread(target=make) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, made))) == 1
    assert type(made[0]) is Fresh


def test_every_way_to_the_collector_leads_to_the_same() -> None:
    collector = PerformanceMetricsCollector()
    assert PerformanceMetricsCollector() is collector
    assert PerformanceMetricsCollector.get_instance() is collector
    assert metertap.get_collector() is collector
    assert copy.deepcopy(collector) is collector
    assert pickle.loads(pickle.dumps(collector)) is collector


def test_its_names_are_metertaps() -> None:
    for name in (
        "PerformanceMetricsCollector",
        "ToolMetrics",
        "CacheMetrics",
        "SystemMetrics",
        "reset_metrics",
        "get_collector",
    ):
        assert name in metertap.__all__
        assert getattr(metertap, name).__module__.startswith("metertap.")


# Recording


def use(collector: PerformanceMetricsCollector) -> None:
    """Record in every way that there is."""
    collector.record_tool_call("search", success=True, latency_ms=12.5)
    collector.record_tool_call("search", True, 7.25)
    collector.record_tool_call(
        success=False, latency_ms=900, error_type="ValueError", tool_name="search"
    )
    collector.record_tool_call("search", success=False, error_type="ReadTimeout")
    collector.record_tool_call("search", False, 3.0, "CancelledError")
    collector.record_tool_call("once", success=True, latency_ms=1.0)
    collector.record_cache_hit("prompts")
    collector.record_cache_hit("prompts")
    collector.record_cache_miss("prompts")
    collector.record_cache_eviction("prompts")
    collector.record_cache_size_rejection("prompts")


def test_what_it_records_is_in_the_document(collector: PerformanceMetricsCollector) -> None:
    use(collector)
    search = document()["tool_metrics"]["search"]
    assert (search["total_calls"], search["successful_calls"], search["failed_calls"]) == (5, 2, 2)
    assert search["error_types"] == {"ValueError": 1, "ReadTimeout": 1, "CancelledError": 1}
    assert search["total_latency_ms"] == 12.5 + 7.25 + 900
    prompts = document()["cache_metrics"]["prompts"]
    assert without(prompts, "by_tool", "entries") == {
        "system": "manual",
        "hits": 2,
        "misses": 1,
        "total_requests": 3,
        "hit_rate": pytest.approx(200 / 3),
        "evictions": 1,
        "size_rejections": 1,
    }
    assert without(collector.get_all_metrics(), "timestamp", "system_metrics") == without(
        document(), "timestamp", "system_metrics"
    )


def test_it_records_before_instrument_and_not_after_its_end(
    collector: PerformanceMetricsCollector,
) -> None:
    use(collector)
    with metertap.instrument(json_endpoint=False) as tap:
        use(collector)
        assert tap.snapshot()["tool_metrics"]["search"]["total_calls"] == 10
    use(collector)
    assert collector.tool_metrics["search"].total_calls == 10
    with metertap.instrument(json_endpoint=False):
        use(collector)
    assert collector.tool_metrics["search"].total_calls == 15
    assert collector.cache_metrics["prompts"].hits == 6


def test_no_record_of_many_threads_is_lost(collector: PerformanceMetricsCollector) -> None:
    def record() -> None:
        for _ in range(500):
            PerformanceMetricsCollector().record_tool_call("search", True, 1.0)
            collector.record_cache_hit("prompts")

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collector.get_tool_metrics("search")["total_calls"] == 4000
    assert collector.get_cache_metrics("prompts")["hits"] == 4000


@pytest.mark.parametrize("instrumented", [True, False])
def test_disabled_it_records_nothing_and_everything_works(
    instrumented: bool, monkeypatch: pytest.MonkeyPatch, collector: PerformanceMetricsCollector
) -> None:
    monkeypatch.setenv("PERFORMANCE_METRICS_ENABLED", "false")
    metertap.reset()
    if instrumented:
        metertap.instrument()
    use(collector)
    collector.set_active_sessions(3)
    collector.set_concurrent_requests(3)
    collector.reset_metrics()
    assert not collector.is_enabled()
    assert (collector.tool_metrics, collector.cache_metrics) == ({}, {})
    assert (collector.get_tool_metrics(), collector.get_cache_metrics("prompts")) == ({}, {})
    assert collector.system_metrics.active_sessions == 0
    assert collector.get_all_metrics()["enabled"] is False


class Awkward:
    """Object that raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError

    def __bool__(self) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError


@pytest.mark.faults  # a truth value that raises is one
@pytest.mark.parametrize(
    "bad", [None, -1, "x", float("nan"), 10**400, [], Awkward()], ids=lambda bad: type(bad).__name__
)
def test_nothing_that_is_recorded_can_raise(
    bad: Any, collector: PerformanceMetricsCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.record_tool_call(bad, True, 1.0)
    collector.record_tool_call("search", bad, bad, bad)
    for record in (
        collector.record_cache_hit,
        collector.record_cache_miss,
        collector.record_cache_eviction,
        collector.record_cache_size_rejection,
        collector.set_active_sessions,
        collector.set_concurrent_requests,
    ):
        record(bad)
    ToolMetrics("search").record_call(bad, bad, bad)
    json.dumps(collector.get_all_metrics())
    json.dumps([collector.get_tool_metrics(), collector.get_cache_metrics()])
    assert warnings_of(caplog)


# Counted once


@pytest.mark.parametrize("around", ["patch", "decorator", "block"])
@pytest.mark.parametrize("by", ["collector", "view", "function"])
def test_a_record_of_a_call_that_something_else_counts_is_left_out(
    around: str, by: str, collector: PerformanceMetricsCollector
) -> None:
    collector.record_tool_call("search", True, 1.0)
    record: Callable[..., None] = {
        "collector": lambda: collector.record_tool_call("search", success=True, latency_ms=5.0),
        "view": lambda: collector.tool_metrics["search"].record_call(True, 5.0),
        "function": lambda: metertap.record_tool_call("search", success=True, latency_ms=5.0),
    }[by]
    if around == "patch":
        with patched("search"):
            record()
    elif around == "decorator":
        metertap.tool(name="search")(record)()
    else:
        with metertap.measure_tool("search"):
            record()
    tools = document()["tool_metrics"].values()
    assert sum(tool["total_calls"] for tool in tools) == 2
    assert state.recorder().duplicates == {"search": 1}


def test_a_lookup_is_of_the_tool_that_makes_it(collector: PerformanceMetricsCollector) -> None:
    collector.record_cache_miss("prompts")
    with patched("search"):
        collector.record_cache_hit("prompts")
        collector.cache_metrics["prompts"].record_hit()
    by_tool = document()["cache_metrics"]["prompts"]["by_tool"]
    assert by_tool == {"search": {"hits": 2, "misses": 0, "hit_rate": 100.0}}


def test_a_cache_that_is_patched_and_recorded_by_hand_is_two_entries_each_of_them_true(
    collector: PerformanceMetricsCollector,
) -> None:
    cachetools = pytest.importorskip("cachetools")
    with metertap.instrument(json_endpoint=False):
        cache = cachetools.LRUCache(2)
        metertap.name_cache(cache, "prompts")
        for key in ("a", "a", "b"):
            if cache.get(key) is None:
                collector.record_cache_miss("prompts")
                cache[key] = 1
            else:
                collector.record_cache_hit("prompts")
        both = collector.cache_metrics
        assert {name: (cache.hits, cache.misses) for name, cache in both.items()} == {
            "prompts": (1, 2),
            "prompts@cachetools": (1, 2),
        }
        both["prompts@cachetools"].record_hit()  # it is by hand, and so counts for the other entry
        assert (both["prompts"].hits, both["prompts@cachetools"].hits) == (2, 1)


# Live views


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


# The classes by themselves


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
