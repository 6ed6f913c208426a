"""Ctrl-C and time limits in the middle of a lookup: later lookups in that thread count as ever."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
import metertap_instrumentation
from metertap.patching.parameters import FILE
from support.interrupting import everywhere

pytestmark = [pytest.mark.library, pytest.mark.interpreter]

_OURS = tuple(str(Path(one.__file__).parent) for one in (metertap, metertap_instrumentation))
Use = Callable[[], object]
Ways = tuple[Use, Use]
"""What is interrupted, and a lookup in the same cache that must count each time."""


def is_ours(file: str) -> bool:
    """Take the places of metertap: libraries may not bear an interrupt in the middle of theirs."""
    return file == FILE or file.startswith(_OURS)


def of_cachetools(use: Callable[[Any], object]) -> Ways:
    cachetools = pytest.importorskip("cachetools")
    cache = cachetools.LRUCache(1)
    cache["there"] = 1
    return lambda: use(cache), lambda: cache.get("absent")


def of_decorator() -> Ways:
    cachetools = pytest.importorskip("cachetools")
    cache = cachetools.LRUCache(2)

    @cachetools.cached(cache, lock=threading.RLock())
    def price(item: str) -> int:
        return 1

    def ask() -> None:
        cache.clear()
        price("lamp")

    return ask, lambda: cache.get("absent")


def of_diskcache(folder: Path, use: Callable[[Any], object]) -> Ways:
    cache = pytest.importorskip("diskcache").Cache(folder)
    return lambda: use(cache), lambda: cache.get("absent")


def of_django(use: Callable[[Any], object]) -> Ways:
    pytest.importorskip("django")
    from django.core.cache.backends.locmem import LocMemCache

    cache = LocMemCache("interrupts", {})
    return lambda: use(cache), lambda: cache.get("absent")


def of_dogpile(use: Callable[[Any], object]) -> Ways:
    region = pytest.importorskip("dogpile.cache").make_region().configure("dogpile.cache.memory")
    return lambda: use(region), lambda: region.get("absent")


WAYS: dict[str, Callable[[Path], Ways]] = {
    "cachetools evicts": lambda _: of_cachetools(lambda cache: cache.update(lamp=1, desk=2)),
    "cachetools pops": lambda _: of_cachetools(lambda cache: cache.pop("absent", None)),
    "cachetools stores a result": lambda _: of_decorator(),
    "diskcache gets": lambda folder: of_diskcache(folder, lambda cache: cache.get("lamp")),
    "diskcache pops": lambda folder: of_diskcache(folder, lambda cache: cache.pop("absent")),
    "diskcache adds": lambda folder: of_diskcache(folder, lambda cache: cache.add("lamp", 1)),
    "django gets or sets": lambda _: of_django(lambda cache: cache.get_or_set("absent", None)),
    "django gets many": lambda _: of_django(lambda cache: cache.get_many(["absent"])),
    "dogpile creates": lambda _: of_dogpile(lambda it: it.get_or_create("lamp", lambda: 1)),
    "dogpile gets": lambda _: of_dogpile(lambda region: region.get("absent")),
}


def lookups() -> int:
    return sum(
        found["total_requests"] for found in metertap.get_all_metrics()["cache_metrics"].values()
    )


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap


@pytest.mark.parametrize("way", WAYS)
def test_lookups_after_an_interrupted_one_count(way: str, tmp_path: Path) -> None:
    use, look = WAYS[way](tmp_path)
    use()
    look()

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        context = contextvars.copy_context()

        def check(number: int) -> None:
            before = lookups()
            for _ in range(2):
                context.run(look)
            assert lookups() == before + 2, number

        return lambda: context.run(use), check

    assert everywhere(prepare, is_ours) > 3
