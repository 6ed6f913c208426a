"""What the program overrides beneath a patched method gets the arguments of the caller alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import GeneratorType
from typing import Any

import pytest

import metertap

Seen = list[Any]


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap
        assert tap.diagnosis()["faults"] == {}


def counted() -> tuple[int, int]:
    found = metertap.get_all_metrics()["cache_metrics"].values()
    return sum(item["hits"] for item in found), sum(item["misses"] for item in found)


def looked_up(get: Callable[..., Any], seen: Seen) -> None:
    """Look `held` (7) up, and `lacking`; every default that the program sees is one of these."""
    assert get("held", None) == 7
    assert get("lacking", None) is None
    assert get("lacking", "none") == "none"
    assert get("held", "none") == 7
    assert counted() == (2, 2)
    assert seen
    assert {json.dumps(default) for default in seen} <= {"null", '"none"'}


def test_a_backend_of_cashews() -> None:
    cashews = pytest.importorskip("cashews")
    from cashews.backends.memory import Memory
    from cashews.wrapper.backend_settings import register_backend

    seen: Seen = []

    class Remote(Memory):
        async def get(self, key: str, default: Any = None) -> Any:
            seen.append(default)
            return await super().get(key, default)

        async def get_many(self, *keys: str, default: Any = None) -> Any:
            seen.append(default)
            return await super().get_many(*keys, default=default)

    async def main() -> None:
        cache = cashews.Cache()
        cache.setup("remote://")
        await cache.set("held", 7)
        loop = asyncio.get_running_loop()

        def get(key: str, default: Any) -> Any:
            made = cache.get(key, default=default)
            return asyncio.run_coroutine_threadsafe(made, loop).result(60)

        await asyncio.to_thread(looked_up, get, seen)
        assert await cache.get_many("held", "lacking", default="none") == (7, "none")
        assert counted() == (3, 3)
        await cache.close()

    register_backend("remote", Remote)
    asyncio.run(main())


def test_a_serializer_of_cashews() -> None:
    cashews = pytest.importorskip("cashews")
    from cashews.serialize import Serializer

    seen: Seen = []

    class Own(Serializer):
        async def decode(self, backend: Any, key: Any, value: Any, default: Any) -> Any:
            seen.append(default)
            return await super().decode(backend, key, value, default)

    async def main() -> None:
        cache = cashews.Cache()
        backend = cache.setup("mem://")
        backend._serializer = Own()
        await cache.set("held", 7)
        assert await cache.get("held", default="none") == 7
        assert counted() == (1, 0)
        await cache.close()

    asyncio.run(main())
    assert set(seen) <= {None, "none"}


def test_plugins_and_subclasses_of_aiocache() -> None:
    aiocache = pytest.importorskip("aiocache")
    from aiocache.plugins import BasePlugin

    seen: Seen = []

    class Watching(BasePlugin):  # type: ignore[misc]
        async def pre_get(self, _client: Any, _key: Any, default: Any = None, **_: Any) -> None:
            seen.append(default)

    class Own(aiocache.SimpleMemoryCache):  # type: ignore[misc, name-defined]
        async def get(self, key: Any, default: Any = None, **rest: Any) -> Any:
            seen.append(default)
            return await super().get(key, default=default, **rest)

    def get(key: str, default: Any) -> Any:
        return asyncio.run(cache.get(key, default=default))

    cache = Own(plugins=[Watching()])
    asyncio.run(cache.set("held", 7))
    looked_up(get, seen)


def test_subclasses_of_diskcache(tmp_path: Path) -> None:
    diskcache = pytest.importorskip("diskcache")
    seen: Seen = []

    class Own(diskcache.Cache):  # type: ignore[misc, name-defined]
        def get(self, key: Any, default: Any = None, **rest: Any) -> Any:
            seen.append(default)
            return super().get(key, default, **rest)

    with Own(tmp_path) as cache:
        cache["held"] = 7
        looked_up(cache.get, seen)


def test_what_another_library_put_in_the_place_of_a_method(
    measured: metertap.Tap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    diskcache = pytest.importorskip("diskcache")
    measured.shutdown()
    seen: Seen = []
    bare = diskcache.Cache.get

    def tracing(self: Any, key: Any, default: Any = None, **rest: Any) -> Any:
        seen.append(default)
        return bare(self, key, default, **rest)

    monkeypatch.setattr(diskcache.Cache, "get", tracing)
    with metertap.instrument(json_endpoint=False), diskcache.Cache(tmp_path) as cache:
        cache["held"] = 7
        looked_up(cache.get, seen)


def test_subclasses_of_cachetools() -> None:
    cachetools = pytest.importorskip("cachetools")
    seen: Seen = []

    class Own(cachetools.LRUCache):  # type: ignore[misc, name-defined]
        def get(self, key: Any, default: Any = None) -> Any:
            seen.append(default)
            return super().get(key, default)

    cache = Own(8)
    cache["held"] = 7
    looked_up(cache.get, seen)


@pytest.fixture
def locmem() -> Any:
    """Django's own backend in memory, as it is made without settings of a project."""
    pytest.importorskip("instrumentation.caches.test_django")
    from django.core.cache.backends.locmem import LocMemCache

    return LocMemCache


