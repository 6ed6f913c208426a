"""Django's cache framework, configured as its users do: in memory, files, a database, redis."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from metertap.runtime.tap import active_tap
from servers.real_servers import redis_server

pytest.importorskip("django")
from django.conf import empty, settings
from django.core.cache import CacheHandler, cache, caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.management import call_command
from django.test.utils import override_settings

from kits.django_kit import BACKENDS, HERE, Careful, Foreign, Kit, line, raised

pytestmark = pytest.mark.library("django")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    pytest.importorskip("redis")
    with redis_server(tmp_path_factory.mktemp("redis") / "server") as port:
        yield port


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
        with override_settings(CACHES={"default": line(f"{__name__}.Later")}):
            cache.set("a", 1)
            assert [cache.get("a"), cache.get("b", 2), caches["default"].get("a")] == [1, 2, 1]
            found = metertap.get_all_metrics()["cache_metrics"]["default"]
    del globals()["Later"]
    assert (found["hits"], found["misses"]) == (2, 1)
    assert not hasattr(vars(Later)["get"], "__wrapped__")


def test_made_where_nobody_has_configured_django(monkeypatch: pytest.MonkeyPatch) -> None:
    with metertap.instrument(json_endpoint=False) as tap:
        alone = LocMemCache("unconfigured", {})
        with monkeypatch.context() as patch:
            patch.setattr(settings, "_wrapped", empty)
            patch.setattr(caches, "_settings", None)
            patch.delitem(vars(caches), "settings", raising=False)
            alone.get("a")
            (found,) = metertap.get_all_metrics()["cache_metrics"].values()
            assert found["misses"] == 1
        assert tap.diagnosis()["faults"] == {}


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
    def names(call: Any) -> list[str]:
        return [frame.name for frame in raised(ConnectionError, call)][2:]

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
        before = [names(operation) for operation in operations]
        with metertap.instrument(json_endpoint=False):
            down.aget = super(Foreign, down).aget
            patched = [names(operation) for operation in operations]
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
