"""dogpile.cache's regions in memory, in files and on a real redis."""

from __future__ import annotations

import inspect
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import metertap
from kits.cache_kit import SENTINEL, CacheKit

pytest.importorskip("dogpile.cache")
from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE
from dogpile.cache.proxy import ProxyBackend
from dogpile.cache.region import CacheRegion
from dogpile.lock import Lock, NeedRegenerationException

pytestmark = pytest.mark.library("dogpile")

CHANGED = (
    *(CacheRegion.__dict__[name] for name in ("get", "get_multi", "get_or_create")),
    *(CacheRegion.__dict__[name] for name in ("get_or_create_multi", "key_is_locked")),
    Lock.__dict__["_enter_create"],
)


def names() -> set[str]:
    return set(metertap.get_all_metrics()["cache_metrics"])


def in_memory(**settings: Any) -> Any:
    return make_region(**settings).configure("dogpile.cache.memory", expiration_time=3600)


def fail(*_arguments: Any) -> Any:
    raise LookupError("no price")


class Logging(ProxyBackend):  # type: ignore[misc]
    """Overrides what a lookup passes, and asks twice."""

    seen: list[Any]

    def get(self, *arguments: Any, **named: Any) -> Any:
        self.seen.append((arguments, named))
        self.proxied.get(*arguments, **named)
        return self.proxied.get(*arguments, **named)

    def get_serialized(self, *arguments: Any, **named: Any) -> Any:
        self.seen.append((arguments, named))
        self.proxied.get_serialized(*arguments, **named)
        return self.proxied.get_serialized(*arguments, **named)


