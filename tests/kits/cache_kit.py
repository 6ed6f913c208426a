"""What holds for every cache that is patched: a test class inherits this, and says how to use one.

A cache that cannot do something leaves the method out (`evict = None`), and with it the test.
"""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from metertap import state
from support import breaking

SENTINEL = object()
OURS = [Path(package.__file__).parent for package in (metertap, metertap_instrumentation)]


def shows_us(error: BaseException) -> bool:
    """Whether a frame of metertap's is in the traceback of `error`."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = any(folder in Path(frame.filename).parents for frame in frames for folder in OURS)
    return ours and sys.version_info >= (3, 11)  # before, a caught frame stays


class CacheKit:
    """`make` gives an empty cache, `put` and `get` use it as its users do.

    `get` returns `SENTINEL` for a miss; with a default where the library has one.
    """

    system: str
    pickles = True
    keeps_none = True
    get_default: Callable[[Any, Any, Any], Any] | None = None
    evict: Callable[[Any], int] | None = None
    """Makes a cache that was just made evict, and says how many entries that were."""
    reject: Callable[[Any], None] | None = None
    clear: Callable[[Any], None] | None = None

    def make(self) -> Any:
        raise NotImplementedError

    def put(self, cache: Any, key: str, value: Any) -> None:
        raise NotImplementedError

    def get(self, cache: Any, key: str) -> Any:
        raise NotImplementedError

    def leave_threads(self) -> None:
        """Have what the cache does in other threads done in new ones, which can be watched."""

    # What follows are the tests.

    @pytest.fixture(autouse=True)
    def measured(self) -> Iterator[metertap.Tap]:
        with metertap.instrument(json_endpoint=False) as tap:
            yield tap

    @pytest.fixture
    def cache(self, measured: metertap.Tap) -> Any:
        cache = self.make()
        metertap.name_cache(cache, "sessions")
        return cache

    def figures(self, name: str = "sessions") -> dict[str, Any]:
        found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"][name]
        return found

    def counted(self) -> tuple[int, int]:
        found = self.figures()
        assert found["system"] == self.system
        return found["hits"], found["misses"]

    def test_a_hit_and_a_miss(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert self.get(cache, "a") == 1
        assert self.get(cache, "b") is SENTINEL
        assert self.get(cache, "a") == 1
        assert self.counted() == (2, 1)
        assert self.figures()["hit_rate"] == pytest.approx(200 / 3)

    def test_a_stored_none_is_a_hit(self, cache: Any) -> None:
        if not self.keeps_none:
            pytest.skip(f"{self.system} cannot tell a stored None from nothing")
        self.put(cache, "a", None)
        assert self.get(cache, "a") is None
        assert self.counted() == (1, 0)

    def test_a_default_is_a_miss_even_if_it_looks_like_a_value(self, cache: Any) -> None:
        if self.get_default is None:
            pytest.skip(f"{self.system} has no defaults")
        self.put(cache, "a", 1)
        assert self.get_default(cache, "a", 5) == 1
        assert self.get_default(cache, "b", 1) == 1
        assert self.get_default(cache, "b", None) is None
        assert self.counted() == (1, 2)

    def test_evictions_are_counted_and_are_no_lookups(self, cache: Any) -> None:
        if self.evict is None:
            pytest.skip(f"{self.system} evicts nothing, or does not show it")
        evicted = self.evict(cache)
        assert evicted > 0
        self.get(cache, "a")
        found = self.figures()
        assert found["evictions"] == evicted
        assert found["total_requests"] == 1

    def test_rejections_are_counted(self, cache: Any) -> None:
        if self.reject is None:
            pytest.skip(f"{self.system} rejects nothing, or does not show it")
        self.reject(cache)
        self.get(cache, "a")
        assert self.figures()["size_rejections"] == 1

    def test_what_the_library_does_not_show_is_null(self, cache: Any) -> None:
        self.get(cache, "a")
        found = self.figures()
        assert (found["evictions"] is None) == (self.evict is None)
        assert (found["size_rejections"] is None) == (self.reject is None)

    def test_counters_never_go_back(self, cache: Any) -> None:
        if self.clear is None:
            pytest.skip(f"{self.system} cannot be cleared")
        self.put(cache, "a", 1)
        self.get(cache, "a")
        self.get(cache, "b")
        assert self.counted() == (1, 1)
        self.clear(cache)
        assert self.get(cache, "a") is SENTINEL
        assert self.counted() == (1, 2)
        assert self.figures()["evictions"] in {0, None}

    def test_concurrent_gets_lose_nothing(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        begun = threading.Barrier(4)

        def look() -> None:
            begun.wait()
            for _ in range(100):
                self.get(cache, "a")

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.counted() == (400, 0)

    def test_lookups_in_a_tool_call_are_the_tools(self, cache: Any) -> None:
        self.put(cache, "a", 1)

        @metertap.tool
        def search() -> None:
            self.get(cache, "a")
            self.get(cache, "b")

        search()
        self.get(cache, "a")
        by_tool = self.figures()["by_tool"]
        assert by_tool == {"search": {"hits": 1, "misses": 1, "hit_rate": 50.0}}
        assert self.counted() == (2, 1)

    def test_pickles_and_copies_as_before(self, cache: Any) -> None:
        if not self.pickles:
            pytest.skip(f"{self.system} does not pickle")
        self.put(cache, "a", 1)
        again = pickle.loads(pickle.dumps(cache))
        assert type(again) is type(cache)
        assert self.get(again, "a") == 1
        assert self.get(copy.copy(cache), "a") == 1

    def test_a_cache_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        cache = self.make()
        metertap.name_cache(cache, "sessions")
        self.put(cache, "a", 1)
        self.get(cache, "a")
        assert self.counted() == (1, 0)
        del cache
        gc.collect()
        gc.collect()
        assert self.counted() == (1, 0)
        series = state.recorder().cache("sessions", self.system)
        assert not series.parts

    def test_a_cache_that_was_used_before_is_counted_from_then_on(
        self, measured: metertap.Tap
    ) -> None:
        measured.shutdown()
        cache = self.make()
        metertap.name_cache(cache, "sessions")
        self.put(cache, "a", 1)
        self.get(cache, "a")
        with metertap.instrument(json_endpoint=False):
            self.get(cache, "a")
            assert self.counted() == (1, 0)

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self, cache: Any) -> None:
        def use() -> list[Any]:
            self.leave_threads()
            self.put(cache, "a", 1)
            return [self.get(cache, "a") is SENTINEL, self.get(cache, "b") is SENTINEL]

        problems = breaking.walk(use, count=self.counted)
        assert not problems, problems

    def test_undone_it_is_what_it_was(self, measured: metertap.Tap, cache: Any) -> None:
        self.put(cache, "a", 1)
        self.get(cache, "a")
        measured.shutdown()
        assert self.get(cache, "a") == 1
        assert self.counted() == (1, 0)
        faults = metertap.Tap.diagnosis(measured)["faults"]
        assert faults == {}


class MappingKit(CacheKit):
    """What holds for a cache that is used like a dictionary."""

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache[key] = value

    def get(self, cache: Any, key: str) -> Any:
        try:
            return cache[key]
        except KeyError:
            return SENTINEL

    def get_default(self, cache: Any, key: str, default: Any) -> Any:
        return cache.get(key, default)
