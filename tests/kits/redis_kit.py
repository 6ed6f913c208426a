"""What holds for every client of redis: test classes inherit these."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from kits.cache_kit import SENTINEL, CacheKit
from support.loop import Loop

redis = pytest.importorskip("redis")
aredis = pytest.importorskip("redis.asyncio")


class Kit(CacheKit):
    system = "redis"
    pickles = False
    port: int
    clients: list[Any]

    @pytest.fixture(autouse=True)
    def server(self, port: int) -> Iterator[None]:
        self.port = port
        self.clients = []
        yield
        for client in self.clients:
            self.end(client)

    def make(self) -> Any:
        client = self.connect()
        if len(self.clients) < 2:  # what they count is the clients', not the connections'
            self.clients.append(self.keeper(client))
        self.clear(client)
        return client

    def connect(self) -> Any:
        return redis.Redis(port=self.port)

    def keeper(self, client: Any) -> Any:
        return client.connection_pool

    def end(self, pool: Any) -> None:
        pool.disconnect()

    def put(self, cache: Any, key: str, value: Any) -> None:
        self.wait(cache.set(key, json.dumps(value)))

    def get(self, cache: Any, key: str) -> Any:
        value = self.wait(cache.get(key))
        return SENTINEL if value is None else json.loads(value)

    def clear(self, cache: Any) -> None:
        self.wait(cache.flushdb())

    def wait(self, answer: Any) -> Any:
        return answer


class OfLoop(Kit):
    @pytest.fixture(autouse=True)
    def loop(self, run: Loop) -> None:
        self.run = run

    def connect(self) -> Any:
        return aredis.Redis(port=self.port)

    def end(self, pool: Any) -> None:
        self.run(pool.disconnect())

    def wait(self, answer: Any) -> Any:
        return self.run(answer)
