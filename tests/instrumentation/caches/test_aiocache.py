"""aiocache, its memory backend, its decorators, and on a real redis and memcached."""

from __future__ import annotations

import asyncio
import gc
import inspect
import weakref
from typing import Any, ClassVar

import pytest

import metertap
from kits.async_caches import AsyncCacheKit, OfServer, run
from kits.cache_kit import SENTINEL
from servers.real_servers import memcached, redis_server
from support.ports import free_port

pytestmark = pytest.mark.library("aiocache")

aiocache = pytest.importorskip("aiocache")
plugins = pytest.importorskip("aiocache.plugins")


class Kit(AsyncCacheKit):
    system = "aiocache"
    keeps_none = False

    def put(self, cache: Any, key: str, value: Any) -> None:
        run(cache.set(key, value))

    def get(self, cache: Any, key: str) -> Any:
        value = run(cache.get(key))
        return SENTINEL if value is None else value

    def get_default(self, cache: Any, key: str, default: Any) -> Any:
        return run(cache.get(key, default))

    def clear(self, cache: Any) -> None:
        run(cache.clear())


class TestMemory(Kit):
    asks_nobody = True

    def asks(self, cache: Any) -> Any:
        return type(cache)

    def make(self) -> Any:
        return aiocache.SimpleMemoryCache()

    def test_a_multi_get_counts_each_key(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert run(cache.multi_get(["a", "b", "c"])) == [1, None, None]
        assert run(cache.multi_get([])) == []
        assert self.counted() == (1, 2)

    def test_operations_that_are_no_lookups_count_nothing(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert run(cache.exists("a"))
        assert not run(cache.exists("b"))
        assert run(cache.increment("a")) == 2
        assert run(cache.add("b", 1))
        assert run(cache.delete("b")) == 1
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_a_stored_none_is_what_the_library_takes_it_for(self, cache: Any) -> None:
        self.put(cache, "a", None)
        assert run(cache.get("a", default=5)) == 5
        assert self.counted() == (0, 1)

    def test_a_default_that_is_stored_is_a_hit(self, cache: Any) -> None:
        self.put(cache, "a", 5)
        assert run(cache.get("a", 5)) == run(cache.get("a", default=5)) == 5
        assert run(cache.get("b", default=5)) == 5
        assert self.counted() == (2, 1)

    def test_plugins_see_nothing_of_ours(self, measured: metertap.Tap) -> None:
        class Watching(plugins.BasePlugin):  # type: ignore[misc, name-defined]
            seen: ClassVar[list[Any]] = []

            async def pre_get(self, _cache: Any, *args: Any, **kwargs: Any) -> None:
                self.seen.append((args, kwargs))

            async def post_get(self, _cache: Any, *_args: Any, ret: Any, **_kwargs: Any) -> None:
                self.seen.append(ret)

        ratio = plugins.HitMissRatioPlugin()
        cache = aiocache.SimpleMemoryCache(plugins=[Watching(), ratio])
        metertap.name_cache(cache, "sessions")
        self.put(cache, "a", 1)
        for key in "ab":
            run(cache.get(key, default="nothing"))
        run(cache.get("b"))
        assert Watching.seen == [
            (("a",), {"default": "nothing"}),
            1,
            (("b",), {"default": "nothing"}),
            "nothing",
            (("b",), {}),
            None,
        ]
        assert self.counted() == (1, 2)

    def test_switched_off_it_is_not_looked_up(
        self, cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(cache, "a", 1)
        monkeypatch.setenv("AIOCACHE_DISABLE", "1")
        assert run(cache.get("a")) is None
        assert run(cache.get("a", 5)) is None
        assert run(cache.multi_get(["a"])) == []
        monkeypatch.delenv("AIOCACHE_DISABLE")
        self.get(cache, "a")
        assert self.counted() == (1, 0)

    def test_a_connection_is_the_caches(self, cache: Any) -> None:
        async def look() -> None:
            async with cache.get_connection() as connection:
                await connection.get("a")

        run(look())
        assert self.counted() == (0, 1)

    def test_a_subclass_that_overrides_a_lookup_and_calls_it_counts_once(self) -> None:
        class Logging(aiocache.SimpleMemoryCache):  # type: ignore[misc, name-defined]
            async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
                return await super().get(key, *args, **kwargs)

        cache = Logging()
        metertap.name_cache(cache, "sessions")
        self.put(cache, "a", 1)
        assert self.get(cache, "a") == 1
        assert self.counted() == (1, 0)

    def test_the_time_that_a_lookup_may_take_is_over(self) -> None:
        class Slow(aiocache.SimpleMemoryCache):  # type: ignore[misc, name-defined]
            async def _get(self, *_args: Any, **_kwargs: Any) -> Any:
                await asyncio.sleep(60)

        cache = Slow()
        metertap.name_cache(cache, "sessions")
        with pytest.raises(asyncio.TimeoutError):
            run(cache.get("a", timeout=0.01))
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_what_it_looks_like_stays(self) -> None:
        for function in (aiocache.BaseCache.get, aiocache.SimpleMemoryCache().multi_get):
            assert inspect.iscoroutinefunction(function)
        assert list(inspect.signature(aiocache.BaseCache.get).parameters)[:3] == [
            "self",
            "key",
            "default",
        ]


class TestDecorators(Kit):
    make = TestMemory.make

    def names(self) -> dict[str, tuple[int, int]]:
        found = metertap.get_all_metrics()["cache_metrics"]
        return {
            name.rpartition(".")[2]: (line["hits"], line["misses"]) for name, line in found.items()
        }

    def test_a_decorated_function_names_its_cache(self) -> None:
        @aiocache.cached(ttl=600)  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            return number * number

        @aiocache.multi_cached("numbers")  # type: ignore[untyped-decorator, unused-ignore]
        async def cubes(numbers: list[int]) -> dict[int, int]:
            return {number: number**3 for number in numbers}

        assert [run(square(number)) for number in (2, 2, 3)] == [4, 4, 9]
        assert run(cubes([1, 2])) == {1: 1, 2: 8}
        assert run(cubes([2, 3])) == {2: 8, 3: 27}
        assert self.names() == {"square": (1, 2), "cubes": (1, 3)}
        assert all(
            name.startswith(__name__) for name in metertap.get_all_metrics()["cache_metrics"]
        )

    def test_a_call_with_stampede_protection_is_one_lookup(self) -> None:
        @aiocache.cached_stampede(lease=2)  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            await asyncio.sleep(0.05)
            return number * number

        async def together() -> list[int]:
            return await asyncio.gather(*(square(2) for _ in range(3)))

        assert run(together()) == [4, 4, 4]
        assert run(square(2)) == 4
        assert run(square(3)) == 9
        # Two of the three waited for the first, and found what it had put there.
        assert self.names() == {"square": (3, 2)}

    def test_a_stampede_that_is_cancelled_while_it_waits_has_missed(self) -> None:
        @aiocache.cached_stampede(lease=2)  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            await asyncio.sleep(0.2)
            return number * number

        async def cancelled() -> None:
            first = asyncio.ensure_future(square(2))
            second = asyncio.ensure_future(square(2))
            await asyncio.sleep(0.05)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await first

        run(cancelled())
        assert self.names() == {"square": (0, 2)}

    def test_an_alias_is_the_name(self) -> None:
        config = aiocache.caches.get_config()
        aiocache.caches.add("prices", {"cache": "aiocache.SimpleMemoryCache"})
        try:

            @aiocache.cached(alias="prices")  # type: ignore[untyped-decorator, unused-ignore]
            async def price(of: str) -> int:
                return len(of)

            run(price("a"))
            run(aiocache.caches.get("prices").get("b"))
            assert self.names() == {"prices": (0, 2)}
        finally:
            type(aiocache.caches)._config = config
            aiocache.caches._caches.pop("prices", None)

    def test_a_function_whose_cache_fails_goes_on(self) -> None:
        class Broken(aiocache.SimpleMemoryCache):  # type: ignore[misc, name-defined]
            async def _get(self, *_args: Any, **_kwargs: Any) -> Any:
                raise ConnectionError("down")

        @aiocache.cached(cache=Broken)  # type: ignore[untyped-decorator, unused-ignore]
        async def square(number: int) -> int:
            return number * number

        assert run(square(2)) == 4
        assert self.names() == {}


class TestRedis(OfServer, Kit):
    pickles = False
    package = "redis"
    serve = staticmethod(redis_server)

    def make(self) -> Any:
        return aiocache.RedisCache(
            port=self.port, serializer=aiocache.serializers.PickleSerializer()
        )

    def test_a_lookup_is_counted_at_the_outer_layer_alone(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert self.get(cache, "a") == 1
        assert self.get(cache, "b") is SENTINEL
        assert run(cache.multi_get(["a", "b"])) == [1, None]
        assert run(cache.exists("a"))
        assert self.only() == (2, 2)

    def test_a_connection_that_a_lookup_opens_does_not_keep_the_cache(self) -> None:
        cache = self.make()
        self.get(cache, "a")
        gone = weakref.ref(cache)
        del cache
        gc.collect()
        assert gone() is None

    def test_a_server_that_is_down_is_neither_a_hit_nor_a_miss(self) -> None:
        cache = aiocache.RedisCache(port=1)
        metertap.name_cache(cache, "sessions")
        with pytest.raises(Exception, match="onnect"):
            run(cache.get("a"))
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]


class TestMemcached(OfServer, Kit):
    pickles = False
    package = "aiomcache"
    serve = staticmethod(memcached)

    def make(self) -> Any:
        return aiocache.MemcachedCache(port=self.port)

    def test_each_lookup_and_each_key(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert self.get(cache, "a") == 1
        assert self.get(cache, "b") is SENTINEL
        assert run(cache.multi_get(["a", "b", "c"])) == [1, None, None]
        assert self.only() == (2, 3)

    def test_to_change_an_entry_is_no_lookup(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert run(cache.exists("a"))
        assert run(cache.increment("a", 10)) == 11
        assert run(cache.add("b", 1))
        assert run(cache.expire("b", 60))
        assert run(cache.delete("b")) == 1
        assert metertap.get_all_metrics()["cache_metrics"] == {}

    def test_a_key_that_memcached_refuses_is_neither_a_hit_nor_a_miss(self, cache: Any) -> None:
        refused = pytest.importorskip("aiomcache.exceptions").ValidationException
        for lookup in (cache.get, lambda key: cache.multi_get([key])):
            with pytest.raises(refused):
                run(lookup("a" * 300))
        assert metertap.get_all_metrics()["cache_metrics"] == {}

    def test_a_server_that_is_down_is_neither_a_hit_nor_a_miss(self) -> None:
        cache = aiocache.MemcachedCache(port=free_port())
        metertap.name_cache(cache, "sessions")
        for lookup in (cache.get, lambda key: cache.multi_get([key])):
            with pytest.raises(ConnectionRefusedError):
                run(lookup("a"))
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
