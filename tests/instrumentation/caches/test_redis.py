"""redis-py against a real server: clients, pipelines, and both halves."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, shows_us
from kits.redis_kit import Kit, OfLoop, aredis, redis
from metertap import state
from metertap.caching.layers import counting
from support.ports import free_port

pytestmark = pytest.mark.library("redis")


class TestRedis(Kit):
    def test_each_lookup_and_each_key(self, cache: Any) -> None:
        cache.set("a", 1)
        cache.hset("h", "f", 1)
        assert cache.mget("a", "b", "a") == [b"1", None, b"1"]
        assert self.counted() == (2, 1)
        assert cache.hget("h", "f") == b"1"
        assert cache.hget("h", "g") is None
        assert cache.hmget("h", "f", "g") == [b"1", None]
        assert self.counted() == (4, 3)
        assert cache.getex("a", ex=60) == b"1"
        assert cache.getdel("a") == b"1"
        assert cache.getdel("a") is None
        assert self.counted() == (6, 4)
        assert cache.execute_command("get", "a") is None
        assert self.counted() == (6, 5)

    def test_other_commands_count_nothing(self, cache: Any) -> None:
        cache.set("a", 1)
        assert cache.exists("a") == 1
        assert cache.set("a", 2, get=True) == b"1"
        assert cache.incr("a") == 3
        assert cache.lpop("l") is None
        assert cache.info("memory")
        lock = cache.lock("l", timeout=60)
        assert not lock.locked()
        with lock:
            assert lock.owned()
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_what_raises_is_neither(self, cache: Any) -> None:
        cache.rpush("l", 1)
        with pytest.raises(redis.ResponseError) as raised:
            cache.get("l")
        assert not shows_us(raised.value)
        cache.set("a", b"\xff")
        strict = redis.Redis(port=self.port, decode_responses=True)
        metertap.name_cache(strict, "sessions")
        with pytest.raises(UnicodeDecodeError), strict:
            strict.get("a")
        gone = redis.Redis(port=free_port())
        metertap.name_cache(gone, "sessions")
        with pytest.raises(redis.ConnectionError):
            gone.get("a")
        with pytest.raises(redis.ConnectionError):
            gone.pipeline().get("a").execute()
        for wrong in ((), ([],)):
            with pytest.raises((IndexError, TypeError, redis.DataError)) as raised:
                cache.execute_command(*wrong)
            assert not shows_us(raised.value)
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_a_pipeline_counts_each_of_its_lookups(self, cache: Any) -> None:
        for transaction in (True, False):
            pipe = cache.pipeline(transaction=transaction)
            pipe.set("a", 1).get("a").mget("a", "b").get("c").incr("a")
            assert pipe.execute() == [True, b"1", [b"1", None], None, 2]
            assert pipe.execute() == []
        assert self.counted() == (4, 4)

    def test_a_pipeline_with_an_error_counts_the_others(self, cache: Any) -> None:
        cache.rpush("l", 1)
        pipe = cache.pipeline()
        answers = pipe.get("a").get("l").execute(raise_on_error=False)
        assert answers[0] is None
        assert isinstance(answers[1], redis.ResponseError)
        assert self.counted() == (0, 1)
        with pytest.raises(redis.ResponseError) as raised:
            pipe.get("a").get("l").execute()
        assert not shows_us(raised.value)
        assert self.counted() == (0, 1)

    def test_after_a_watch_lookups_answer_at_once(self, cache: Any) -> None:
        with cache.pipeline() as pipe:
            pipe.watch("a")
            assert pipe.get("a") is None
            assert self.counted() == (0, 1)
            pipe.multi()
            pipe.set("a", 1)
            pipe.get("a")
            assert self.counted() == (0, 1)
            assert pipe.execute() == [True, b"1"]
        assert self.counted() == (1, 1)
        with cache.pipeline() as pipe:
            pipe.watch("a")
            cache.set("a", 2)
            pipe.multi()
            pipe.get("a")
            with pytest.raises(redis.WatchError):
                pipe.execute()
        assert self.counted() == (1, 1)

    def test_below_another_cache_nothing_is_counted(self, cache: Any) -> None:
        with counting(self):
            assert cache.get("a") is None
            assert cache.pipeline().get("a").execute() == [None]
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_a_client_of_one_connection_is_its_parent(self, cache: Any) -> None:
        with cache.client() as one:
            assert one.get("a") is None
            assert one.pipeline().get("a").execute() == [None]
        assert self.counted() == (0, 2)

    def test_signatures_are_what_they_were(self, measured: metertap.Tap) -> None:
        of = (redis.Redis.execute_command, redis.client.Pipeline.execute, redis.Redis.pipeline)
        with_us = [(inspect.signature(function), function.__doc__) for function in of]
        measured.shutdown()
        of = (redis.Redis.execute_command, redis.client.Pipeline.execute, redis.Redis.pipeline)
        assert [(inspect.signature(function), function.__doc__) for function in of] == with_us
        assert not any(hasattr(function, "__wrapped__") for function in of)


class TestPipeline(Kit):
    """All lookups are made in pipelines."""

    def get(self, cache: Any, key: str) -> Any:
        (value,) = cache.pipeline().get(key).execute()
        return SENTINEL if value is None else json.loads(value)


class TestAsync(OfLoop):
    def test_it_counts_as_the_sync_one_does(self, cache: Any) -> None:
        async def use() -> None:
            await cache.set("a", 1)
            assert await cache.mget("a", "b") == [b"1", None]
            assert await cache.getdel("a") == b"1"
            assert await cache.rpush("l", 1) == 1
            with pytest.raises(aredis.ResponseError) as raised:
                await cache.get("l")
            assert not shows_us(raised.value)
            lock = cache.lock("k", timeout=60)
            assert not await lock.locked()
            async with lock:
                assert await lock.owned()

        self.run(use())
        assert self.counted() == (2, 1)

    def test_a_pipeline_and_a_watch(self, cache: Any) -> None:
        async def use() -> None:
            async with cache.pipeline() as pipe:
                assert await pipe.set("a", 1).get("a").get("b").execute() == [True, b"1", None]
                await pipe.watch("a")
                assert await pipe.get("a") == b"1"
                pipe.multi()
                pipe.get("b")
                assert await pipe.execute() == [None]
                pipe.rpush("l", 1).get("l")
                with pytest.raises(aredis.ResponseError) as raised:
                    await pipe.execute()
                assert not shows_us(raised.value)

        self.run(use())
        assert self.counted() == (2, 2)

    def test_a_lookup_that_is_cancelled_is_neither(self, cache: Any) -> None:
        async def use() -> None:
            await cache.client_pause(300)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(cache.get("a"), 0.05)
            await asyncio.sleep(0.4)

        self.run(use())
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_it_is_still_a_coroutine_function(self, cache: Any) -> None:
        assert inspect.iscoroutinefunction(cache.execute_command)
        assert inspect.iscoroutinefunction(cache.pipeline().execute)
        awaitable = cache.get("a")
        assert awaitable.__qualname__ == "Redis.execute_command"
        awaitable.close()


class TestAsyncPipeline(OfLoop):
    def get(self, cache: Any, key: str) -> Any:
        async def look() -> Any:
            return await cache.pipeline().get(key).execute()

        (value,) = self.run(look())
        return SENTINEL if value is None else json.loads(value)


@pytest.fixture
def tap() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap


def _names() -> set[str]:
    found = metertap.get_all_metrics()["cache_metrics"]
    return {name for name, cache in found.items() if cache["system"] == "redis"}


def _figures() -> dict[str, tuple[int, int]]:
    found = metertap.get_all_metrics()["cache_metrics"]
    return {name: (found[name]["hits"], found[name]["misses"]) for name in _names()}


class Shop:
    def __init__(self, **connection: Any) -> None:
        self.prices = redis.Redis(**connection)


prices: Any = None


pool: Any = None


@pytest.mark.usefixtures("tap")
class TestNames:
    @pytest.fixture(autouse=True)
    def server(self, port: int) -> Iterator[None]:
        global prices, pool
        self.port = port
        yield
        prices = pool = None
        gc.collect()

    def test_what_a_client_is_bound_to(self) -> None:
        global prices
        prices, shop = redis.Redis(port=self.port), Shop(port=self.port)
        for client in (prices, shop.prices):
            client.pipeline().get("absent").execute()
            client.get("absent")
        assert _figures() == {f"{__name__}.prices": (0, 2), f"{__name__}.Shop.prices": (0, 2)}
        prices.close()
        shop.prices.close()

    def test_one_that_is_bound_to_nothing_shows_neither_host_nor_password(self) -> None:
        with redis.from_url(f"redis://:@127.0.0.1:{self.port}/3") as client:
            client.get("secret")
            assert _names() == {"redis.db3"}
        with redis.Redis(port=self.port) as client:
            client.get("secret")
            assert _names() == {"redis.db3", "redis.db0"}

    def test_the_name_that_a_client_gives_itself(self) -> None:
        with redis.Redis(port=self.port, client_name="redis.carts") as client:
            client.get("absent")
            assert _names() == {"redis.carts"}

    def test_clients_made_for_each_request_are_one_cache(self) -> None:
        global pool
        pool = redis.ConnectionPool(port=self.port)
        for _ in range(50):
            redis.Redis(connection_pool=pool).get("absent")
        assert _figures() == {f"{__name__}.pool": (0, 50)}
        for _ in range(50):
            Shop(connection_pool=pool).prices.get("absent")
        assert _figures() == {f"{__name__}.pool": (0, 100)}
        pool.disconnect()

    def test_a_pool_that_only_a_client_holds_has_the_clients_name(self) -> None:
        shop = Shop(connection_pool=redis.ConnectionPool(port=self.port))
        shop.prices.get("absent")
        assert _names() == {f"{__name__}.Shop.prices"}
        shop.prices.connection_pool.disconnect()

    def test_named_clients_of_one_pool_stay_apart(self) -> None:
        shared = redis.ConnectionPool(port=self.port)
        one, two = redis.Redis(connection_pool=shared), redis.Redis(connection_pool=shared)
        metertap.name_cache(one, "one")
        metertap.name_cache(two, "two")
        one.get("absent")
        two.pipeline().get("absent").get("missing").execute()
        assert _figures() == {"one": (0, 1), "two": (0, 2)}
        shared.disconnect()

    def test_clients_and_pools_that_are_gone_leave_one_line(self) -> None:
        for _ in range(20):
            with redis.Redis(port=self.port) as client:
                client.get("absent")
        del client
        gc.collect()
        assert _figures() == {"redis.db0": (0, 20)}
        assert not state.recorder().cache("redis.db0", "redis").parts

    def test_a_cluster_that_is_bound_to_nothing(self, cluster_port: int) -> None:
        client = redis.RedisCluster(host="127.0.0.1", port=cluster_port)
        client.get("absent")
        assert client.pipeline().get("absent").execute() == [None]
        assert _figures() == {"redis.cluster": (0, 2)}
        client.close()
