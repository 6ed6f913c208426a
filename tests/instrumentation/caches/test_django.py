"""Django's cache framework, configured as its users do: in memory, files, redis, memcached."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit
from metertap import faults
from metertap.runtime.tap import active_tap
from servers.real_servers import memcached, redis_server
from support.ports import free_port

django = pytest.importorskip("django")

from django.conf import settings  # noqa: E402

if not settings.configured:
    # The settings of a process: Django reads them once.
    settings.configure(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )
    django.setup()

from django.core.cache import CacheHandler, InvalidCacheKey, cache, caches  # noqa: E402
from django.core.cache.backends.base import BaseCache  # noqa: E402
from django.core.cache.backends.locmem import LocMemCache  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test.utils import override_settings  # noqa: E402

pytestmark = pytest.mark.library("django")

BACKENDS = "django.core.cache.backends"
HERE = __name__


class Careful(LocMemCache):  # type: ignore[misc]
    """Overrides a lookup and calls it, for one key twice; its defaults may be functions."""

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        found = super().get(key, SENTINEL, version)
        if found is SENTINEL:
            found = super().get(f"old-{key}", SENTINEL, version)
        if found is SENTINEL:
            return default() if callable(default) else default
        return found


class Foreign(BaseCache):  # type: ignore[misc]
    """Everything of its own, as backends of other packages have it."""

    def __init__(self, _location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.kept: dict[Any, Any] = {}

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.kept.get(self.make_key(key, version), default)

    async def aget(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.kept.get(self.make_key(key, version), default)

    def set(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> None:
        self.kept[self.make_key(key, version)] = value

    def add(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> bool:
        return self.kept.setdefault(self.make_key(key, version), value) is value

    def delete(self, key: str, version: int | None = None) -> bool:
        return self.kept.pop(self.make_key(key, version), None) is not None

    def clear(self) -> None:
        self.kept.clear()


class Down(Foreign):
    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        raise ConnectionError("down")

    def get_many(self, keys: Any, version: int | None = None) -> Any:
        raise ConnectionError("down")


def line(backend: str, location: Any = "", **more: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": str(location), **more}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("redis")
    with redis_server(tmp_path_factory.mktemp("redis") / "server") as port:
        yield port


@pytest.fixture(scope="module")
def memcached_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with memcached(tmp_path_factory.mktemp("memcached")) as port:
        yield port


def _raised(error: type[Exception], call: Callable[[], Any]) -> traceback.StackSummary:
    with pytest.raises(error) as caught:
        call()
    return traceback.extract_tb(caught.value.__traceback__)


class Kit(CacheKit):
    system = "django"
    pickles = False

    @pytest.fixture(autouse=True)
    def configured(self, tmp_path: Path) -> Iterator[None]:
        with override_settings(CACHES={"default": self.backend(tmp_path)}):
            yield
            caches["default"].clear()

    def backend(self, folder: Path) -> dict[str, Any]:
        raise NotImplementedError

    def make(self) -> Any:
        # What a new thread gets: `caches` would keep it.
        return caches.create_connection("default")

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache.set(key, value)

    def get(self, cache: Any, key: str) -> Any:
        return cache.get(key, SENTINEL)

    def get_default(self, cache: Any, key: str, default: Any) -> Any:
        return cache.get(key, default)

    def clear(self, cache: Any) -> None:
        cache.clear()

    def test_many_keys_count_each(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": None})
        for keys in (["a", "b", "c"], ("a", "b", "c"), {"a": 0, "b": 0, "c": 0}.keys()):
            assert cache.get_many(keys) == {"a": 1, "b": None}
        assert cache.get_many(key for key in "abc") == {"a": 1, "b": None}
        assert cache.get_many(keys=iter("abc")) == {"a": 1, "b": None}
        for mistake in ((), (5,)):
            with pytest.raises(TypeError):
                cache.get_many(*mistake)
        assert faults.fault_counts() == {}
        assert self.counted() == (10, 5)

    def test_get_or_set_is_one_lookup(self, cache: Any) -> None:
        assert cache.get_or_set("a", 1) == 1
        assert cache.get_or_set("a", 2) == 1
        assert cache.get_or_set("b", lambda: cache.get("a") + cache.get_or_set("c", 5)) == 6
        assert self.counted() == (2, 3)

    def test_operations_that_are_no_lookups_count_nothing(self, cache: Any) -> None:
        cache.set("a", 1)
        assert "a" in cache
        assert not cache.has_key("b")
        assert cache.incr("a") == 2
        assert cache.decr("a") == 1
        assert cache.incr_version("a") == 2
        with pytest.raises(ValueError, match="not found"):
            cache.incr("b")

        async def awaited() -> None:
            assert await cache.ahas_key("a", version=2)
            assert await cache.aincr("a", version=2) == 2
            assert await cache.aincr_version("a", version=2) == 3

        asyncio.run(awaited())
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_awaited_lookups_count_the_same(self, cache: Any) -> None:
        async def awaited() -> None:
            await cache.aset("a", 1)
            assert await cache.aget("a") == 1
            assert await cache.aget("b", 1) == 1
            assert await cache.aget_many(["a", "b"]) == {"a": 1}
            assert await cache.aget_or_set("a", 7) == 1
            assert await cache.aget_or_set("c", 7) == 7

        asyncio.run(awaited())
        assert self.counted() == (3, 3)

    def test_a_lookup_awaited_in_a_tool_is_the_tools(self, cache: Any) -> None:
        @metertap.tool
        async def search() -> None:
            await cache.aget("a")

        asyncio.run(search())
        assert self.figures()["by_tool"]["search"]["misses"] == 1


class TestLocMem(Kit):
    def backend(self, folder: Path) -> dict[str, Any]:
        return line(f"{BACKENDS}.locmem.LocMemCache", folder)

    def test_a_stored_none_is_a_hit_when_awaited(self, cache: Any) -> None:
        cache.set("a", None)
        assert asyncio.run(cache.aget("a")) is None
        assert self.counted() == (1, 0)

    def test_every_thread_has_its_own_and_all_are_one(self) -> None:
        def look() -> None:
            caches["default"].set("a", 1)
            caches["default"].get("a")
            cache.get("b")

        threads = [threading.Thread(target=look) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        look()
        found = self.figures("default")
        assert (found["hits"], found["misses"]) == (6, 6)
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"default"}

    def test_one_that_was_there_before_has_its_alias(self, measured: metertap.Tap) -> None:
        measured.shutdown()
        caches["default"].get("a")
        with metertap.instrument(json_endpoint=False):
            cache.get("a")
            assert self.figures("default")["misses"] == 1

    def test_made_without_an_alias(self) -> None:
        class Keeper:
            def __init__(self, folder: str) -> None:
                self.pages = LocMemCache(folder, {})

        keeper = Keeper("alone")
        keeper.pages.get("a")
        (name,) = metertap.get_all_metrics()["cache_metrics"]
        assert name.endswith("Keeper.pages")

    def test_undone_no_class_has_anything_of_ours(self, measured: metertap.Tap) -> None:
        caches["default"].get("a")
        measured.shutdown()
        for cls in (BaseCache, CacheHandler, LocMemCache, Foreign, Careful):
            for name, value in vars(cls).items():
                assert not hasattr(value, "__wrapped__"), name
        assert "__init_subclass__" not in vars(BaseCache)

    def test_functions_are_what_they_were(self, measured: metertap.Tap) -> None:
        names = ("get", "aget", "get_many", "aget_or_set", "has_key")

        def look() -> list[Any]:
            found = [getattr(LocMemCache, name) for name in names]
            kinds = [inspect.iscoroutinefunction(function) for function in found]
            return [*map(inspect.signature, found), kinds]

        patched = look()
        measured.shutdown()
        assert patched == look()

    def test_whether_a_backend_has_a_method_of_its_own_is_told_as_before(self) -> None:
        with override_settings(CACHES={"default": line(f"{HERE}.Foreign")}):
            foreign = caches["default"]
            for name in ("get_many", "get_or_set", "has_key", "incr", "incr_version"):
                assert getattr(foreign, name).__func__ is getattr(BaseCache, name)
            for name in ("get", "aget"):
                assert getattr(foreign, name).__func__ is getattr(Foreign, name)
                assert getattr(foreign, name).__func__ is not getattr(BaseCache, name)


class TestFile(Kit):
    def backend(self, folder: Path) -> dict[str, Any]:
        return line(f"{BACKENDS}.filebased.FileBasedCache", folder / "cached")


class TestDatabase(Kit):
    # Each thread has a connection of its own, and with it a database in memory.
    test_concurrent_gets_lose_nothing = None
    test_awaited_lookups_count_the_same = None

    def test_operations_that_are_no_lookups_count_nothing(self, cache: Any) -> None:
        cache.set("a", 1)
        assert "a" in cache
        assert cache.incr("a") == 2
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_a_lookup_awaited_in_a_tool_is_the_tools(self, cache: Any) -> None:
        pytest.skip("a database in memory")

    def backend(self, folder: Path) -> dict[str, Any]:
        return line(f"{BACKENDS}.db.DatabaseCache", "kept")

    @pytest.fixture(autouse=True)
    def table(self, configured: None) -> None:
        call_command("createcachetable", verbosity=0)


class TestRedis(Kit):
    """Stands on redis-py, which counts nothing then."""

    @pytest.fixture(autouse=True)
    def configured(self, tmp_path: Path, port: int) -> Iterator[None]:
        backend = line(f"{BACKENDS}.redis.RedisCache", f"redis://127.0.0.1:{port}")
        with override_settings(CACHES={"default": backend}):
            yield
            caches["default"].clear()

    def test_redis_counts_nothing(self, cache: Any) -> None:
        cache.set("a", 1)
        cache.get("a")
        cache.get_many(["a", "b"])
        cache.get_or_set("c", 1)
        assert cache.has_key("a")
        asyncio.run(cache.aget("a"))
        assert self.counted() == (3, 2)
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {"sessions"}


class OfMemcached(Kit):
    library: str
    kind: str
    port: int

    @pytest.fixture(autouse=True)
    def configured(self, memcached_port: int) -> Iterator[None]:
        pytest.importorskip(self.library)
        self.port = memcached_port
        with override_settings(CACHES={"default": self.at(self.port)}):
            yield
            caches["default"].clear()
            caches["default"].close()

    def at(self, port: int) -> dict[str, Any]:
        return line(f"{BACKENDS}.memcached.{self.kind}", f"127.0.0.1:{port}")

    def unanswered(self) -> Any:
        """A cache whose server is down."""
        down = self.at(free_port())
        with override_settings(CACHES={"default": down}):
            cache = self.make()
        metertap.name_cache(cache, "sessions")
        return cache

    def test_concurrent_gets_lose_nothing(self) -> None:
        # A client is one thread's: Django makes each its own.
        def look() -> None:
            for _ in range(100):
                caches["default"].get("a")
            caches["default"].close()

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = self.figures("default")
        assert (found["hits"], found["misses"]) == (0, 400)

    def test_versions_are_keys_of_their_own(self, cache: Any) -> None:
        cache.set("a", None, version=2)
        assert cache.get("a", 5, version=2) is None
        assert cache.get("a", 5) == 5
        assert cache.get_many(["a", "b"], version=2) == {"a": None}
        assert cache.get_or_set("a", 7, version=3) == 7
        assert self.counted() == (2, 3)

    def test_to_change_an_entry_is_no_lookup(self, cache: Any) -> None:
        cache.set("a", 1)
        assert cache.touch("a", 60)
        assert not cache.touch("b")
        assert not cache.add("a", 2)
        assert cache.incr("a", 10) == 11
        assert cache.decr("a") == 10
        assert cache.delete("a")
        cache.set_many({"a": 1, "b": 2})
        cache.delete_many(["a", "b"])
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]

    def test_a_key_that_memcached_refuses_is_refused_as_before(
        self, measured: metertap.Tap
    ) -> None:
        def refused(cache: Any, key: str) -> list[list[str]]:
            operations: list[Callable[[], Any]] = [
                lambda: cache.get(key),
                lambda: cache.get_many([key]),
                lambda: cache.get_or_set(key, 1),
                lambda: cache.has_key(key),
                lambda: cache.incr(key),
                lambda: asyncio.run(cache.aget(key)),
            ]
            return [
                [frame.name for frame in _raised(InvalidCacheKey, operation)][1:]
                for operation in operations
            ]

        cache = self.make()
        metertap.name_cache(cache, "sessions")
        for key in ("a" * 300, "a b"):
            patched = refused(cache, key)
            assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
            measured.shutdown()
            assert patched == refused(cache, key) or sys.version_info < (3, 11)
            metertap.instrument()


class TestPyMemcache(OfMemcached):
    library, kind = "pymemcache", "PyMemcacheCache"

    def test_a_server_that_is_down(self) -> None:
        cache = self.unanswered()
        with pytest.raises(ConnectionRefusedError):
            cache.get("a")
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
        # Until it tries the server again, pymemcache says that nothing is there.
        assert cache.get("a", 5) == 5
        assert cache.get_many(["a", "b"]) == {}
        assert self.counted() == (0, 3)


class TestPyLibMC(OfMemcached):
    library, kind = "pylibmc", "PyLibMCCache"

    def test_a_server_that_is_down(self) -> None:
        cache = self.unanswered()
        failed = pytest.importorskip("pylibmc").Error
        for operation in (
            lambda: cache.get("a", 5),
            lambda: cache.get_many(["a", "b"]),
            lambda: cache.get_or_set("a", 1),
            lambda: asyncio.run(cache.aget("a")),
        ):
            files = [frame.filename for frame in _raised(failed, operation)]
            ours = any("metertap" in Path(name).parts[-2] for name in files)
            assert not ours or sys.version_info < (3, 11)  # there our frame stays
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]


class TestCareful(Kit):
    def backend(self, folder: Path) -> dict[str, Any]:
        return line(f"{HERE}.Careful", folder)

    def test_what_its_parent_finds_decides(self, cache: Any) -> None:
        cache.set("old-a", None)
        assert cache.get("a") is None
        assert cache.get("b") is None
        assert cache.get("c", lambda: 7) == 7
        assert asyncio.run(cache.aget("c", lambda: 7)) == 7
        assert self.counted() == (1, 3)


class TestForeign(Kit):
    keeps_none = False
    clear = None  # each object has its own entries

    def backend(self, folder: Path) -> dict[str, Any]:
        return line(f"{HERE}.Foreign", folder)


def test_a_class_that_is_defined_later_is_seen_once() -> None:
    with metertap.instrument(json_endpoint=False):

        class Later(Foreign):
            def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
                return super().get(key, default, version)

        globals()["Later"] = Later
        with override_settings(CACHES={"default": line(f"{HERE}.Later")}):
            cache.set("a", 1)
            assert [cache.get("a"), cache.get("b", 2), caches["default"].get("a")] == [1, 2, 1]
            found = metertap.get_all_metrics()["cache_metrics"]["default"]
    del globals()["Later"]
    assert (found["hits"], found["misses"]) == (2, 1)
    assert not hasattr(vars(Later)["get"], "__wrapped__")


def test_dummy_misses_always() -> None:
    backends = {"default": line(f"{BACKENDS}.dummy.DummyCache"), "pages": line(f"{HERE}.Foreign")}
    with metertap.instrument(json_endpoint=False), override_settings(CACHES=backends):
        cache.set("a", 1)
        assert cache.get("a", 5) == 5
        assert cache.get_many(["a", "b"]) == {}
        caches["pages"].get("a")
        found = metertap.get_all_metrics()["cache_metrics"]
    assert {name: (line["hits"], line["misses"]) for name, line in found.items()} == {
        "default": (0, 3),
        "pages": (0, 1),
    }


def test_a_server_that_is_down_neither_hits_nor_misses() -> None:
    def raised(call: Any) -> list[str]:
        return [frame.name for frame in _raised(ConnectionError, call)][2:]

    with override_settings(CACHES={"default": line(f"{HERE}.Down")}):
        down = caches["default"]
        operations = (
            lambda: down.get("a"),
            lambda: down.get_many("ab"),
            lambda: down.get_or_set("a", 1),
            lambda: "a" in down,
            lambda: asyncio.run(down.aget_many("ab")),
            lambda: asyncio.run(down.aget_or_set("a", 1)),
        )
        down.aget = super(Foreign, down).aget  # that of Django, which asks `get`
        before = [raised(operation) for operation in operations]
        with metertap.instrument(json_endpoint=False):
            down.aget = super(Foreign, down).aget
            patched = [raised(operation) for operation in operations]
            assert metertap.get_all_metrics()["cache_metrics"] == {}
    assert patched == before or sys.version_info < (3, 11)  # there our frame stays
    assert active_tap() is None


def test_diskcache_beneath_counts_nothing(tmp_path: Path) -> None:
    pytest.importorskip("diskcache.djangocache")
    backend = line("diskcache.DjangoCache", tmp_path / "disk", SHARDS=2)
    with metertap.instrument(json_endpoint=False), override_settings(CACHES={"default": backend}):
        cache.set("a", None, tag="t")
        assert cache.get("a", 5) is None
        assert cache.get("a", 5, tag=True) == (None, "t")
        assert cache.get("b", 5, tag=True) == (5, None)
        assert cache.get_many(["a", "b"]) == {"a": None}
        found = metertap.get_all_metrics()["cache_metrics"]
        caches["default"].close()
    assert {name: (line["hits"], line["misses"]) for name, line in found.items()} == {
        "default": (3, 2)
    }
