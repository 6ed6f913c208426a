"""cachetools, every kind of cache, used as its users use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import metertap
from kits.cache_kit import MappingKit, shows_us
from metertap import state
from metertap.runtime.tap import active_tap

pytestmark = pytest.mark.library("cachetools")

cachetools = pytest.importorskip("cachetools")


class Kit(MappingKit):
    system = "cachetools"
    kind: str

    def make(self) -> Any:
        return getattr(cachetools, self.kind)(3)

    def evict(self, cache: Any) -> int:
        for number in range(5):
            cache[f"k{number}"] = number
        return 2

    def reject(self, cache: Any) -> None:
        small = type(cache)(*self.arguments(), getsizeof=len)
        metertap.name_cache(small, "sessions")
        with pytest.raises(ValueError, match="value too large"):
            small["a"] = "longer than three"

    def arguments(self) -> tuple[Any, ...]:
        return (3,)

    def clear(self, cache: Any) -> None:
        cache.clear()


class TestCache(Kit):
    kind = "Cache"


class TestFIFO(Kit):
    kind = "FIFOCache"


class TestLFU(Kit):
    kind = "LFUCache"


class TestLRU(Kit):
    kind = "LRUCache"

    def test_operations_that_are_no_lookups_count_nothing(self, cache: Any) -> None:
        cache["a"] = 1
        assert "a" in cache
        assert cache.pop("a") == 1
        assert cache.pop("a", 7) == 7
        with pytest.raises(KeyError):
            cache.pop("a")
        cache["a"] = 1
        assert cache.popitem() == ("a", 1)
        with pytest.raises(KeyError):
            cache.popitem()
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
        cache["a"] = 1
        assert cache.setdefault("a", 2) == 1
        assert cache.setdefault("b", 2) == 2
        assert self.counted() == (1, 1)
        assert self.figures()["evictions"] == 0

    def test_a_value_that_cannot_be_stored_raises_as_before(self, cache: Any) -> None:
        cache["a"] = 1
        with pytest.raises(TypeError, match="unhashable") as caught:
            cache.setdefault([], 1)
        assert not shows_us(caught.value)
        assert cache.setdefault("a", 2) == 1

    def test_a_decorated_function_names_its_cache(self) -> None:
        @cachetools.cached(cachetools.LRUCache(8))
        def square(number: int) -> int:
            return number * number

        assert [square(2), square(2), square(3)] == [4, 4, 9]
        (name,) = metertap.get_all_metrics()["cache_metrics"]
        assert name.endswith("square")
        assert (self.figures(name)["hits"], self.figures(name)["misses"]) == (1, 2)

    def test_a_subclass_that_makes_up_what_it_lacks_still_misses(self) -> None:
        class Making(cachetools.LRUCache):  # type: ignore[misc, name-defined]
            def __missing__(self, key: str) -> str:
                self[key] = value = key.upper()
                return value

        cache = Making(3)
        metertap.name_cache(cache, "sessions")
        assert [cache["a"], cache["a"]] == ["A", "A"]
        assert self.counted() == (1, 1)

    def test_a_subclass_that_overrides_a_lookup_and_calls_it_counts_once(self) -> None:
        class Logging(cachetools.LRUCache):  # type: ignore[misc, name-defined]
            def __getitem__(self, key: str) -> Any:
                return super().__getitem__(key)

        cache = Logging(3)
        metertap.name_cache(cache, "sessions")
        cache["a"] = 1
        assert cache["a"] == cache.get("a") == 1
        assert self.counted() == (2, 0)


class TestRR(Kit):
    kind = "RRCache"


class TestTTL(Kit):
    kind = "TTLCache"

    def make(self) -> Any:
        return cachetools.TTLCache(3, 600)

    def arguments(self) -> tuple[Any, ...]:
        return (3, 600)


class TestTLRU(Kit):
    kind = "TLRUCache"

    def make(self) -> Any:
        return cachetools.TLRUCache(3, _in_ten_minutes)

    def arguments(self) -> tuple[Any, ...]:
        return (3, _in_ten_minutes)


def _in_ten_minutes(_key: str, _value: Any, now: float) -> float:
    return now + 600


class Clock:
    """A time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def ttl_cache(size: int, clock: Clock) -> Any:
    return cachetools.TTLCache(size, ttl=10, timer=clock)


def tlru_cache(size: int, clock: Clock) -> Any:
    return cachetools.TLRUCache(size, lambda _key, _value, now: now + 10, timer=clock)