class Kit(CacheKit):
    system = "dogpile"
    pickles = False
    folder: Path

    @pytest.fixture(autouse=True)
    def in_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def configured(self, region: Any, **settings: Any) -> Any:
        raise NotImplementedError

    def make(self) -> Any:
        return self.configured(make_region(), expiration_time=3600)

    def put(self, cache: Any, key: str, value: Any) -> None:
        cache.set(key, value)

    def get(self, cache: Any, key: str) -> Any:
        value = cache.get(key)
        return SENTINEL if value is NO_VALUE else value

    def clear(self, cache: Any) -> None:
        cache.invalidate()

    def only(self) -> tuple[int, int]:
        """What was counted, in all caches there are."""
        assert names() == {"sessions"}
        return self.counted()

    def test_get_multi_counts_each_key(self, cache: Any) -> None:
        cache.set_multi({"a": 1, "b": None})
        assert cache.get_multi(["a", "c", "b", "a"]) == [1, NO_VALUE, None, 1]
        assert cache.get_multi([]) == []
        assert cache.get_multi(iter(["a"])) == [1]
        assert self.only() == (4, 1)

    def test_a_lookup_that_creates_is_one_miss(self, cache: Any) -> None:
        for _ in range(3):
            assert cache.get_or_create("a", lambda: 7) == 7
        assert cache.get_or_create("b", lambda number: number, creator_args=((5,), {})) == 5
        assert self.only() == (2, 2)

    def test_many_lookups_that_create_count_each_key_once(self, cache: Any) -> None:
        created: list[Any] = []

        def creator(*keys: str) -> list[str]:
            created.append(keys)
            return [key.upper() for key in keys]

        cache.set("b", "B")
        assert cache.get_or_create_multi(["a", "b", "c", "a"], creator) == ["A", "B", "C", "A"]
        assert created == [("a", "c")]
        assert self.only() == (1, 2)
        assert cache.get_or_create_multi(["a", "b"], creator) == ["A", "B"]
        assert cache.get_or_create_multi([], creator) == []
        assert self.only() == (3, 2)

    def test_decorated_functions(self, cache: Any) -> None:
        @cache.cache_on_arguments()
        def double(number: int) -> int:
            return 2 * number

        @cache.cache_multi_on_arguments(asdict=True)
        def stock(*numbers: int) -> dict[int, int]:
            return {number: 10 * number for number in numbers if number != 9}

        assert [double(1), double(1), double(2)] == [2, 2, 4]
        assert self.only() == (1, 2)
        assert (double.get(1), double.get(3)) == (2, NO_VALUE)
        assert self.only() == (2, 3)
        double.set(8, 1)
        double.refresh(2)
        double.invalidate(2)
        assert self.only() == (2, 3)
        assert stock(1, 2) == stock(1, 2) == {1: 10, 2: 20}
        assert stock(2, 9) == {2: 20}
        assert self.only() == (5, 6)

    def test_what_has_expired_is_a_miss_unless_that_is_ignored(self, cache: Any) -> None:
        cache.set("a", 1)
        while cache.get("a", expiration_time=0.001) is not NO_VALUE:
            time.sleep(0.001)
        hits, misses = self.only()
        assert misses == 1
        assert cache.get_multi(["a"], expiration_time=0.001) == [NO_VALUE]
        assert cache.get("a", ignore_expiration=True) == cache.get("a") == 1
        assert cache.get_multi(["a"], ignore_expiration=True) == [1]
        assert cache.get_or_create("a", lambda: 2, expiration_time=0.001) == 2
        assert self.only() == (hits + 3, 3)

    @pytest.mark.parametrize("hard", [True, False], ids=["hard", "soft"])
    def test_what_was_invalidated_is_a_miss(self, cache: Any, hard: bool) -> None:
        for key in "ab":
            cache.set(key, 1)
        cache.invalidate(hard=hard)
        assert cache.get("a") is NO_VALUE
        assert cache.get_or_create("a", lambda: 2) == cache.get_or_create("a", lambda: 3) == 2
        assert cache.get_or_create_multi(["a", "b"], lambda *keys: [4 for _ in keys]) == [2, 4]
        assert self.only() == (2, 3)

    def test_metadata_is_looked_up(self, cache: Any) -> None:
        if not hasattr(cache, "get_value_metadata"):
            pytest.skip("this version has none")
        cache.set("a", None)
        assert cache.get_value_metadata("a").payload is None
        assert cache.get_value_metadata("b") is None
        assert self.only() == (1, 1)

    def test_whether_a_key_is_locked_is_no_lookup(self, cache: Any) -> None:
        assert cache.key_is_locked("a") is False
        assert cache.get_or_create("a", lambda: cache.key_is_locked("a")) is True
        assert self.only() == (0, 1)

    def test_a_proxy_is_given_what_dogpile_gives_and_counts_nothing(self) -> None:
        proxy = Logging()
        proxy.seen = []
        cache = self.configured(
            make_region(name="sessions", key_mangler=lambda key: f"k-{key}"), wrap=[proxy]
        )
        cache.set("a", 1)
        assert (cache.get("a"), cache.get("b"), cache.get_or_create("a", fail)) == (1, NO_VALUE, 1)
        assert self.only() == (2, 1)
        assert proxy.seen == [((f"k-{key}",), {}) for key in "aba"]

    def test_what_a_creator_looks_up_counts(self, cache: Any) -> None:
        other = self.configured(make_region(name="rates"))

        def nested() -> int:
            assert other.get_or_create("inner", lambda: 3) == 3
            assert other.get("inner") == 3
            return 4

        assert cache.get_or_create("outer", nested) == 4
        assert self.counted() == (0, 1)
        assert (self.figures("rates")["hits"], self.figures("rates")["misses"]) == (1, 1)
        assert names() == {"sessions", "rates"}

    def test_a_creator_that_fails_was_a_miss(self, cache: Any) -> None:
        for call in (
            lambda: cache.get_or_create("a", fail),
            lambda: cache.get_or_create_multi(["b", "c"], fail),
        ):
            with pytest.raises(LookupError, match="no price"):
                call()
        assert self.only() == (0, 3)

    def test_threads_that_wait_for_anothers_creator_hit(self, cache: Any) -> None:
        begun, created = threading.Barrier(4), []

        def create() -> int:
            created.append(1)
            time.sleep(0.1)
            return 7

        def look() -> None:
            begun.wait()
            found.append(cache.get_or_create("a", create))

        found: list[int] = []
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (found, created) == ([7] * 4, [1])
        assert self.only() == (3, 1)


