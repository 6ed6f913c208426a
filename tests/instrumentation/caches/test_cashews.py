"""cashews in memory, on disk and on a real redis, and its decorators."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.async_caches import AsyncCacheKit, OfServer, close_loop, run
from kits.cache_kit import SENTINEL
from metertap.caching.layers import by
from servers.real_servers import redis_server

pytestmark = pytest.mark.library("cashews")

cashews = pytest.importorskip("cashews")


def _keeps_its_caches() -> bool:
    cache = cashews.Cache()
    cache.setup("mem://?check_interval=0")
    run(cache.set("a", 1))
    close_loop()
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    return gone() is not None


KEEPS_ITS_CACHES = _keeps_its_caches()


class Kit(AsyncCacheKit):
    system = "cashews"
    pickles = False  # it holds functions that are defined in functions

    def url(self) -> str:
        return "mem://?check_interval=0"

    def make(self) -> Any:
        cache = cashews.Cache()
        cache.setup(self.url())
        return cache

    def put(self, cache: Any, key: str, value: Any) -> None:
        run(cache.set(key, value))

    def get(self, cache: Any, key: str) -> Any:
        return run(cache.get(key, default=SENTINEL))

    def get_default(self, cache: Any, key: str, default: Any) -> Any:
        return run(cache.get(key, default=default))

    def clear(self, cache: Any) -> None:
        run(cache.clear())

    def test_a_cache_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        if KEEPS_ITS_CACHES:
            pytest.skip("this cashews keeps every cache itself")
        super().test_a_cache_is_not_kept_alive_and_what_it_counted_stays()

    def test_a_lookup_is_counted_at_the_outer_layer_alone(self, cache: Any) -> None:
        self.put(cache, "a", "one")
        self.put(cache, "n", 1)
        run(cache.set("a", "two", expire=60))
        assert self.get(cache, "a") == "two"
        assert self.get(cache, "b") is SENTINEL
        assert run(cache.get_many("a", "b", "n", default=7)) == ("two", 7, 1)
        assert run(cache.exists("a"))
        assert run(cache.incr("n")) == 2
        assert run(cache.get_expire("a")) > 0
        assert run(cache.set_lock("lock", "x", expire=5))
        assert run(cache.delete("a"))
        assert self.only() == (3, 2)


class TestMemory(Kit):
    asks_nobody = True

    def asks(self, cache: Any) -> Any:
        return type(cache._get_backend(""))

    def test_a_stored_none_is_a_hit_without_a_default_too(self, cache: Any) -> None:
        self.put(cache, "a", None)
        assert run(cache.get("a")) is None
        assert run(cache.get("b")) is None
        assert run(cache.get_many("a", "b")) == (None, None)
        assert self.counted() == (2, 2)

    def test_get_or_set_and_get_raw_are_lookups(self, cache: Any) -> None:
        if not hasattr(cache, "get_or_set"):
            pytest.skip("this cashews has no get_or_set")
        assert run(cache.get_or_set("a", 1)) == 1
        assert run(cache.get_or_set("a", 2)) == 1
        assert run(cache.get_raw("a")) == 1
        assert run(cache.get_raw("b")) is None
        assert self.counted() == (2, 2)

    def test_its_own_sweeping_counts_nothing(self) -> None:
        cache = cashews.Cache()
        cache.setup("mem://?check_interval=0.01")
        metertap.name_cache(cache, "sessions")

        async def use() -> None:
            await cache.set("a", 1, expire=0.05)
            await cache.get("a")
            await asyncio.sleep(0.2)
            assert await cache.get("a") is None
            await cache.close()

        run(use())
        assert self.counted() == (1, 1)

    def test_a_cache_that_is_disabled_is_not_looked_up(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        with cache.disabling():
            assert self.get(cache, "a") is SENTINEL
        with cashews.invalidate_further():
            assert self.get(cache, "a") is SENTINEL
        assert self.get(cache, "a") is SENTINEL
        assert self.counted() == (0, 1)

    def test_middlewares_see_nothing_of_ours(self) -> None:
        seen: list[Any] = []

        async def watch(call: Any, cmd: Any, _backend: Any, *args: Any, **kwargs: Any) -> Any:
            result = await call(*args, **kwargs)
            if cmd is cashews.Command.GET:
                seen.append((kwargs, result, by()))
            return result

        cache = cashews.Cache()
        cache.setup(self.url(), middlewares=(watch,))
        metertap.name_cache(cache, "sessions")
        run(cache.get("a"))
        run(cache.get("a", default=5))
        assert seen == [
            ({"key": "a", "default": None}, None, None),
            ({"key": "a", "default": 5}, 5, None),
        ]
        assert self.counted() == (0, 2)

    def test_callbacks_see_nothing_of_ours(self, cache: Any) -> None:
        results: list[Any] = []
        if not hasattr(cache, "callback"):
            pytest.skip("this cashews has no callbacks")
        with cache.callback(lambda _key, result: results.append(result), cashews.Command.GET):
            run(cache.get("a"))
            run(cache.get("a", default=5))
        assert results in ([5], [None, 5])  # cashews 7.0 calls them of nothing, too

    def test_in_a_transaction_each_lookup_counts_once(self, cache: Any) -> None:
        self.put(cache, "a", 1)

        async def change() -> None:
            async with cache.transaction():
                await cache.get("a")
                await cache.set("b", 2)
                await cache.get("b")
                await cache.get("c")
                await cache.get_many("a", "b", "c")

        run(change())
        assert self.only() == (4, 2)

    def test_the_name_that_it_was_given_and_what_it_is_bound_to(self) -> None:
        named = cashews.Cache(name="prices")
        for cache in (named, catalogue):
            cache.setup(self.url())
            run(cache.get("a"))
        names = set(metertap.get_all_metrics()["cache_metrics"])
        assert names == {"prices", f"{__name__}.catalogue"}


catalogue = cashews.Cache()


class TestDecorators(Kit):
    @pytest.mark.parametrize("decorate", ["cache", "early", "soft", "hit", "dynamic"])
    def test_a_decorated_call_is_one_lookup(self, cache: Any, decorate: str) -> None:
        extra = {"cache_hits": 10} if decorate == "hit" else {}

        @getattr(cache, decorate)(ttl=60, key="square:{number}", **extra)
        async def square(number: int) -> int | None:
            return number * number if number else None

        assert [run(square(number)) for number in (2, 2, 3)] == [4, 4, 9]
        assert self.only() == (1, 2)

    def test_failover_looks_when_the_function_fails(self, cache: Any) -> None:
        fail = False

        @cache.failover(ttl=60, key="square:{number}")  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            if fail:
                raise OSError("down")
            return number * number

        assert run(square(2)) == 4
        fail = True
        assert run(square(2)) == 4
        with pytest.raises(OSError, match="down"):
            run(square(3))
        assert self.only() == (1, 1)

    def test_locks_and_limits_are_no_lookups(self, cache: Any) -> None:
        @cache(ttl=60, key="square:{number}", lock=True)  # type: ignore[untyped-decorator, unused-ignore]
        @cache.rate_limit(limit=10, period=60)  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            return number * number

        assert [run(square(number)) for number in (2, 2)] == [4, 4]
        assert self.only() == (1, 1)


class TestDisk(Kit):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path: Path) -> None:
        pytest.importorskip("diskcache")
        self.path = tmp_path

    def make(self) -> Any:
        cache = cashews.Cache()
        cache.setup("disk://", directory=str(self.path), shards=1)
        return cache

    def test_a_transaction_and_bits_count_nothing_below(self, cache: Any) -> None:
        run(cache.incr_bits("bits", 1))
        run(cache.set_add("tags", "a"))
        run(cache.slice_incr("slice", 0, 10, 5))
        assert metertap.get_all_metrics()["cache_metrics"] == {}


class TestRedis(OfServer, Kit):
    package = "redis"
    serve = staticmethod(redis_server)

    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def test_a_server_that_is_down_is_neither_if_the_library_says_so(self) -> None:
        cache = cashews.Cache()
        cache.setup("redis://127.0.0.1:1/0", suppress=False)
        metertap.name_cache(cache, "sessions")
        with pytest.raises(cashews.CacheBackendInteractionError):
            run(cache.get("a"))
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]


class TestClientSide(TestRedis):
    def make(self) -> Any:
        cache = cashews.Cache()
        cache.setup(self.url(), client_side=True)
        return cache

    def test_a_cache_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        pytest.skip("the task that listens to redis keeps it, until it is closed")