LOOKS: dict[str, Callable[[Any], object]] = {
    "get": lambda cache: cache.get("old 0"),
    "getitem": lambda cache: cache.get("new"),
    "in": lambda cache: "old 0" in cache,
    "len": len,
    "expire": lambda cache: cache.expire(),
    "currsize": lambda cache: cache.currsize,
    "store": lambda cache: cache.update(new=1),
    "popitem": lambda cache: cache.update(new=1) or cache.popitem(),
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("make", [ttl_cache, tlru_cache])
def test_what_merely_expires_is_not_evicted_whatever_looks_first(
    make: Callable[[int, Clock], Any], look: str
) -> None:
    with metertap.instrument(json_endpoint=False):
        clock = Clock()
        cache = make(1000, clock)
        metertap.name_cache(cache, "sessions")
        for number in range(5):
            cache[f"old {number}"] = number
        clock.now = 20.0
        LOOKS[look](cache)
        assert cache.get("old 1") is None
        found = metertap.get_all_metrics()["cache_metrics"]["sessions"]
    assert (found["evictions"], found["hits"]) == (0, 0)


@pytest.mark.parametrize("make", [ttl_cache, tlru_cache])
def test_of_what_goes_when_something_is_stored_only_what_is_displaced_is_evicted(
    make: Callable[[int, Clock], Any],
) -> None:
    with metertap.instrument(json_endpoint=False):
        clock = Clock()
        cache = make(3, clock)
        metertap.name_cache(cache, "sessions")
        cache["a"] = cache["b"] = 1
        clock.now = 5.0
        cache["c"] = 1
        clock.now = 12.0  # a and b are too old
        cache["d"] = cache["e"] = 1
        assert set(cache) == {"c", "d", "e"}
        cache["f"] = 1  # displaces c
        assert set(cache) == {"d", "e", "f"}
        cache.get("a")
        found = metertap.get_all_metrics()["cache_metrics"]["sessions"]
    assert (found["evictions"], found["hits"], found["misses"]) == (1, 0, 1)


class Shop:
    def __init__(self) -> None:
        self.prices = cachetools.LRUCache(8)


sessions = cachetools.TTLCache(8, 60)


def test_a_cache_is_called_by_what_it_is_bound_to() -> None:
    with metertap.instrument(json_endpoint=False):
        shop, local = Shop(), cachetools.LRUCache(8)
        for cache in (shop.prices, Shop().prices, sessions, local):
            cache.get("a")
        names = metertap.get_all_metrics()["cache_metrics"]
    assert {name.rpartition(".")[2] for name in names} == {"prices", "sessions", "LRUCache"}
    assert all(not name.startswith("metertap") for name in names)


class Touchy:
    """A proxy outside of its context: whatever it is asked, it raises."""

    def __init__(self, cache: Any) -> None:
        vars(self)["held"] = cache

    @property
    def __class__(self) -> type:
        raise RuntimeError("working outside of its context")

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            return object.__getattribute__(self, name)
        raise RuntimeError(name)


def test_objects_that_answer_nothing_are_asked_nothing() -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        cache = cachetools.LRUCache(8)
        touchy = Touchy(cache)
        cache.get("a")
        assert metertap.get_all_metrics()["cache_metrics"]
        assert tap.diagnosis()["faults"] == {}
        del touchy


def test_equal_names_share_one_line_and_names_are_bounded() -> None:
    with metertap.instrument(series_limit=3):
        for number in range(10):
            cache = cachetools.LRUCache(8)
            metertap.name_cache(cache, f"cache {number}")
            cache.get("a")
            metertap.get_all_metrics()
        names = metertap.get_all_metrics()["cache_metrics"]
    assert set(names) == {"cache 0", "cache 1", "cache 2", "_OTHER"}
    assert names["_OTHER"]["misses"] == 7
    assert active_tap() is None


def test_a_lookup_that_comes_while_settings_change_is_counted() -> None:
    with metertap.instrument(json_endpoint=False):
        cache: Any = cachetools.LRUCache(2)
        metertap.name_cache(cache, "late")
        # As by another thread: caches have their names by then, and slots were not told yet.
        lookups = iter([lambda: cache.get("nothing")])
        state.recorder().on_look(lambda: next(lookups, int)())
        state.configure(state.settings())
        assert cache.get("nothing") is None
        assert metertap.get_all_metrics()["cache_metrics"]["late"]["misses"] == 2


def test_the_methods_own_keyword_is_passed_on() -> None:
    def made_up(_cache: object, key: str) -> str:
        return f"made up {key}"

    with metertap.instrument(json_endpoint=False):
        cache: Any = cachetools.LRUCache(2)
        cache["a"] = 1
        assert cache["a"] == 1
        assert cachetools.LRUCache.__getitem__(cache, "a", cache_getitem=made_up) == "made up a"
