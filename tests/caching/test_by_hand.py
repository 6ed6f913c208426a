"""Caches measured by hand: what each call counts, and during which tool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, faults, state
from support.metric_data import by_attributes

pytestmark = pytest.mark.interpreter


def caches() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
    return found


def test_a_cache_is_counted_by_its_meter_and_by_the_functions() -> None:
    prompts = metertap.cache_meter("prompts")
    assert caches()["prompts"]["total_requests"] == 0
    assert caches()["prompts"]["hit_rate"] is None
    for _ in range(3):
        prompts.hit()
    prompts.miss()
    prompts.evicted(5)
    prompts.evicted()
    prompts.rejected()
    metertap.record_cache_hit("prompts")
    metertap.record_cache_miss("prompts")
    metertap.record_cache_eviction("prompts")
    metertap.record_cache_size_rejection("prompts")
    assert caches()["prompts"] == {
        "system": "manual",
        "hits": 4,
        "misses": 2,
        "total_requests": 6,
        "hit_rate": 100 * 4 / 6,
        "evictions": 7,
        "size_rejections": 2,
        "entries": None,
        "by_tool": {},
    }


def test_lookups_inside_a_tool_are_the_tools() -> None:
    prompts = metertap.cache_meter("prompts")

    @metertap.tool
    def streaming() -> Iterator[int]:
        prompts.hit()
        yield 1
        prompts.miss()

    @metertap.tool
    async def streaming_async() -> AsyncIterator[int]:
        prompts.hit()
        yield 1

    async def consume() -> None:
        async for _ in streaming_async():
            prompts.miss()

    for _ in streaming():
        prompts.hit()  # its consumer is no part of it
    asyncio.run(consume())
    with metertap.measure_tool("block"):
        prompts.hit()
        with metertap.measure_tool("inner"):
            prompts.hit()
    found = caches()["prompts"]
    assert (found["hits"], found["misses"]) == (5, 2)
    assert found["by_tool"] == {
        "streaming": {"hits": 1, "misses": 1, "hit_rate": 50.0},
        "streaming_async": {"hits": 1, "misses": 0, "hit_rate": 100.0},
        "block": {"hits": 1, "misses": 0, "hit_rate": 100.0},
        "inner": {"hits": 1, "misses": 0, "hit_rate": 100.0},
    }


def test_lookups_of_a_task_that_outlives_its_tool_are_not_the_tools() -> None:
    prompts = metertap.cache_meter("prompts")

    async def main() -> None:
        ended = asyncio.Event()

        async def afterwards() -> None:
            await ended.wait()
            prompts.hit()

        @metertap.tool
        async def starting() -> asyncio.Task[None]:
            return asyncio.create_task(afterwards())

        with metertap.measure_tool("around"):
            task = await starting()
            ended.set()
            await task

    asyncio.run(main())
    assert caches()["prompts"]["by_tool"] == {"around": {"hits": 1, "misses": 0, "hit_rate": 100.0}}


def test_opentelemetry_has_lookups_by_cache_result_and_tool() -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(meter_provider=MeterProvider([reader]), json_endpoint=False):
        prompts = metertap.cache_meter("prompts")
        prompts.hit()
        with metertap.measure_tool("search"):
            prompts.hit()
        prompts.evicted(3)
        prompts.rejected()
        requests = by_attributes(reader, catalogue.CACHE_REQUESTS.name)
        evictions = by_attributes(reader, catalogue.CACHE_EVICTIONS.name)
        rejections = by_attributes(reader, catalogue.CACHE_REJECTIONS.name)
    labels = {("cache.name", "prompts"), ("cache.system", "manual")}
    hit, miss, tool = (
        ("cache.request.type", "hit"),
        ("cache.request.type", "miss"),
        ("gen_ai.tool.name", "search"),
    )
    assert {attributes: point.value for attributes, point in requests.items()} == {
        frozenset({*labels, hit}): 1,
        frozenset({*labels, miss}): 0,
        frozenset({*labels, hit, tool}): 1,
        frozenset({*labels, miss, tool}): 0,
    }
    assert [point.value for point in evictions.values()] == [3]
    assert [point.value for point in rejections.values()] == [1]


@pytest.mark.faults
def test_a_cache_that_cannot_say_what_it_holds_leaves_the_rest_of_the_document() -> None:
    metertap.record_cache_hit("broken")
    metertap.record_cache_hit("fine")
    recorder = state.recorder()

    def broken() -> int:
        raise RuntimeError("closed")

    recorder.cache("broken", "manual").entries = broken
    recorder.cache("fine", "manual").entries = lambda: 7
    found = caches()
    assert (found["broken"]["entries"], found["fine"]["entries"]) == (None, 7)
    assert faults.fault_counts() == {"cache.entries": 1}


def test_a_cache_is_asked_what_it_holds_outside_the_recorders_lock() -> None:
    """It may hold a lock of its own, under which another thread of it is recording."""

    def held() -> int:
        thread = threading.Thread(target=metertap.record_cache_hit, args=("shared",), daemon=True)
        thread.start()
        thread.join(60)
        return 0 if thread.is_alive() else 1

    state.recorder().cache("shared", "manual").entries = held
    assert caches()["shared"]["entries"] == 1


def test_a_collection_looks_at_the_caches_once_and_sees_them_as_they_are() -> None:
    reader = InMemoryMetricReader()
    looks: list[None] = []
    with metertap.instrument(meter_provider=MeterProvider([reader]), json_endpoint=False):
        meter = metertap.cache_meter("prompts")
        state.recorder().on_look(lambda: looks.append(None))
        for collection in (1, 2, 3):
            meter.hit()
            meter.evicted(2)
            data = reader.get_metrics_data()
            assert data is not None
            values = {
                metric.name: [point.value for point in metric.data.data_points]
                for metric in data.resource_metrics[0].scope_metrics[0].metrics
                if metric.name.startswith("cache.")
            }
            assert sorted(values["cache.requests"]) == [0, collection]
            assert values["cache.evictions"] == [2 * collection]
            assert values["cache.rejections"] == [0]
            assert len(looks) == collection
