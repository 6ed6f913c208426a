"""What a call costs above the bare function, for every way to measure one: docs/performance.md.

The floor is a closure that takes two readings of the clock and appends to a bounded deque.
"""

from __future__ import annotations

import asyncio
import sys
import time
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cachetools

import metertap
from benchmarks import baselines
from benchmarks.calls import work, work_later
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result, timed
from benchmarks.process import measured
from metertap.measuring import calls as measured_calls
from metertap.recording.buffer import CHUNK
from metertap.state import recorder
from metertap_instrumentation.tools.configured import Configured

_MODULE = "benchmarks_shop"
_ITEMS = 100


def _stream(count: int) -> Iterator[int]:
    yield from range(count)


async def _later(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def _spent(stream: Any, count: int) -> Work:
    def work(times: int) -> float:
        started = time.thread_time()
        for _ in range(times):
            for _item in stream(count):
                pass
        return time.thread_time() - started

    return work


def _spent_later(stream: Any, count: int) -> Work:
    async def run(times: int) -> float:
        started = time.thread_time()
        for _ in range(times):
            async for _item in stream(count):
                pass
        return time.thread_time() - started

    return lambda times: asyncio.run(run(times))


def _set_variable() -> None:
    """Do what makes a call the current one: make a list, and put it into the context."""
    measured_calls.current.set([None, None, None, False, False])


def _folding(sample: list[float]) -> Work:
    """Take in durations that have gathered, as one call in `CHUNK` does."""
    series = recorder().tool("folded", "benchmark")

    def work(times: int) -> float:
        spent, folds = 0.0, max(1, times // CHUNK)
        for _ in range(folds):
            for seconds in sample:
                series.append(seconds)
            started = time.thread_time()
            with recorder().lock:
                series.fold()
            spent += time.thread_time() - started
        return spent / (folds * CHUNK) * times

    return work


def calls(rounds: int) -> Iterator[Result]:
    """Above the bare function; `ours` is what is added to a call."""
    shop = types.ModuleType(_MODULE)
    vars(shop).update(line=work, line_later=work_later)
    sys.modules[_MODULE] = shop
    own = cachetools.LRUCache  # the same methods on a class of its own, which nobody patches
    bare: Any = type("Bare", (own,), {"get": own.get, "__getitem__": own.__getitem__})(8)
    with measured():
        lines = Configured("benchmark", "lines")
        lines.configure({f"{_MODULE}:line": {}, f"{_MODULE}:line_later": {}})
        lines.install()
        singleton = baselines.Singleton()
        tool, later = metertap.tool(work), metertap.tool(work_later)
        floor, floor_later = baselines.closure(work), baselines.closure_later(work_later)
        least = baselines.least(work)
        stream, stream_later = metertap.tool(_stream), metertap.tool(_later)
        line, line_later = shop.line, shop.line_later

        def by_hand() -> None:
            started = time.perf_counter()
            work(1)
            singleton.record_tool_call("work", True, (time.perf_counter() - started) * 1000.0)

        def block() -> None:
            with metertap.measure_tool("block"):
                work(1)

        cache: Any = cachetools.LRUCache(8)
        for one in (cache, bare):
            one["a"] = 1
        works: dict[str, Work] = {
            "bare": timed(lambda: work(1)),
            "nothing": timed(lambda: None),
            "variable": timed(_set_variable),
            "fold": _folding([1e-3 + number * 7919 % CHUNK * 1e-6 for number in range(CHUNK)]),
            "seed": timed(by_hand),
            "floor": timed(lambda: floor(1)),
            "least": timed(lambda: least(1)),
            "tool": timed(lambda: tool(1)),
            "line": timed(lambda: line(1)),
            "block": timed(block),
            "bare later": awaited(lambda: work_later(1)),
            "floor later": awaited(lambda: floor_later(1)),
            "tool later": awaited(lambda: later(1)),
            "line later": awaited(lambda: line_later(1)),
            "[]": timed(lambda: cache["a"]),
            "bare []": timed(lambda: bare["a"]),
            "get": timed(lambda: cache.get("a")),
            "bare get": timed(lambda: bare.get("a")),
        }
        seconds = interleaved(works, rounds=rounds, times=4000)
        streams = {
            f"{name} {count}": spent(function, count)
            for name, spent, function in (
                ("bare", _spent, _stream),
                ("ours", _spent, stream),
                ("bare later", _spent_later, _later),
                ("ours later", _spent_later, stream_later),
                ("least", _spent, baselines.steps(_stream)),
                ("least later", _spent_later, baselines.steps_later(_later)),
            )
            for count in (1, _ITEMS)
        }
        streamed = interleaved(streams, rounds=rounds, times=200)
        lines.uninstall()

    added = above(seconds, "tool", "bare")
    floor_added = above(seconds, "floor", "bare")
    floor_later = above(seconds, "floor later", "bare later")
    closure, closure_later = "closure, 2 clocks + append", "async closure"
    yield result("@metertap.tool", closure, added, floor_added, 1.8)
    yield result(
        "@metertap.tool", "the seed's collector", added, above(seconds, "seed", "bare"), 0.85
    )
    row = "the least that any decorator can do"
    least_added = above(seconds, "least", "bare")
    yield result(row, closure, least_added, floor_added, None)
    yield result(row, "the seed's collector", least_added, above(seconds, "seed", "bare"), None)
    # Two parts of that, which the floor and the collector lack.
    variable = above(seconds, "variable", "nothing")
    yield result("a list in a context variable", closure, variable, floor_added, None)
    yield result("a duration's share of a fold", closure, seconds["fold"], floor_added, None)
    row = "@metertap.tool, async"
    yield result(row, closure_later, above(seconds, "tool later", "bare later"), floor_later, None)
    yield result("a configured line", closure, above(seconds, "line", "bare"), floor_added, 3.0)
    row = "a configured line, async"
    yield result(row, closure_later, above(seconds, "line later", "bare later"), floor_later, 3.0)
    block_added = above(seconds, "block", "bare")
    yield result("with measure_tool(…)", closure, block_added, floor_added, None)
    for kind, shown in (("", "generator"), (" later", "async generator")):
        whole = above(streamed, f"ours{kind} {_ITEMS}", f"bare{kind} {_ITEMS}")
        first = above(streamed, f"ours{kind} 1", f"bare{kind} 1")
        items = [(all_ - one) / (_ITEMS - 1) for all_, one in zip(whole, first, strict=True)]
        yield result(f"{shown}, a call", "3 µs", first, [3e-6] * len(first), 1.0)
        yield result(f"{shown}, an item", "0.35 µs", items, [0.35e-6] * len(items), 1.0)
        fewest = above(streamed, f"least{kind} 1", f"bare{kind} 1")
        yield result(f"{shown}, a call, the least", "3 µs", fewest, [3e-6] * len(fewest), None)
    brackets = above(seconds, "[]", "bare []")
    yield result("cachetools []", "1.5 µs", brackets, [1.5e-6] * len(brackets), 1.0)
    yield result("cachetools get", "[]", above(seconds, "get", "bare get"), brackets, 2.0)
