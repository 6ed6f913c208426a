"""What holds for every backend of Django's: test classes inherit this."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit
from metertap import faults

pytest.importorskip("django")
import django
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.test.utils import override_settings

if not settings.configured:
    # The settings of a process: Django reads them once.
    settings.configure(
        CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}},
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        USE_TZ=True,
    )
    django.setup()

BACKENDS = "django.core.cache.backends"
HERE = __name__
"""The module of the backends below, as settings name it."""


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


def raised(error: type[Exception], call: Callable[[], Any]) -> traceback.StackSummary:
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
