"""What holds for every decorated function whose cache counts itself, and is found and read."""

from __future__ import annotations

import gc
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import metertap
from metertap import Tap
from support import breaking


class ReadCacheKit:
    """`decorate` makes a cached function of one argument; `call` calls it."""

    system: str
    tells_its_end = False
    """Whether a cache can say what it counted when it ends."""

    def decorate(self, name: str = "price", module: str = "shop", *, fails: bool = False) -> Any:
        """A cached function that gives back its argument, of the module `shop` of no file."""
        raise NotImplementedError

    def call(self, cached: Any, argument: Any) -> Any:
        raise NotImplementedError

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
        return {name: item for name, item in found.items() if item["system"] == self.system}

    def counted(self, name: str = "shop.price") -> tuple[int, int]:
        found = self.document()[name]
        return found["hits"], found["misses"]

    # What follows are the tests.

    @pytest.fixture(autouse=True)
    def measured(self) -> Iterator[Tap]:
        gc.collect()  # caches of other tests would be found
        with metertap.instrument() as tap:
            yield tap
            assert tap.diagnosis()["faults"] == {}

    def test_its_own_figures_are_shown_and_what_it_does_not_count_is_null(self) -> None:
        cached = self.decorate()
        assert [self.call(cached, item) for item in "aba"] == ["a", "b", "a"]
        assert self.document() == {
            "shop.price": {
                "system": self.system,
                "hits": 1,
                "misses": 2,
                "total_requests": 3,
                "hit_rate": pytest.approx(100 / 3),
                "evictions": None,
                "size_rejections": None,
                "entries": 2,
                "by_tool": None,
            }
        }

    def test_none_that_was_stored_is_a_hit(self) -> None:
        cached = self.decorate()
        assert self.call(cached, None) is None
        assert self.call(cached, None) is None
        assert self.counted() == (1, 1)

    def test_a_cache_that_nobody_asked_is_listed(self) -> None:
        cached = self.decorate()
        assert self.counted() == (0, 0)
        assert cached is not None

    def test_an_error_of_the_function_passes_through_and_is_not_kept(self) -> None:
        cached = self.decorate(fails=True)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                self.call(cached, "a")
        assert self.counted() == (0, 2)

    def test_counting_begins_with_instrument(
        self, measured: Tap, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        measured.shutdown()
        shop, cached, of_class = (
            types.ModuleType("shop"),
            self.decorate(),
            self.decorate("Shop.get"),
        )
        vars(shop).update(price=cached, Shop=type("Shop", (), {"get": of_class}))
        shop.Shop.__module__ = "shop"
        monkeypatch.setitem(sys.modules, "shop", shop)
        for _ in range(5):
            self.call(cached, "a")
            self.call(of_class, "a")
        with metertap.instrument():
            assert (self.counted(), self.counted("shop.Shop.get")) == ((0, 0), (0, 0))
            self.call(cached, "a")
            self.call(of_class, "b")
            assert (self.counted(), self.counted("shop.Shop.get")) == ((1, 0), (0, 1))

    def test_what_only_a_search_finds_is_read_from_its_own_beginning(self, measured: Tap) -> None:
        measured.shutdown()
        cached = self.decorate()
        self.call(cached, "a")
        with metertap.instrument():
            self.call(cached, "a")
            assert self.counted() == (1, 1)

    def test_counters_never_go_back(self) -> None:
        cached = self.decorate()
        for item in "aab":
            self.call(cached, item)
        assert self.counted() == (1, 2)
        cached.cache_clear()
        assert self.counted() == (1, 2)
        for item in "aaa":
            self.call(cached, item)
        assert self.counted() == (3, 3)
        assert self.document()["shop.price"]["entries"] == 1

    def test_one_name_for_many_caches(self) -> None:
        caches = [self.decorate() for _ in range(5)]
        for cached in caches:
            self.call(cached, "a")
        assert self.counted() == (0, 5)

    def test_names_are_bounded(self, measured: Tap) -> None:
        measured.shutdown()
        with metertap.instrument(series_limit=3):
            caches = [self.decorate(f"price{number}") for number in range(10)]
            for cached in caches:
                self.call(cached, "a")
            assert set(self.document()) <= {*(f"shop.price{n}" for n in range(10)), "_OTHER"}
            assert len(self.document()) == 4
            assert sum(item["misses"] for item in self.document().values()) == 10

    def test_the_program_may_name_it(self) -> None:
        cached = self.decorate()
        metertap.name_cache(cached, "prices")
        self.call(cached, "a")
        assert self.counted("prices") == (0, 1)

    def test_it_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        cached = self.decorate()
        self.call(cached, "a")
        assert self.counted() == (0, 1)
        del cached
        gc.collect()
        again = self.decorate()
        self.call(again, "a")
        assert self.counted() == (0, 2)
        assert self.document()["shop.price"]["entries"] == 1

    def test_caches_that_end_before_anybody_looks_leave_what_they_can(self) -> None:
        for _ in range(100):
            self.call(self.decorate(), "a")
            self.call(self.decorate(module="json"), "a")
            assert self.decorate("unused") is not None
        gc.collect()
        if self.tells_its_end:
            assert self.counted() == (0, 100)
        assert set(self.document()) == ({"shop.price"} if self.tells_its_end else set())

    def test_what_is_counted_after_a_look_stays_where_the_end_is_told(self) -> None:
        for in_a_circle in (False, True):
            cached = self.decorate()
            self.call(cached, "a")
            before = self.counted()
            for item in "ab":
                self.call(cached, item)
            if in_a_circle:
                cached.itself = cached
            del cached
            gc.collect()
            gc.collect()
            more = (1, 1) if self.tells_its_end else (0, 0)
            assert self.counted() == (before[0] + more[0], before[1] + more[1])

    def test_undone_nothing_more_is_counted_and_nothing_twice(self, measured: Tap) -> None:
        cached = self.decorate()
        for item in "aa":
            self.call(cached, item)
        measured.shutdown()
        assert self.counted() == (1, 1)
        self.call(cached, "a")
        assert self.counted() == (1, 1)
        for again in (2, 3):
            with metertap.instrument():
                self.call(cached, "a")
                assert self.counted() == (again, 1)

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self) -> None:
        cached = self.decorate()

        def use() -> list[Any]:
            return [self.call(cached, item) for item in "aba"]

        assert breaking.walk(use, count=self.counted) == []

    def test_reset_it_is_found_again(self) -> None:
        cached = self.decorate()
        self.call(cached, "a")
        assert self.counted() == (0, 1)
        for hits in (1, 2):
            metertap.reset()
            assert self.document() == {}
            self.call(cached, "b")
            with metertap.instrument():
                for _ in range(hits):
                    self.call(cached, "a")
                assert self.counted() == (hits, 0)

    def test_switched_off_it_is_not_looked_for(self, measured: Tap) -> None:
        measured.shutdown()
        with metertap.instrument(disabled_instrumentations=[self.system]):
            cached = self.decorate()
            self.call(cached, "a")
            assert self.document() == {}

    def test_looks_of_many_threads_count_once(self) -> None:
        cached = self.decorate()
        self.call(cached, "a")
        begun = threading.Barrier(4)

        def look() -> None:
            begun.wait()
            for _ in range(50):
                self.decorate("other")
                metertap.get_all_metrics()

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            self.call(cached, "a")
        for thread in threads:
            thread.join()
        assert self.counted() == (100, 1)

    def test_libraries_caches_are_not_the_applications(self) -> None:
        mine = self.decorate()
        others = [
            self.decorate(module=module)
            for module in ("json", "xml.dom", "metertap.caching.meters", "pytest", "wrapt.wrappers")
        ]
        for cached in (mine, *others):
            self.call(cached, "a")
        assert set(self.document()) == {"shop.price"}

    def test_the_first_cache_that_is_seen_opens_the_endpoints(self, measured: Tap) -> None:
        assert measured.pipeline.json is not None
        assert not measured.pipeline.json.endpoint.wait(0)
        cached = self.decorate()
        assert measured.pipeline.json.endpoint.wait(60)
        assert cached is not None


def named(function: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
    """`function` as if it had been defined as `name` in `module`."""
    function.__name__ = function.__qualname__ = name
    function.__module__ = module
    return function
