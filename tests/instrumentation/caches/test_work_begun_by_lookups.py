"""Work that the program's own code begins in a lookup has its context, and looks things up itself.

A task, a thread or a callback may do so long after that lookup is over: then it counts.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any

import pytest

import metertap
from support.own_program import importable

Begin = Callable[[], None]
"""Begins work: to be called by the program's code in a lookup."""
Look = Callable[[], object]


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap
        assert tap.diagnosis()["faults"] == {}


def lookups() -> int:
    found = metertap.get_all_metrics()["cache_metrics"].values()
    return sum(item["total_requests"] for item in found)


def in_aiocache(begin: Begin) -> Look:
    aiocache = pytest.importorskip("aiocache")

    class Remote(aiocache.SimpleMemoryCache):
        async def _get(self, *args: Any, **kwargs: Any) -> Any:
            begin()
            return await super()._get(*args, **kwargs)

    cache = Remote()
    return lambda: asyncio.run(cache.get("a"))


def in_cashews(begin: Begin) -> Look:
    cashews = pytest.importorskip("cashews")
    from cashews.backends.memory import Memory

    class Remote(Memory):
        async def get(self, *args: Any, **kwargs: Any) -> Any:
            begin()
            return await super().get(*args, **kwargs)

    cache = cashews.Cache()
    cache._add_backend(Remote())
    return lambda: asyncio.run(cache.get("a"))


def in_django(begin: Begin) -> Look:
    base = pytest.importorskip("django.core.cache.backends.base")

    class Remote(base.BaseCache):  # type: ignore[misc]
        def get(self, *_args: Any, **_kwargs: Any) -> Any:
            begin()

    cache = Remote({})
    return lambda: cache.get_many(["a"])


def in_a_default_of_django(begin: Begin) -> Look:
    locmem = pytest.importorskip("django.core.cache.backends.locmem")
    cache = locmem.LocMemCache("work", {})
    cache.clear()
    cache.get_or_set("a", begin)
    assert lookups() == 1
    return lambda: cache.get("a")


def in_dogpile(begin: Begin) -> Look:
    region = pytest.importorskip("dogpile.cache.region")
    from dogpile.cache.backends.memory import MemoryBackend

    class Remote(MemoryBackend):  # type: ignore[misc]
        def get(self, *args: Any) -> Any:
            begin()
            return super().get(*args)

    cache = region.make_region().configure("dogpile.cache.null")
    cache.backend = Remote({})
    return lambda: cache.get("a")


def in_what_cachetools_evicts(begin: Begin) -> Look:
    cachetools = pytest.importorskip("cachetools")

    class Told(cachetools.LRUCache):  # type: ignore[misc]
        def popitem(self) -> Any:
            begin()
            return super().popitem()

    cache = Told(1)
    cache["a"] = cache["b"] = 1
    return lambda: cache.get("b")


WAYS = (
    in_aiocache,
    in_cashews,
    in_django,
    in_a_default_of_django,
    in_dogpile,
    in_what_cachetools_evicts,
)


@pytest.mark.parametrize("way", WAYS)
def test_what_work_looks_up_later_counts(way: Callable[[Begin], Look]) -> None:
    contexts: list[Context] = []
    look = way(lambda: contexts.append(copy_context()))
    look()
    work, before = contexts[0], lookups()
    work.run(look)
    assert lookups() == before + 1


SHOP = """
from contextvars import copy_context

contexts = []


class Cache:
    def get(self, _key):
        contexts.append(copy_context())

    async def aget(self, key):
        self.get(key)
"""


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_so_does_what_is_begun_in_a_cache_of_the_programs_own(
    is_async: bool, tmp_path: Path
) -> None:
    name = "aget" if is_async else "get"
    line = f'"workshop.cache:Cache.{name}" = {{ miss = "none" }}'
    with importable("workshop.cache", SHOP, tmp_path):
        Path("pyproject.toml").write_text(f"[tool.metertap.caches]\n{line}\n")
        metertap.reset()
        with metertap.instrument(json_endpoint=False):
            shop: Any = importlib.import_module("workshop.cache")
            cache = shop.Cache()

            def look() -> object:
                made: Any = getattr(cache, name)("a")
                return asyncio.run(made) if is_async else made

            look()
            shop.contexts[0].run(look)
            assert lookups() == 2
