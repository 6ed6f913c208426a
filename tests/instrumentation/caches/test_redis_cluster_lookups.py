"""redis-py against a real cluster of three nodes."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from kits.cache_kit import shows_us
from kits.redis_kit import Kit, aredis, redis
from metertap import state
from support.loop import Loop
from support.waiting import wait_for

pytestmark = pytest.mark.library("redis")


class OfCluster(Kit):
    @pytest.fixture(autouse=True)
    def server(self, cluster_port: int) -> None:
        self.port = cluster_port
        self.clients = []

    def connect(self) -> Any:
        return redis.RedisCluster(host="127.0.0.1", port=self.port)

    def keeper(self, client: Any) -> Any:
        return None


class TestCluster(OfCluster):
    def test_keys_of_many_slots(self, cache: Any) -> None:
        cache.set("a", 1)
        assert cache.mget_nonatomic("a", "b", "c") == [b"1", None, None]
        assert self.counted() == (1, 2)
        assert cache.mget("{a}1", "{a}2") == [None, None]
        assert self.counted() == (1, 4)

    def test_a_pipeline(self, cache: Any) -> None:
        pipe = cache.pipeline()
        pipe.set("a", 1).get("a").get("b")
        assert pipe.execute() == [True, b"1", None]
        assert self.counted() == (1, 1)
        pipe.rpush("l", 1).get("l")
        with pytest.raises(redis.ResponseError) as raised:
            pipe.execute()
        assert not shows_us(raised.value)
        assert self.counted() == (1, 1)

    def test_a_transaction(self, cache: Any) -> None:
        if not hasattr(redis.cluster, "TransactionStrategy"):
            pytest.skip("this redis-py has no transactions in clusters")
        with cache.pipeline(transaction=True) as pipe:
            pipe.watch("a")
            assert pipe.get("a") is None
            pipe.multi()
            pipe.set("a", 1)
            pipe.get("a")
            assert pipe.execute()[1] == b"1"
        assert self.counted() == (1, 1)


class TestAsyncCluster(OfCluster):
    @pytest.fixture(autouse=True)
    def loop(self, run: Loop) -> Iterator[None]:
        self.run = run
        self.made: list[weakref.ref[Any]] = []
        yield
        for made in self.made:
            if (client := made()) is not None:
                self.end(client)

    def connect(self) -> Any:
        client = aredis.RedisCluster(host="127.0.0.1", port=self.port)
        self.made.append(weakref.ref(client))
        return client

    def wait(self, answer: Any) -> Any:
        return self.run(answer)

    def end(self, client: Any) -> None:
        self.run(client.aclose() if hasattr(client, "aclose") else client.close())

    # redis-py complains of a cluster client that goes without being closed.
    def test_a_cache_is_not_kept_alive_and_what_it_counted_stays(self) -> None:
        cache = self.make()
        metertap.name_cache(cache, "sessions")
        self.put(cache, "a", 1)
        self.get(cache, "a")
        self.end(cache)
        assert self.counted() == (1, 0)
        gone = weakref.ref(cache)
        del cache
        wait_for(lambda: gc.collect() and gone() is None)
        assert self.counted() == (1, 0)
        assert not state.recorder().cache("sessions", self.system).parts

    def test_keys_of_many_slots_and_a_pipeline(self, cache: Any) -> None:
        async def use() -> None:
            await cache.set("a", 1)
            assert await cache.mget_nonatomic("a", "b", "c") == [b"1", None, None]
            pipe = cache.pipeline()
            pipe.set("a", 1).get("a").get("b")
            assert await pipe.execute() == [True, b"1", None]

        self.run(use())
        assert self.counted() == (2, 3)

    def test_a_transaction(self, cache: Any) -> None:
        if not hasattr(redis.cluster, "TransactionStrategy"):
            pytest.skip("this redis-py has no transactions in clusters")

        async def use() -> None:
            pipe = cache.pipeline(transaction=True)
            pipe.set("a", 1).get("a").get("{a}b")
            assert (await pipe.execute())[1:] == [b"1", None]

        self.run(use())
        assert self.counted() == (1, 1)
