"""Django's cache framework on memcached, by both of its clients."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from servers.real_servers import memcached
from support.ports import free_port

pytest.importorskip("django")
from django.core.cache import InvalidCacheKey, caches
from django.test.utils import override_settings

from kits.django_kit import BACKENDS, Kit, line, raised

pytestmark = pytest.mark.library("django")


@pytest.fixture(scope="module")
def memcached_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with memcached(tmp_path_factory.mktemp("memcached")) as port:
        yield port


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
                [frame.name for frame in raised(InvalidCacheKey, operation)][1:]
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
            files = [frame.filename for frame in raised(failed, operation)]
            ours = any("metertap" in Path(name).parts[-2] for name in files)
            assert not ours or sys.version_info < (3, 11)  # there our frame stays
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
