"""`reset_metrics`: the document begins again from nothing, and nothing else notices."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import state
from metertap.recording import Recorder
from support.forking import ran
from support.metric_data import points
from support.patched_call import patched
from support.resettable import DURATION, search, use

pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("without_the_process")]


def document() -> dict[str, Any]:
    return metertap.get_all_metrics()


def tool(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["tool_metrics"][name]
    return found


def cache(name: str) -> dict[str, Any]:
    found: dict[str, Any] = document()["cache_metrics"][name]
    return found


def test_every_figure_is_what_it_was_before_the_first_call() -> None:
    metertap.reset()
    prompts = metertap.cache_meter("prompts")
    use(prompts)
    before = document()
    metertap.reset_metrics()
    recorder, fresh = state.recorder(), Recorder()
    for found in recorder.figures().tools:
        assert found == fresh.tool(found.name, found.source).figures()
    for entry in recorder.figures().caches:
        assert entry == fresh.cache(entry.name, entry.system).figures()
    assert before["tool_metrics"].keys() == document()["tool_metrics"].keys() >= {"search", "pages"}
    system = document()["system_metrics"]
    assert (system["total_requests"], system["concurrent_requests"]) == (0, 0)
    assert system["start_time"] > before["system_metrics"]["start_time"]
    assert system["uptime_seconds"] <= document()["timestamp"] - before["timestamp"]


def test_measuring_goes_on_where_it_was() -> None:
    metertap.reset()
    prompts = metertap.cache_meter("prompts")
    fresh = []
    for _ in range(3):
        use(prompts)
        shown = document()
        counts = {
            name: (entry["outcomes"], entry["error_types"], entry["window_samples"])
            for name, entry in shown["tool_metrics"].items()
        }
        fresh.append((counts, shown["cache_metrics"], shown["system_metrics"]["total_requests"]))
        metertap.reset_metrics()
    assert fresh[0] == fresh[1] == fresh[2]
    assert fresh[0][2] == 9
    assert cache("prompts")["by_tool"] == {}


def test_percentiles_and_extremes_are_of_the_calls_since() -> None:
    for latency_ms in (1000.0, 2000.0, 3000.0):
        metertap.record_tool_call("by hand", True, latency_ms)
    metertap.reset_metrics()
    metertap.record_tool_call("by hand", True, 5.0)
    assert tool("by hand")["p50_latency_ms"] is None
    metertap.record_tool_call("by hand", True, 7.0)
    found = tool("by hand")
    assert (found["p50_latency_ms"], found["total_latency_ms"]) == (6.0, 12.0)
    assert (found["min_latency_ms"], found["max_latency_ms"]) == (5.0, 7.0)


def test_a_call_in_progress_is_counted_when_it_ends() -> None:
    async def main() -> None:
        inside, leave = asyncio.Event(), asyncio.Event()

        @metertap.tool
        async def slow() -> None:
            inside.set()
            await leave.wait()

        task = asyncio.create_task(slow())
        await inside.wait()
        with patched("search"):
            metertap.reset_metrics()
            for name in ("slow", "search"):
                assert (tool(name)["active_calls"], tool(name)["total_calls"]) == (1, 0)
            assert document()["system_metrics"]["concurrent_requests"] == 2
            leave.set()
            await task
            assert (tool("slow")["active_calls"], tool("slow")["total_calls"]) == (0, 1)

    metertap.reset()
    asyncio.run(main())
    assert (tool("search")["active_calls"], tool("search")["total_calls"]) == (0, 1)


def test_sessions_stay_open() -> None:
    recorder = state.recorder()
    recorder.session_opened()
    metertap.get_collector().set_active_sessions(7)
    metertap.reset_metrics()
    assert document()["system_metrics"]["active_sessions"] == 1
    recorder.session_closed()
    recorder.session_closed()
    assert document()["system_metrics"]["active_sessions"] == 0


def test_caches_that_count_themselves_and_patched_ones_begin_again() -> None:
    cachetools = pytest.importorskip("cachetools")
    with metertap.instrument(json_endpoint=False):

        @functools.lru_cache(maxsize=2)
        def square(number: int) -> int:
            return number * number

        entries = cachetools.LRUCache(2)
        metertap.name_cache(entries, "entries")
        metertap.name_cache(square, "square")

        def look_up() -> None:
            for number in (1, 2, 1):
                square(number)
                entries.get(number)
                entries[number] = 1

        look_up()
        assert (cache("square")["hits"], cache("square")["misses"]) == (1, 2)
        assert (cache("entries")["hits"], cache("entries")["misses"]) == (1, 2)
        metertap.reset_metrics()
        for name in ("square", "entries"):
            found = cache(name)
            assert (found["total_requests"], found["hit_rate"]) == (0, None)
        assert cache("square")["entries"] == 2  # that many there are, whoever counts
        look_up()
        assert (cache("square")["hits"], cache("square")["misses"]) == (3, 0)
        assert (cache("entries")["hits"], cache("entries")["misses"]) == (3, 0)
        square.cache_clear()
        metertap.reset_metrics()
        look_up()
        assert (cache("square")["hits"], cache("square")["misses"]) == (1, 2)


def test_it_does_nothing_where_measuring_is_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFORMANCE_METRICS_ENABLED", "false")
    before = document()["system_metrics"]["start_time"]
    metertap.reset_metrics()
    assert document()["system_metrics"]["start_time"] == before


def test_no_reset_brings_a_new_series() -> None:
    """Past the limit of series the SDK's bulk path is lost; resets must not use it up."""
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))
    metertap.reset()
    with metertap.instrument(json_endpoint=False, series_limit=20) as tap:
        paths = tap.diagnosis()["recording_paths"]
        for _ in range(2500):
            search()
            metertap.reset_metrics()
        assert tap.diagnosis()["recording_paths"] == paths


