"""async-lru: the application's caches of coroutine functions, read."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from kits.async_caches import close_loop, run
from kits.read_cache_kit import ReadCacheKit, named
from metertap import Tap

pytestmark = [pytest.mark.interpreter, pytest.mark.library("async_lru")]

async_lru = pytest.importorskip("async_lru")

INIT = async_lru._LRUCacheWrapper.__init__


@pytest.fixture(autouse=True)
def loop() -> Iterator[None]:
    yield
    close_loop()


async def price_of(item: str) -> str:
    return item


class Kit(ReadCacheKit):
    system = "async_lru"
    tells_its_end = True

    def decorate(self, name: str = "price", module: str = "shop", *, fails: bool = False) -> Any:
        async def function(item: Any) -> Any:
            return 1 / 0 if fails else item

        return self.cached(named(function, name, module))

    def cached(self, function: Any) -> Any:
        return async_lru.alru_cache(maxsize=8)(function)

    def call(self, cached: Any, argument: Any) -> Any:
        return run(cached(argument))


class TestWithArguments(Kit):
    pass


class TestBare(Kit):
    def cached(self, function: Any) -> Any:
        return async_lru.alru_cache(function)


class TestExpiring(Kit):
    def cached(self, function: Any) -> Any:
        return async_lru.alru_cache(ttl=600)(function)


@pytest.fixture
def tap() -> Iterator[Tap]:
    gc.collect()  # caches of other tests would be found
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap
        assert tap.diagnosis()["faults"] == {}


def caches() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()["cache_metrics"]
    return found


def test_who_joins_a_call_in_progress_is_a_hit_as_the_library_has_it(tap: Tap) -> None:
    calls = 0

    async def price(item: str) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return item

    cached = async_lru.alru_cache(named(price, "price", "shop"))

    async def together() -> list[str]:
        return await asyncio.gather(*(cached("a") for _ in range(5)))

    assert run(together()) == ["a"] * 5
    assert calls == 1
    assert (caches()["shop.price"]["hits"], caches()["shop.price"]["misses"]) == (4, 1)


def test_what_is_cleared_between_two_looks_is_counted(tap: Tap) -> None:
    cached = async_lru.alru_cache(named(price_of, "price", "shop"))

    class Priced:
        @async_lru.alru_cache(maxsize=8)  # type: ignore[untyped-decorator]
        async def price(self, item: str) -> str:
            return item

    method = Priced()
    for _ in range(3):
        assert run(cached("a")) == run(cached("a")) == run(method.price("a")) == "a"
        cached.cache_clear()
        method.price.cache_clear()
    found = caches()
    assert (found["shop.price"]["hits"], found["shop.price"]["misses"]) == (3, 3)
    (of_method,) = [item for name, item in found.items() if name.endswith("Priced.price")]
    assert (of_method["hits"], of_method["misses"]) == (0, 3)


def test_event_loops_that_clear_the_cache_lose_no_lookup(tap: Tap) -> None:
    cached = async_lru.alru_cache(named(price_of, "price", "shop"))

    async def twice() -> None:
        await cached("a")
        await cached("a")

    total = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library says that it clears the cache
        for _ in range(3):
            asyncio.run(twice())
            total += 2
            found = caches()["shop.price"]
            assert found["hits"] + found["misses"] == total


def test_methods_and_partial_functions_have_names(tap: Tap) -> None:
    class Catalogue:
        @async_lru.alru_cache(maxsize=8)  # type: ignore[untyped-decorator]
        async def find(self, item: str) -> str:
            return item

    async def price(tax: int, item: str) -> str:
        return item

    partial = async_lru.alru_cache(functools.partial(named(price, "price", "shop"), 19))
    first, second = Catalogue(), Catalogue()
    for find in (first.find, second.find, partial):
        assert run(find("a")) == run(find("a")) == "a"
    local = "test_methods_and_partial_functions_have_names.<locals>.Catalogue.find"
    found = {name: (item["hits"], item["misses"]) for name, item in caches().items()}
    assert found[f"{__name__}.{local}"] == (2, 2)
    assert found["shop.price"] == (1, 1)


def test_a_subclass_of_the_cache_is_found(tap: Tap) -> None:
    class Own(async_lru._LRUCacheWrapper):  # type: ignore[misc, name-defined]
        pass

    async def price(item: str) -> str:
        return item

    tap.shutdown()
    # Later versions take more, each of them optional or None.
    parameters = inspect.signature(INIT).parameters
    arguments = {name: None for name in parameters if name in {"ttl", "jitter", "key"}}
    cached = Own(named(price, "price", "shop"), maxsize=8, typed=False, **arguments)
    with metertap.instrument(json_endpoint=False):
        assert run(cached("a")) == "a"
        assert caches()["shop.price"]["misses"] == 1


def test_it_is_a_coroutine_function_as_before_and_undone_the_same(tap: Tap) -> None:
    async def price(item: str) -> str:
        return item

    cached = async_lru.alru_cache(price)
    assert type(cached) is async_lru._LRUCacheWrapper
    assert asyncio.iscoroutinefunction(cached)
    assert inspect.signature(cached) == inspect.signature(price)
    assert cached.__wrapped__ is price
    with pytest.raises(RuntimeError, match=r"[Cc]oroutine function is required"):
        async_lru.alru_cache(len)
    assert async_lru._LRUCacheWrapper.__init__ is not INIT
    tap.shutdown()
    assert async_lru._LRUCacheWrapper.__init__ is INIT


def test_a_cancelled_lookup_is_cancelled(tap: Tap) -> None:
    async def price(item: str) -> None:
        await asyncio.sleep(60)

    cached = async_lru.alru_cache(named(price, "price", "shop"))

    async def cancel() -> None:
        task = asyncio.ensure_future(cached("a"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancel())
    assert caches()["shop.price"]["misses"] == 1