class TestMemory(Kit):
    def configured(self, region: Any, **settings: Any) -> Any:
        return region.configure("dogpile.cache.memory", **settings)

    def test_a_runner_that_creates_later_is_a_miss(self, measured: metertap.Tap) -> None:
        later: list[Any] = []

        def create() -> int:
            return 2

        def runner(*given: Any) -> None:
            later.append(given)

        cache = in_memory(name="sessions", async_creation_runner=runner)
        cache.set("a", 1)
        cache.invalidate(hard=False)
        assert cache.get_or_create("a", create) == 1
        assert self.only() == (0, 1)
        assert cache.get_or_create("a", create) == 1  # it is being created: nothing is started
        assert self.only() == (1, 1)
        ((region, key, creator, mutex),) = later
        assert region is cache
        assert key == "a"
        assert creator is create
        cache.set(key, creator())
        mutex.release()
        assert cache.get_or_create("a", create) == 2
        assert self.only() == (2, 1)

    def test_locks_of_the_programs_own_are_no_lookups(self, cache: Any) -> None:
        def nothing() -> Any:
            raise NeedRegenerationException

        def create() -> Any:
            with Lock(threading.Lock(), lambda: (5, time.time()), nothing, 60) as value:
                return value

        assert create() == 5
        assert names() == set()
        assert cache.get_or_create("a", create) == 5
        assert cache.get_or_create_multi(["b"], lambda *_keys: [create()]) == [5]
        assert self.only() == (0, 2)

    def test_what_should_not_be_cached_is_created_each_time(self, cache: Any) -> None:
        for _ in range(2):
            assert cache.get_or_create("a", lambda: None, should_cache_fn=bool) is None
        assert self.only() == (0, 2)

    def test_a_region_is_called_by_its_name_or_what_it_is_bound_to(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bound, named = in_memory(), in_memory(name="prices")
        monkeypatch.setattr(sys.modules[__name__], "bound", bound, raising=False)
        monkeypatch.setattr(sys.modules[__name__], "other", named, raising=False)
        for cache in (bound, named):
            cache.get("a")
        assert names() == {f"{__name__}.bound", "prices"}

    def test_a_region_that_only_a_decorated_function_knows(self) -> None:
        def price(number: int) -> int:
            return number

        decorated = in_memory().cache_on_arguments()(price)
        assert decorated(1) == 1
        assert names() == {"dogpile.cache.region.CacheRegion"}

    def test_a_lookup_that_fails_is_neither(self, measured: metertap.Tap) -> None:
        class Down(ProxyBackend):  # type: ignore[misc]
            def get(self, _key: Any) -> Any:
                raise ConnectionError("down")

            def get_multi(self, _keys: Any) -> Any:
                raise ConnectionError("down")

        cache = self.configured(make_region(name="sessions"), wrap=[Down])
        calls: list[Callable[[], Any]] = [
            lambda: cache.get("a"),
            lambda: cache.get_multi(["a"]),
            lambda: cache.get_or_create("a", fail),
            lambda: cache.get_or_create_multi(["a"], fail),
            lambda: make_region().get("a"),  # it is not configured
        ]

        def frames() -> list[list[str]]:
            found = []
            for call in calls:
                with pytest.raises(Exception, match=r"down|configured") as caught:
                    call()
                found.append([item.name for item in traceback.extract_tb(caught.tb)][1:])
            return found

        patched = frames()
        assert names() == set()
        measured.shutdown()
        assert patched == frames() or sys.version_info < (3, 11)  # there our frame stays

    def test_the_traceback_of_a_creator_is_what_it_was(
        self, measured: metertap.Tap, cache: Any
    ) -> None:
        def frames() -> list[str]:
            with pytest.raises(LookupError) as caught:
                cache.get_or_create("a", fail)
            return [item.name for item in traceback.extract_tb(caught.tb)][1:]

        patched = frames()
        measured.shutdown()
        assert patched == frames() or sys.version_info < (3, 11)

    def test_undone_each_method_is_what_it_was(self, measured: metertap.Tap) -> None:
        def now() -> tuple[Any, ...]:
            return (
                *(CacheRegion.__dict__[item.__name__] for item in CHANGED[:-1]),
                Lock.__dict__["_enter_create"],
            )

        assert not any(new is old for new, old in zip(now(), CHANGED, strict=True))
        assert list(map(inspect.signature, now())) == list(map(inspect.signature, CHANGED))
        measured.shutdown()
        assert all(new is old for new, old in zip(now(), CHANGED, strict=True))


class TestPickledInMemory(Kit):
    def configured(self, region: Any, **settings: Any) -> Any:
        return region.configure("dogpile.cache.memory_pickle", **settings)


class TestFile(Kit):
    one_at_a_time = threading.Lock()

    def get(self, cache: Any, key: str) -> Any:
        # Of Python's own kinds of such files, the one that is always there cannot be opened by one
        # thread while another closes it.
        with self.one_at_a_time:
            return super().get(cache, key)

    def configured(self, region: Any, **settings: Any) -> Any:
        file = str(self.folder / f"{region.name}.dbm")
        return region.configure("dogpile.cache.dbm", arguments={"filename": file}, **settings)


class TestRedis(Kit):
    """The client's own lookups are the region's: `only` would see them."""

    locks = False
    port: int

    @pytest.fixture(autouse=True)
    def server(self, port: int) -> None:
        import redis

        self.port = port
        with redis.Redis(port=port) as client:
            client.flushall()

    def configured(self, region: Any, **settings: Any) -> Any:
        arguments = {"port": self.port, "distributed_lock": self.locks}
        if self.locks:
            arguments["thread_local_lock"] = False
        return region.configure("dogpile.cache.redis", arguments=arguments, **settings)


class TestRedisWithLocksInIt(TestRedis):
    locks = True
