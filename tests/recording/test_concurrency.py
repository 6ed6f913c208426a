"""Sixteen threads at once: every count exact, no sample lost, memory bounded."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, outcomes, recording
from metertap.recording import Recorder
from support.metric_data import points

pytestmark = pytest.mark.interpreter

THREADS = 16
EACH = 100_000
WINDOW = 1000


def in_threads(work: Callable[[int], None]) -> None:
    """Run `work(number)` in all threads, which begin together."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> None:
        barrier.wait()
        work(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_record_of_1_600_000_is_lost() -> None:
    """Directly on a recorder: with the SDK's histogram behind it this takes minutes."""
    recorder = Recorder(WINDOW)

    def work(number: int) -> None:
        for call in range(EACH):
            series = recorder.tool_by_hand(f"tool {call % 4}", "manual")
            ended = outcomes.TIMEOUT if call % 5 == 0 else outcomes.OK
            recorder.record_tool(series, ended, None, float(call))  # sums of integers are exact

    in_threads(work)
    tools = recorder.figures().tools
    assert len(tools) == 4
    assert sum(tool.succeeded for tool in tools) == THREADS * EACH * 4 // 5
    assert sum(tool.failed for tool in tools) == THREADS * EACH // 5
    for number, tool in enumerate(sorted(tools, key=lambda tool: tool.name)):
        assert tool.sampled == THREADS * EACH // 4
        assert tool.total_ms == THREADS * sum(range(number, EACH, 4))
        assert (tool.minimum_ms, tool.maximum_ms) == (number, EACH - 4 + number)
        assert tool.window_samples == WINDOW
        window = recorder.tool(tool.name, tool.source).window.milliseconds()
        assert all(sample % 4 == number for sample in window)


def test_the_document_and_opentelemetry_agree_on_every_call() -> None:
    """The whole path, on 96,000 calls: what it costs is the SDK's `record`."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    calls, lookups = 3000, 1000
    collecting = threading.Event()

    def collect() -> None:
        while not collecting.is_set():
            reader.get_metrics_data()

    with metertap.instrument(meter_provider=provider, json_endpoint=False) as tap:
        prompts = metertap.cache_meter("prompts")

        @metertap.tool
        def search(fail: bool) -> None:
            if fail:
                raise ValueError

        def work(number: int) -> None:
            for call in range(calls):
                try:
                    search(call % 4 == 0)
                except ValueError:
                    pass
                metertap.record_tool_call("other", True, 1.0)
            for _ in range(lookups):
                prompts.hit()
                metertap.record_cache_miss("prompts")

        collector = threading.Thread(target=collect)
        collector.start()
        in_threads(work)
        collecting.set()
        collector.join()
        document = tap.snapshot()
        durations = points(reader, catalogue.TOOL_DURATION.name)
        requests = points(reader, catalogue.CACHE_REQUESTS.name)
        active = points(reader, catalogue.TOOL_ACTIVE.name)
    provider.shutdown()

    total = THREADS * calls
    search_, other = document["tool_metrics"]["search"], document["tool_metrics"]["other"]
    assert (search_["successful_calls"], search_["failed_calls"]) == (total * 3 // 4, total // 4)
    assert search_["error_types"] == {"ValueError": total // 4}
    assert (other["total_calls"], other["total_latency_ms"]) == (total, total)
    assert document["cache_metrics"]["prompts"]["hits"] == THREADS * lookups
    assert document["cache_metrics"]["prompts"]["misses"] == THREADS * lookups
    counted = {
        (point.attributes[catalogue.TOOL_NAME], point.attributes[catalogue.OUTCOME]): point.count
        for point in durations
    }
    assert counted == {
        ("search", "ok"): total * 3 // 4,
        ("search", "exception"): total // 4,
        ("other", "ok"): total,
    }
    assert [point.value for point in requests] == [THREADS * lookups] * 2
    assert {point.value for point in active} == {0}


def allocated_in_recording() -> int:
    """Bytes. Other threads may import something meanwhile."""
    ours = tracemalloc.Filter(True, f"{Path(recording.__file__).parent}/*")
    taken = tracemalloc.take_snapshot().filter_traces([ours])
    return sum(trace.size for trace in taken.traces)


def test_memory_is_bounded_by_windows() -> None:
    """Once the windows are full, nothing that is recorded stays."""
    recorder = Recorder(WINDOW)
    tools = [recorder.tool(f"tool {number}", "manual") for number in range(THREADS)]

    def record(number: int, count: int) -> None:
        for call in range(count):
            recorder.record_tool(tools[number], outcomes.OK, None, call + 0.5)

    tracemalloc.start()
    try:
        for number in range(THREADS):
            record(number, WINDOW)
        recorder.figures()  # what waits in buffers is bounded, and not what is asked here
        full = allocated_in_recording()
        in_threads(lambda number: record(number, 10 * WINDOW))
        recorder.figures()
        after = allocated_in_recording()
    finally:
        tracemalloc.stop()
    assert full < THREADS * WINDOW * 20  # a double in the ring, one sorted, and the rest
    assert after - full < 100_000
