"""What is done when somebody looks: the JSON document, a Prometheus scrape, and the memory kept."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Gauge, Histogram, Summary, generate_latest

from benchmarks import baselines
from benchmarks.measuring import Result, interleaved, result
from benchmarks.process import measured
from metertap import catalogue, state
from metertap.recording import ToolSeries

TOOLS, WINDOW, NEW = 100, 1000, 10


def _latencies(count: int, seed: int) -> list[float]:
    chosen = random.Random(seed)
    return [chosen.lognormvariate(-4.0, 1.0) for _ in range(count)]


def record(series: ToolSeries, seconds: float) -> None:
    state.recorder().started(series)
    series.append(seconds)
    series.ended = time.perf_counter()


def new_tools(count: int) -> list[ToolSeries]:
    return [state.recorder().tool(f"tool {number}", "library") for number in range(count)]


def document(rounds: int) -> Iterator[Result]:
    """Built and serialised; every tool has new samples since the document before. In CPU time."""
    yield from _document(rounds, 100)
    yield from _document(rounds, WINDOW)


def _document(rounds: int, window: int) -> Iterator[Result]:
    with measured(window_size=window) as tap:
        singleton, tools = baselines.Singleton(window), new_tools(TOOLS)
        for number, series in enumerate(tools):
            for seconds in _latencies(window, number):
                record(series, seconds)
                singleton.record_tool_call(series.name, True, seconds * 1000.0)

        def ours(times: int) -> float:
            spent = 0.0
            for _ in range(times):
                for series in tools:
                    for seconds in _latencies(NEW, 1):
                        record(series, seconds)
                started = time.thread_time()
                json.dumps(tap.snapshot())
                spent += time.thread_time() - started
            return spent

        def theirs(times: int) -> float:
            spent = 0.0
            for _ in range(times):
                for series in tools:
                    for seconds in _latencies(NEW, 1):
                        singleton.record_tool_call(series.name, True, seconds * 1000.0)
                started = time.thread_time()
                json.dumps(singleton.get_all_metrics())
                spent += time.thread_time() - started
            return spent

        seconds = interleaved({"ours": ours, "singleton": theirs}, rounds=rounds, times=3)
    row = f"JSON document, {TOOLS} tools × {window}"
    yield result(row, "singleton", seconds["ours"], seconds["singleton"], 1.0)


def memory(_rounds: int) -> Iterator[Result]:
    """What 100 tools with full windows keep, in megabytes (their µs mean bytes)."""
    # Process metrics import a library of their own, at a time of their own.
    with measured(disabled_instrumentations=["system_metrics"]) as tap:
        tools = new_tools(TOOLS)
        record(tools[0], 0.0)  # with it the endpoints open, which imports modules
        while not (tap.prometheus_url and tap.json_url):
            time.sleep(0.01)
        tap.snapshot()
        tracemalloc.start()
        try:
            for number, series in enumerate(tools):
                for seconds in _latencies(WINDOW, number):
                    record(series, seconds)
            full, _ = tracemalloc.get_traced_memory()
            state.recorder().fold()
            kept, _ = tracemalloc.get_traced_memory()
            tap.snapshot()
            looked_at, _ = tracemalloc.get_traced_memory()
            for number in range(3):
                for series in tools:
                    for seconds in _latencies(NEW, number):
                        record(series, seconds)
                tap.snapshot()
            polled, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    row = f"memory, {TOOLS} tools × {WINDOW}"
    yield result(row, "1 MB", [kept / 1e6], [1.0], 1.2)
    yield result("… once a document was asked for", "1 MB", [looked_at / 1e6], [1.0], 1.2)
    row = f"… and again and again, {NEW} calls of each tool between"
    yield result(row, "1 MB", [polled / 1e6], [1.0], 1.2)
    yield result("… at worst, before a fold", "1 MB", [full / 1e6], [1.0], None)


def scrape(rounds: int) -> Iterator[Result]:
    """A Prometheus scrape of many series, and one of prometheus_client with the same ones."""
    seconds: dict[int, list[float]] = {}
    theirs: dict[int, list[float]] = {}
    for count in (1_000, 10_000):
        with measured(series_limit=20_000) as tap:
            for number, series in enumerate(new_tools(count)):
                record(series, number / count)
            exporter = tap.pipeline.prometheus
            assert exporter is not None
            registry = _prometheus_client(count)

            def ours(times: int, write: Callable[[], bytes] = exporter.text) -> float:
                return _spent(write, times)

            def same(times: int, source: CollectorRegistry = registry) -> float:
                return _spent(lambda: generate_latest(source), times)

            found = interleaved(
                {"scrape": ours, "theirs": same}, rounds=max(3, rounds // 6), times=1
            )
            seconds[count], theirs[count] = found["scrape"], found["theirs"]
    row = "scrape, 10,000 series"
    yield result(row, "1,000 series", seconds[10_000], seconds[1_000], 12.0)
    yield result(row, "prometheus_client's", seconds[10_000], theirs[10_000], 0.5)
    yield result("scrape, 1,000 series", "prometheus_client's", seconds[1_000], theirs[1_000], 0.5)


def _prometheus_client(count: int) -> CollectorRegistry:
    """A histogram, a gauge and a summary with the labels that ours have."""
    registry = CollectorRegistry()
    scope = ("otel_scope_name", "otel_scope_schema_url", "otel_scope_version")
    labels = ("gen_ai_tool_name", "metertap_outcome", *scope)
    histogram = Histogram(
        "duration", "", labels, buckets=catalogue.TOOL_DURATION.buckets, registry=registry
    )
    active = Gauge("active", "", ("gen_ai_tool_name", *scope), registry=registry)
    latency = Summary("latency", "", ("gen_ai_tool_name", "source"), registry=registry)
    for number in range(count):
        name = f"tool {number}"
        histogram.labels(name, "ok", "metertap", "", "").observe(number / count)
        active.labels(name, "metertap", "", "").set(0)
        latency.labels(name, "library").observe(number / count)
    return registry


def _spent(work: Callable[[], object], times: int) -> float:
    """Seconds of this thread's own time: a scrape lets others run again and again."""
    started = time.thread_time()
    for _ in range(times):
        work()
    return time.thread_time() - started