def test_a_client_of_a_backend_of_django(locmem: Any) -> None:
    pytest.importorskip("redis")
    from django.core.cache.backends.redis import RedisCache

    seen: Seen = []

    kept: dict[str, Any] = {}

    class Client:
        def __init__(self, *_servers: Any, **_options: Any) -> None:
            pass

        def get(self, key: str, default: Any) -> Any:
            seen.append(default)
            return kept.get(key, default)

        def set(self, key: str, value: Any, _timeout: Any) -> None:
            kept[key] = value

    class Own(RedisCache):  # type: ignore[misc]
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self._class = Client

    class Lazy(RedisCache):  # type: ignore[misc]
        @property
        def _cache(self) -> Any:
            return Client()

    for number, kind in enumerate((Own, Lazy)):
        cache = kind("redis://localhost", {})
        cache.set("held", 7)
        before = counted()
        assert [cache.get("held"), cache.get("lacking", "none")] == [7, "none"]
        assert (counted()[0] - before[0], counted()[1] - before[1]) == (1, 1), number
    assert set(seen) <= {None, "none"}


def test_a_method_of_a_backend_of_django(locmem: Any) -> None:
    seen: Seen = []

    class Own(locmem):  # type: ignore[misc]
        def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
            seen.append(default)
            return super().get(key, default, version)

        def get_many(self, keys: Iterable[Any], version: Any = None) -> Any:
            kinds.append(type(keys))
            return super().get_many(keys, version)

    class Sole(locmem):  # type: ignore[misc]
        def get_many(self, keys: Iterable[Any], version: Any = None) -> Any:
            kinds.append(type(keys))
            return {key: value for key in keys if (value := self.get(key, version=version))}

    from metertap_instrumentation.caches.django.backends import BACKENDS

    kinds: Seen = []
    for kind in (Own, Sole):
        BACKENDS.adopt(kind)
    cache = Own("of its own", {})
    cache.set("held", 7)
    looked_up(cache.get, seen)
    for number, own in enumerate((cache, Sole("of its own", {})), 1):
        assert own.get_many(key for key in ("held", "lacking")) == {"held": 7}
        assert counted() == (2 + number, 2 + number)
    assert kinds == [GeneratorType, GeneratorType]


def test_the_cache_beneath_the_backend_of_diskcache(locmem: Any, tmp_path: Path) -> None:
    diskcache = pytest.importorskip("diskcache")
    from diskcache.djangocache import DjangoCache

    seen: Seen = []

    class Beneath(diskcache.FanoutCache):  # type: ignore[misc, name-defined]
        def get(self, key: Any, default: Any = None, *rest: Any, **named: Any) -> Any:
            seen.append(default)
            return super().get(key, default, *rest, **named)

    class Own(DjangoCache):  # type: ignore[misc]
        def __init__(self, directory: str, params: Any) -> None:
            super().__init__(directory, params)
            self._cache.close()
            self._cache = Beneath(directory)

    cache = Own(str(tmp_path), {})
    cache.set("held", 7)
    looked_up(cache.get, seen)
    cache.close()