def test_threads_that_record_meanwhile_lose_nothing() -> None:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    metertap.reset()
    prompts = metertap.cache_meter("prompts")
    stop = threading.Event()
    least: list[int] = []

    def record() -> None:
        for _ in range(3000):
            with patched("search"):
                prompts.hit()

    def look() -> None:
        done = False
        while not done:  # once at least, however late this thread comes
            done = stop.is_set()
            metertap.reset_metrics()
            shown = document()
            least.append(min(shown["tool_metrics"]["search"]["outcomes"].values()))
            least.append(shown["tool_metrics"]["search"]["active_calls"])
            least.append(shown["cache_metrics"]["prompts"]["hits"])

    with metertap.instrument(json_endpoint=False):
        with patched("search"):
            pass
        threads = [threading.Thread(target=record) for _ in range(3)]
        looking = threading.Thread(target=look)
        for thread in (*threads, looking):
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        looking.join()
        assert min(least) >= 0
        assert sum(point.count for point in points(reader, DURATION)) == 9001
        lifetime = state.recorder().lifetime()
        assert (lifetime.total_requests, lifetime.caches[0].hits) == (9001, 9000)
        metertap.reset_metrics()
        assert (document()["system_metrics"]["total_requests"], cache("prompts")["hits"]) == (0, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_knows_nothing_of_the_parents_resets() -> None:
    program = """
tap = metertap.instrument(prometheus=True)
call(3)
before = seen(tap)
metertap.reset_metrics()
call()

def child():
    call(2)
    metertap.record_cache_hit("prompts")
    found = seen(tap), metertap.get_all_metrics()["cache_metrics"]["prompts"]["hits"]
    metertap.reset_metrics()
    call()
    return [*found, seen(tap)]

counts = in_child(child)
print(json.dumps({"parent": [before, seen(tap)], "child": counts}))
"""
    assert ran(program) == {
        "parent": [[3, 3, 3, 3], [1, 1, 4, 4]],
        "child": [[2, 2, 2, 2], 1, [1, 1, 3, 3]],
    }
