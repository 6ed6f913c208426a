"""`PerformanceMetricsCollector`: what it records."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap import PerformanceMetricsCollector, ToolMetrics, state
from support.collectors import document, use, without
from support.patched_call import patched
from support.warned import warnings_of


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
