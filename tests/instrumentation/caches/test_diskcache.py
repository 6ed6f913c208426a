"""diskcache, used as its users use it: databases in a folder of the test's own."""

from __future__ import annotations

import inspect
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import MappingKit

pytestmark = pytest.mark.library("diskcache")

diskcache = pytest.importorskip("diskcache")

Document = dict[str, Any]


class Kit(MappingKit):
    system = "diskcache"
    opened: list[Any]
    folder: Path

    @pytest.fixture(autouse=True)
    def on_disk(self, tmp_path: Path) -> Iterator[None]:
        self.folder, self.opened = tmp_path, []
        yield
        while self.opened:
            self.opened.pop().close()

    def open(self, folder: Path, **settings: Any) -> Any:
        raise NotImplementedError

    def make(self) -> Any:
        return self.open(self.folder / "prices")

    def name(self, last: str) -> str:
        """What a cache in a directory of the test's own is called."""
        return f"{self.folder.name}/{last}"

    def evict(self, cache: Any) -> int:
        for number in range(40):
            cache[f"k{number}"] = bytes(2**15)
        cache.reset("size_limit", 2**16)
        removed: int = cache.cull()
        return removed

    def clear(self, cache: Any) -> None:
        cache.clear()


class TestCache(Kit):
    def open(self, folder: Path, **settings: Any) -> Any:
        return diskcache.Cache(str(folder), **settings)

    def test_a_cache_that_is_full_evicts(self) -> None:
        cache = self.open(
            self.folder / "small", size_limit=2**18, eviction_policy="least-recently-stored"
        )
        for number in range(40):
            cache[number] = bytes(2**15)
        evicted = 40 - len(cache)
        assert 0 < evicted == self.figures(self.name("small"))["evictions"]
        kept = len(cache)
        cache.reset("size_limit", 2**16)
        assert cache.cull() == kept - len(cache) > 0
        assert self.figures(self.name("small"))["evictions"] == 40 - len(cache)

    @pytest.mark.parametrize("removed_by", ["cull", "expire", "storing"])
    @pytest.mark.parametrize("policy", ["none", "least-recently-used"])
    def test_what_merely_expired_is_not_evicted(self, policy: str, removed_by: str) -> None:
        cache = self.open(self.folder / "old", eviction_policy=policy, cull_limit=0)
        for number in range(4):
            cache.set(number, number, expire=-1)
        cache.reset("cull_limit", 10)
        if removed_by == "storing":
            cache["new"] = 1
            del cache["new"]
        else:
            getattr(cache, removed_by)()
        assert len(cache) == 0
        cache.get("new")
        assert self.figures(self.name("old"))["evictions"] == 0

    def test_of_what_is_dropped_for_another_only_what_had_not_expired_is_evicted(self) -> None:
        cache = self.open(
            self.folder / "both", eviction_policy="least-recently-stored", cull_limit=0
        )
        for number in range(8):
            cache.set(number, bytes(2**15), expire=-1 if number % 4 == 0 else None)
        cache.reset("size_limit", 2**16)
        cache.reset("cull_limit", 5)
        cache["new"] = 1  # two expired, three are displaced
        assert len(cache) == 8 + 1 - 5
        assert self.figures(self.name("both"))["evictions"] == 3

    def test_of_what_is_culled_only_what_had_not_expired_is_evicted(self) -> None:
        cache = self.open(
            self.folder / "both", eviction_policy="least-recently-stored", cull_limit=0
        )
        for number in range(8):
            cache.set(number, bytes(2**15), expire=-1 if number % 4 == 0 else None)
        cache.reset("size_limit", 2**16)
        removed = cache.cull()
        assert removed == 8 - len(cache) > 2
        assert self.figures(self.name("both"))["evictions"] == removed - 2

    def test_an_eviction_that_is_rolled_back_is_none(self, cache: Any) -> None:
        for number in range(20):
            cache[number] = bytes(2**15)
        cache.reset("size_limit", 2**16)

        def end(*, well: bool) -> None:
            with cache.transact():
                cache["new"] = 2  # displaces others
                cache.cull()
                if not well:
                    raise LookupError

        with pytest.raises(LookupError):
            end(well=False)
        assert len(cache) == 20
        cache.get("none")
        assert self.figures()["evictions"] == 0
        end(well=True)
        assert self.figures()["evictions"] == 20 - (len(cache) - ("new" in cache)) > 0

    def test_what_the_program_removes_is_no_eviction(self, cache: Any) -> None:
        for number in range(3):
            cache.set(number, number, tag="old")
        cache.evict("old")
        cache["a"] = 1
        del cache["a"]
        cache["a"] = 1
        cache.pop("a")
        cache.clear()
        assert "a" not in cache
        cache.get("a")
        found = self.figures()
        assert (found["evictions"], found["total_requests"]) == (0, 1)

    def test_every_way_to_call_get(self, cache: Any, tmp_path: Path) -> None:
        cache.set("a", None, expire=60, tag="t")
        value, expiry, tag = cache.get("a", 5, False, True, True)
        assert (value, expiry > 0, tag) == (None, True, "t")
        assert cache.get("b", 5, expire_time=True, tag=True) == (5, None, None)
        assert cache.get("b", tag=True) == (None, None)
        assert cache.get(key="b", default=diskcache.ENOVAL) is diskcache.ENOVAL
        cache["c"] = (None, 1)
        assert cache.get("c") == (None, 1)
        (tmp_path / "x").write_bytes(b"x")
        with (tmp_path / "x").open("rb") as file:
            cache.set("d", file, read=True)
        cache.read("d").close()
        with pytest.raises(KeyError):
            cache.read("e")
        with pytest.raises(TypeError, match="key"):
            cache.get()
        assert self.counted() == (3, 4)

    def test_a_memoized_function(self, cache: Any) -> None:
        @cache.memoize()
        def nothing(_number: int) -> None:
            return None

        for number in (1, 1, 2):
            nothing(number)
        assert self.counted() == (1, 2)

    def test_a_subclass_that_calls_what_it_overrides_counts_once(self) -> None:
        class Logging(diskcache.Cache):  # type: ignore[misc]
            def get(self, key: str, default: Any = None, **options: Any) -> Any:
                return super().get(key, default, **options)

        with Logging(str(self.folder / "logged")) as cache:
            cache["a"] = 1
            assert (cache["a"], cache.get("a"), cache.get("b", 7)) == (1, 1, 7)
        found = self.figures(self.name("logged"))
        assert (found["hits"], found["misses"]) == (2, 1)

    def test_a_cache_that_raises_neither_hits_nor_misses(self, measured: metertap.Tap) -> None:
        class Broken(diskcache.Disk):  # type: ignore[misc]
            def fetch(self, *_arguments: Any) -> Any:
                raise RuntimeError("disk")

        def frames() -> list[str]:
            with pytest.raises(RuntimeError) as caught:
                cache.get("a", 1)
            return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][1:]

        with diskcache.Cache(str(self.folder / "broken"), disk=Broken) as cache:
            cache["a"] = 1
            patched = frames()
            assert self.name("broken") not in metertap.get_all_metrics()["cache_metrics"]
            measured.shutdown()
            unpatched = frames()
        assert patched == unpatched or sys.version_info < (3, 11)  # there our frame stays

    def test_statistics_that_processes_share_stay_as_they_are(self, cache: Any) -> None:
        cache.get("a")
        assert self.counted() == (0, 1)
        assert (cache.statistics, cache.stats(enable=False)) == (0, (0, 0))

    def test_it_is_called_by_its_directory_unless_that_is_temporary(self) -> None:
        for cache in (self.open(Path(f"{self.folder}/prices/")), diskcache.Cache()):
            cache.get("a")
            cache.close()
        names = set(metertap.get_all_metrics()["cache_metrics"])
        assert names == {self.name("prices"), "diskcache.core.Cache"}
        assert not any(tempfile.gettempdir() in name for name in names)

    def test_equal_directories_of_two_programs_are_two_caches(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = self.folder / "bob"
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("USERPROFILE", str(home))
        for path in ("b/cache", "a/cache", "bob/prices", "bob/.cache/shop", "b/index/list"):
            self.opened.append(self.open(self.folder / path))
            self.opened[-1].get("a")
        names = set(metertap.get_all_metrics()["cache_metrics"])
        assert names == {"a/cache", "b/cache", "~/prices", ".cache/shop", "b/index/list"}

    def test_locks_are_no_lookups(self, cache: Any) -> None:
        with diskcache.RLock(cache, "lock"), diskcache.BoundedSemaphore(cache, "places"):
            diskcache.Averager(cache, "average").add(3)
        assert "sessions" not in metertap.get_all_metrics()["cache_metrics"]
        assert diskcache.Averager(cache, "average").get() == 3
        assert self.counted() == (1, 0)


class TestFanout(Kit):
    def open(self, folder: Path, **settings: Any) -> Any:
        return diskcache.FanoutCache(str(folder), shards=4, timeout=5, **settings)

    def test_shards_are_one_cache(self) -> None:
        cache = self.open(self.folder / "prices")
        for number in range(20):
            cache[number] = number
        assert [cache.get(number) for number in range(22)] == [*range(20), None, None]
        (name,) = metertap.get_all_metrics()["cache_metrics"]
        assert name == self.name("prices")
        assert (self.figures(name)["hits"], self.figures(name)["misses"]) == (20, 2)

    def test_shards_evict_as_one(self) -> None:
        cache = self.open(self.folder / "small", size_limit=2**20, cull_limit=5)
        for number in range(80):
            cache[number] = bytes(2**15)
        assert 0 < 80 - len(cache) == self.figures(self.name("small"))["evictions"]
        assert set(metertap.get_all_metrics()["cache_metrics"]) == {self.name("small")}

    def test_one_that_was_there_before_has_shards_too(self, measured: metertap.Tap) -> None:
        measured.shutdown()
        cache = self.open(self.folder / "before")
        with metertap.instrument():
            for number in range(40):
                cache[number] = bytes(2**12)
                cache.get(number + 1)
            cache.reset("size_limit", 2**10)
            removed = cache.cull()
            names = metertap.get_all_metrics()["cache_metrics"]
        assert set(names) == {self.name("before")}
        found = names[self.name("before")]
        assert (found["misses"], found["evictions"]) == (40, removed)
        assert removed > 0

    def test_a_database_that_is_locked_neither_hits_nor_misses(self) -> None:
        cache = diskcache.FanoutCache(
            str(self.folder / "locked"), 1, timeout=0.01, eviction_policy="least-recently-used"
        )
        cache["a"] = 1
        locked, done = threading.Event(), threading.Event()

        def lock() -> None:
            with diskcache.Cache(str(self.folder / "locked" / "000")) as other, other.transact():
                locked.set()
                done.wait(60)

        thread = threading.Thread(target=lock)
        thread.start()
        locked.wait(60)
        try:
            assert cache.get("a", 7) == 7
        finally:
            done.set()
            thread.join()
        assert self.name("locked") not in metertap.get_all_metrics()["cache_metrics"]
        assert cache.get("a", 7) == 1

    def test_what_is_kept_inside_has_a_name_of_its_own(self) -> None:
        cache = self.open(self.folder / "shop")
        cache.cache("sub").get("a")
        cache.index("list").get("a")
        names = set(metertap.get_all_metrics()["cache_metrics"])
        assert names == {"shop/cache/sub", "shop/index/list"}

    def test_a_memoized_function(self, cache: Any) -> None:
        square = cache.memoize()(lambda number: number * number)
        assert [square(2), square(2), square(3)] == [4, 4, 9]
        assert self.counted() == (1, 2)

    def test_signatures_are_what_they_were(self, measured: metertap.Tap) -> None:
        functions = (diskcache.FanoutCache, diskcache.Cache.get, diskcache.Index.setdefault)
        patched = [inspect.signature(function) for function in functions]
        measured.shutdown()
        assert patched == [inspect.signature(function) for function in functions]


def test_an_index_is_looked_up_as_its_cache(tmp_path: Path) -> None:
    with metertap.instrument():
        index = diskcache.Index(str(tmp_path / "stock"), {"a": None})
        assert index["a"] is index.get("a", 3) is index.setdefault("a", 3) is None
        assert index.get("b", 3) == index.setdefault("b", 3) == 3
        assert "a" in index
        assert "c" not in index
        assert index.pop("b") == 3
        found = metertap.get_all_metrics()["cache_metrics"][f"{tmp_path.name}/stock"]
    assert (found["hits"], found["misses"]) == (3, 2)
    assert "__contains__" not in vars(diskcache.Index)
    index.cache.close()
