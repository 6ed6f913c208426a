"""redisvl's embeddings cache on a real Redis, sync and async.

`SemanticCache` needs vector search, which no Redis here has: all that is seen is its patch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit
from servers.real_servers import redis_server
from support.ports import free_port

pytestmark = pytest.mark.library("redis")

embeddings: Any = pytest.importorskip("redisvl.extensions.cache.embeddings")

MODEL = "a model"


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        Kit.url = f"redis://127.0.0.1:{port}"
        yield


class Kit(CacheKit):
    system = "redisvl"
    keeps_none = False
    pickles = False
    url: str
    made = 0

    def make(self) -> Any:
        Kit.made += 1
        return embeddings.EmbeddingsCache(f"embeddings{Kit.made}", redis_url=self.url)

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache.set(key, MODEL, [float(value)])

    def get(self, cache: Any, key: str) -> Any:
        return self.value(cache.get(key, MODEL))

    def value(self, found: Any) -> Any:
        return SENTINEL if found is None else int(found["embedding"][0])

    def clear(self, cache: Any) -> None:
        cache.clear()


class TestEmbeddings(Kit):
    def test_each_key_counts(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert len(cache.mget(["a", "b", "c"], MODEL)) == 3
        assert cache.mget([], MODEL) == []
        assert asyncio.run(both(cache, ["a", "b"])) == [True, False]
        assert self.counted() == (2, 3)

    def test_no_lookups(self, cache: Any) -> None:
        self.put(cache, "a", 1)
        assert cache.exists("a", MODEL)
        cache.drop("a", MODEL)
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_redis_below_it_does_not_count(self, cache: Any) -> None:
        self.get(cache, "a")
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"sessions"}


class TestEmbeddingsAsync(Kit):
    def get(self, cache: Any, key: str) -> Any:
        async def main() -> Any:
            try:
                return self.value(await cache.aget(key, MODEL))
            finally:
                await end(cache)

        return asyncio.run(main())

    def test_concurrent_gets_lose_nothing(self, cache: Any) -> None:
        self.put(cache, "a", 1)

        async def main() -> None:
            await asyncio.gather(*(cache.aget("a", MODEL) for _ in range(100)))
            await end(cache)

        asyncio.run(main())
        assert self.counted() == (100, 0)


async def both(cache: Any, keys: list[str]) -> list[bool]:
    try:
        return [item is not None for item in await cache.amget(keys, MODEL)]
    finally:
        await end(cache)


async def end(cache: Any) -> None:
    """The connections of this loop, which is over."""
    client = await cache._get_async_redis_client()
    cache._async_redis_client = None
    await client.aclose()


def test_a_cache_goes_by_its_own_name() -> None:
    with metertap.instrument(json_endpoint=False):
        embeddings.EmbeddingsCache("answers", redis_url=Kit.url).get("a", MODEL)
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"answers"}


def test_a_redis_that_is_down_is_neither_hit_nor_miss() -> None:
    with metertap.instrument(json_endpoint=False):
        # The client is made at first use, and looks at the server at once.
        cache = embeddings.EmbeddingsCache(redis_url=f"redis://127.0.0.1:{free_port()}")
        with pytest.raises(Exception, match="onnect"):
            cache.get("a", MODEL)
        with pytest.raises(Exception, match="onnect"):
            asyncio.run(cache.aget("a", MODEL))
        assert metertap.get_all_metrics()["cache_metrics"] == {}


def test_what_could_not_be_run_is_said() -> None:
    import redisvl.extensions.cache.llm  # noqa: F401

    with metertap.instrument(json_endpoint=False) as tap:
        (report,) = [i for i in tap.diagnosis()["instrumentations"] if i["name"] == "redisvl"]
    assert ["SemanticCache" in text for text in report["unverified"]] == [True]
    assert [patch["state"] for patch in report["patches"]] == ["installed", "installed"]
