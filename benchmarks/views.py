"""What is done when somebody looks: the JSON document, a Prometheus scrape, and the memory kept."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from benchmarks import baselines
from benchmarks.measuring import Result, interleaved, result
from benchmarks.process import measured
from metertap import state
from metertap.recording import ToolSeries

TOOLS, WINDOW, NEW = 100, 1000, 10


def _latencies(count: int, seed: int) -> list[float]:
    chosen = random.Random(seed)
    return [chosen.lognormvariate(-4.0, 1.0) for _ in range(count)]


def _record(series: ToolSeries, seconds: float) -> None:
    state.recorder().started(series)
    series.append(seconds)
    series.ended = time.perf_counter()


def _tools(count: int) -> list[ToolSeries]:
    return [state.recorder().tool(f"tool {number}", "library") for number in range(count)]


def document(rounds: int) -> Iterator[Result]:
    """Built and serialised; every tool has new samples since the document before."""
    with measured() as tap:
        singleton, tools = baselines.Singleton(WINDOW), _tools(TOOLS)
        for number, series in enumerate(tools):
            for seconds in _latencies(WINDOW, number):
                _record(series, seconds)
                singleton.record_tool_call(series.name, True, seconds * 1000.0)

        def ours(times: int) -> float:
            spent = 0.0
            for _ in range(times):
                for series in tools:
                    for seconds in _latencies(NEW, 1):
                        _record(series, seconds)
                started = time.perf_counter()
                json.dumps(tap.snapshot())
                spent += time.perf_counter() - started
            return spent

        def theirs(times: int) -> float:
            spent = 0.0
            for _ in range(times):
                for series in tools:
                    for seconds in _latencies(NEW, 1):
                        singleton.record_tool_call(series.name, True, seconds * 1000.0)
                started = time.perf_counter()
                json.dumps(singleton.get_all_metrics())
                spent += time.perf_counter() - started
            return spent

        seconds = interleaved({"ours": ours, "singleton": theirs}, rounds=rounds, times=3)
    row = f"JSON document, {TOOLS} tools × {WINDOW}"
    yield result(row, "singleton", seconds["ours"], seconds["singleton"], 0.5)


def memory(_rounds: int) -> Iterator[Result]:
    """What 100 tools with full windows keep, in megabytes (their µs mean bytes)."""
    with measured() as tap:
        tap.snapshot()
        tracemalloc.start()
        try:
            for number, series in enumerate(_tools(TOOLS)):
                for seconds in _latencies(WINDOW, number):
                    _record(series, seconds)
            full, _ = tracemalloc.get_traced_memory()
            state.recorder().fold()
            kept, _ = tracemalloc.get_traced_memory()
            tap.snapshot()
            looked_at, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    row = f"memory, {TOOLS} tools × {WINDOW}"
    yield result(row, "1 MB", [kept / 1e6], [1.0], 1.2)
    yield result("… while documents are asked for", "1 MB", [looked_at / 1e6], [1.0], None)
    yield result("… at worst, before a fold", "1 MB", [full / 1e6], [1.0], None)


class _Kept(Collector):
    """The metric families of one scrape, to be written again."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._families = list(registry.collect())

    def collect(self) -> list[Any]:
        return self._families


def scrape(rounds: int) -> Iterator[Result]:
    """A Prometheus scrape of many series, and the same text written from finished families."""
    seconds: dict[int, list[float]] = {}
    text: dict[int, list[float]] = {}
    for count in (1_000, 10_000):
        with measured(series_limit=20_000) as tap:
            for number, series in enumerate(_tools(count)):
                _record(series, number / count)
            prometheus = tap.pipeline.prometheus
            assert prometheus is not None
            registry = prometheus.registry
            again = CollectorRegistry()
            again.register(_Kept(registry))

            def work(times: int, source: CollectorRegistry = registry) -> float:
                started = time.perf_counter()
                for _ in range(times):
                    generate_latest(source)
                return time.perf_counter() - started

            def written(times: int, source: CollectorRegistry = again) -> float:
                return work(times, source)

            found = interleaved(
                {"scrape": work, "text": written}, rounds=max(3, rounds // 6), times=1
            )
            seconds[count], text[count] = found["scrape"], found["text"]
    row = "scrape, 10,000 series"
    yield result(row, "1,000 series", seconds[10_000], seconds[1_000], 12.0)
    yield result("its text alone", "that of 1,000 series", text[10_000], text[1_000], None)
    yield result(row, "generate_latest of its text", seconds[10_000], text[10_000], 1.5)
