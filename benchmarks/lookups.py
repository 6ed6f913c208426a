"""Lookups in caches: patched in-memory ones, and those whose own statistics are read."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from typing import Any

import cachetools
import wrapt

import metertap
from benchmarks import baselines
from benchmarks.measuring import Result, above, interleaved, result, timed
from benchmarks.process import measured
from metertap import state

OBSERVED = 1000


def _cache() -> Any:
    cache = cachetools.LRUCache(8)
    cache["a"] = 1
    return cache


def patched(rounds: int) -> Iterator[Result]:
    """`cache[key]` of cachetools, a hit, in a tool call."""
    bare = _cache()
    lookup = type(bare).__getitem__
    sdk = baselines.Sdk()

    def count(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        value = wrapped(*args, **kwargs)
        sdk.hit()
        return value

    # The same method on a class of its own, so that all stand beside each other.
    nothing = type("Nothing", (cachetools.LRUCache,), {})
    nothing.__getitem__ = wrapt.FunctionWrapper(lookup, baselines.do_nothing)  # type: ignore[attr-defined]
    counted = type("Counted", (cachetools.LRUCache,), {})
    counted.__getitem__ = wrapt.FunctionWrapper(lookup, count)  # type: ignore[attr-defined]
    plain = type("Plain", (cachetools.LRUCache,), {"__getitem__": lookup})
    caches = {"bare": plain(8), "nothing": nothing(8), "sdk": counted(8)}
    with measured():
        caches["ours"] = _cache()
        for cache in caches.values():
            cache["a"] = 1

        @metertap.tool
        def looking(cache: Any, times: int) -> float:
            return timed(lambda: cache["a"])(times)

        works = {name: functools.partial(looking, cache) for name, cache in caches.items()}
        seconds = interleaved(works, rounds=rounds, times=4000, fewer=("sdk",))
        figures = metertap.get_all_metrics()["cache_metrics"]
        assert sum(item["hits"] for item in figures.values()) >= rounds * 4000
    ours = above(seconds, "ours", "bare")
    row = "cachetools lookup, patched"
    yield result(row, "wrapt + Counter.add", ours, above(seconds, "sdk", "bare"), 0.10)
    yield result(row, "wrapt that does nothing", ours, above(seconds, "nothing", "bare"), 1.6)


def read(rounds: int) -> Iterator[Result]:
    """`lru_cache`: a lookup that is measured against one that is not, and reading a thousand."""

    def made() -> Any:
        return functools.lru_cache(maxsize=8)(lambda number: number)

    before = made()
    with measured():
        after = made()
        works = {"before": timed(lambda: before(1)), "after": timed(lambda: after(1))}
        metertap.get_all_metrics()
        seconds = interleaved(works, rounds=rounds, times=20_000)
    yield result(
        "lru_cache lookup, measured", "not measured", seconds["after"], seconds["before"], 1.05
    )


def observing(rounds: int) -> Iterator[Result]:
    """One collection's look at a thousand cache objects."""
    with measured(series_limit=10_000):
        caches = [_cache() for _ in range(OBSERVED)]
        for number, cache in enumerate(caches):
            metertap.name_cache(cache, f"cache {number}")
            cache.get("a")
        recorder = state.recorder()
        recorder.cache_figures()

        def look(times: int) -> float:
            started = time.perf_counter()
            for _ in range(times):  # a collection looks once, whatever it has instruments
                assert len(recorder.cache_figures()) == OBSERVED
            return time.perf_counter() - started

        seconds = interleaved({"look": look}, rounds=rounds, times=3)["look"]
    yield result(f"observing {OBSERVED} caches", "10 ms", seconds, [0.01] * len(seconds), 1.0)
