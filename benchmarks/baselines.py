"""What metertap is measured against."""

from __future__ import annotations

import bisect
import functools
import itertools
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import wrapt
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, Histogram

from metertap import catalogue
from metertap.settings import settings as metertap_settings
from metertap_exporters.json.reader import JsonMetricReader

_CHUNK = 1024
"""Calls between two folds of `least`, as in metertap."""
_current: ContextVar[Any] = ContextVar("benchmarks_current_call", default=None)


def wrapped(function: Callable[..., Any], wrapper: Callable[..., Any]) -> Any:
    """`function` under a wrapt wrapper."""
    return wrapt.FunctionWrapper(function, wrapper)


def do_nothing(function: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """The least that a wrapt wrapper can do."""
    return function(*args, **kwargs)


def closure(function: Callable[..., Any]) -> Callable[..., Any]:
    """The least that a decorator which measures can do: a closure, two clocks, an append."""
    append, clock = deque[float](maxlen=1000).append, time.perf_counter

    def call(*args: Any, **kwargs: Any) -> Any:
        started = clock()
        result = function(*args, **kwargs)
        append(clock() - started)
        return result

    return call


def closure_later(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same of an async function."""
    append, clock = deque[float](maxlen=1000).append, time.perf_counter

    async def call(*args: Any, **kwargs: Any) -> Any:
        started = clock()
        result = await function(*args, **kwargs)
        append(clock() - started)
        return result

    return call


def least(function: Callable[..., Any]) -> Callable[..., Any]:
    """What no decorator can do without that knows what is active and whose lookups are whose.

    To the closure this adds a tick, the call in a context variable, where a call inside finds it,
    and the fold of what has gathered. Nothing is guarded, and a call inside another is not told.
    """
    kept: list[float] = []
    append, clock = kept.append, time.perf_counter
    tick = itertools.repeat(None, _CHUNK).__next__
    find, make_current = _current.get, _current.set

    def fold() -> None:
        nonlocal tick
        tick = itertools.repeat(None, _CHUNK).__next__
        ordered = sorted(kept)
        sum(kept)
        for bound in catalogue.TOOL_DURATION.buckets:
            bisect.bisect_right(ordered, bound)
        kept.clear()

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            tick()
        except StopIteration:
            fold()
        around = find()
        if around is not None and around[0] is not None:
            raise RuntimeError("calls that are timed are not inside each other")
        frame = [kept, None]
        make_current(frame)
        started = clock()
        result = function(*args, **kwargs)
        append(clock() - started)
        frame[0] = None
        return result

    return call


def steps(function: Callable[..., Any]) -> Callable[..., Any]:
    """The least that measures a generator: a driver, a call that is current in steps alone."""
    append, clock = deque[float](maxlen=1000).append, time.perf_counter
    make_current, reset = _current.set, _current.reset

    def drive(inner: Any) -> Any:
        frame: list[Any] = [append, None]
        started = clock()
        value = None
        while True:
            token = make_current(frame)
            try:
                item = inner.send(value)
            except StopIteration as end:
                append(clock() - started)
                return end.value
            finally:
                reset(token)
            value = yield item

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return drive(function(*args, **kwargs))

    return call


def steps_later(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same of an async generator."""
    append, clock = deque[float](maxlen=1000).append, time.perf_counter
    make_current, reset = _current.set, _current.reset

    async def drive(inner: Any) -> Any:
        frame: list[Any] = [append, None]
        started = clock()
        value = None
        while True:
            token = make_current(frame)
            try:
                item = await inner.asend(value)
            except StopAsyncIteration:
                append(clock() - started)
                return
            finally:
                reset(token)
            value = yield item

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return drive(function(*args, **kwargs))

    return call


class TwoClocksAndAnAppend:
    """The least that a wrapt wrapper which measures can do."""

    def __init__(self) -> None:
        self.kept: deque[float] = deque(maxlen=1000)

    def plain(self, function: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        self.kept.append(time.perf_counter() - started)
        return result


class Sdk:
    """wrapt and the SDK's instruments, on a provider with the readers that metertap has."""

    def __init__(self) -> None:
        self.readers = [
            JsonMetricReader(metertap_settings.read({})),
            PrometheusMetricReader(registry=CollectorRegistry()),
        ]
        self.provider = MeterProvider(self.readers, shutdown_on_exit=False)
        meter = self.provider.get_meter("baseline")
        duration = catalogue.TOOL_DURATION
        self._histogram = meter.create_histogram(
            duration.name,
            unit=duration.unit,
            explicit_bucket_boundaries_advisory=list(duration.buckets),
        )
        self._counter = meter.create_counter(catalogue.CACHE_REQUESTS.name)
        self._ok = {catalogue.TOOL_NAME: "work", catalogue.OUTCOME: "ok"}
        self._hit = {catalogue.CACHE_NAME: "cache", catalogue.CACHE_REQUEST_TYPE: "hit"}

    def plain(self, function: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        self._histogram.record(time.perf_counter() - started, self._ok)
        return result

    async def coroutine(self, function: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        started = time.perf_counter()
        result = await function(*args, **kwargs)
        self._histogram.record(time.perf_counter() - started, self._ok)
        return result

    def hit(self) -> None:
        self._counter.add(1, self._hit)


class PrometheusClient:
    """A bound child of prometheus_client's own histogram."""

    def __init__(self) -> None:
        histogram = Histogram(
            "tool_seconds",
            "Tool calls.",
            ["tool", "outcome"],
            registry=CollectorRegistry(),
            buckets=catalogue.TOOL_DURATION.buckets,
        )
        self._child = histogram.labels("work", "ok")

    def plain(self, function: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        started = time.perf_counter()
        result = function(*args, **kwargs)
        self._child.observe(time.perf_counter() - started)
        return result


@dataclass
class _Tool:
    total_calls: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    total_latency_ms: float = 0.0
    latency_samples: deque[float] = field(default_factory=deque)
    error_types: dict[str, int] = field(default_factory=dict)
    last_call_timestamp: float | None = None


class Singleton:
    """The hand-called collector that metertap replaces: RLock, dataclass, deque, statistics."""

    def __init__(self, window: int = 1000) -> None:
        self._lock = threading.RLock()
        self._window = window
        self._tools: dict[str, _Tool] = {}
        self._caches: dict[str, dict[str, int]] = {}
        self._started = time.time()

    def record_tool_call(
        self,
        tool_name: str,
        success: bool,
        latency_ms: float | None = None,
        error_type: str | None = None,
    ) -> None:
        with self._lock:
            tool = self._tools.get(tool_name)
            if tool is None:
                tool = self._tools[tool_name] = _Tool(latency_samples=deque(maxlen=self._window))
            tool.total_calls += 1
            tool.last_call_timestamp = time.time()
            if success:
                tool.successful_calls += 1
            else:
                tool.failed_calls += 1
                if error_type is not None:
                    tool.error_types[error_type] = tool.error_types.get(error_type, 0) + 1
            if latency_ms is not None:
                tool.total_latency_ms += latency_ms
                tool.latency_samples.append(latency_ms)

    def record_cache_hit(self, cache_name: str) -> None:
        with self._lock:
            cache = self._caches.get(cache_name)
            if cache is None:
                cache = self._caches[cache_name] = {"hits": 0, "misses": 0}
            cache["hits"] += 1

    def get_all_metrics(self) -> dict[str, Any]:
        with self._lock:
            return {
                "timestamp": time.time(),
                "tool_metrics": {name: self._stats(tool) for name, tool in self._tools.items()},
                "cache_metrics": {name: dict(cache) for name, cache in self._caches.items()},
                "system_metrics": {"uptime_seconds": time.time() - self._started},
            }

    def _stats(self, tool: _Tool) -> dict[str, Any]:
        samples = list(tool.latency_samples)
        p50, p95, p99 = self._percentiles(samples)
        total = tool.total_calls
        return {
            "total_calls": total,
            "successful_calls": tool.successful_calls,
            "failed_calls": tool.failed_calls,
            "success_rate": 100.0 * tool.successful_calls / total if total else 0.0,
            "avg_latency_ms": tool.total_latency_ms / total if total else 0.0,
            "min_latency_ms": min(samples) if samples else None,
            "max_latency_ms": max(samples) if samples else None,
            "p50_latency_ms": p50,
            "p95_latency_ms": p95,
            "p99_latency_ms": p99,
            "error_types": dict(tool.error_types),
            "last_call_timestamp": tool.last_call_timestamp,
        }

    def _percentiles(self, samples: list[float]) -> tuple[float | None, ...]:
        if len(samples) < 2:
            return None, None, None
        quantiles = statistics.quantiles(samples, n=100)
        return quantiles[49], quantiles[94], quantiles[98]
