"""cachetools' decorators, in all their variants: our figures are those of their `cache_info()`.

Where a version has none, and beside it where there is one: a miss is a call that ran the function.
"""

from __future__ import annotations

import functools
import gc
import threading
import weakref
from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import metertap
from kits.cache_kit import shows_us
from support.cachetools_decorated import (
    CACHES,
    LARGE,
    VARIANTS,
    VERSION,
    Made,
    Shelf,
    Shop,
    calls_itself,
    decorate,
    size,
)

pytestmark = pytest.mark.library("cachetools")

cachetools = pytest.importorskip("cachetools")
functions = pytest.importorskip("cachetools.func")


def counted() -> tuple[int, int]:
    """Hits and misses of all caches that there were."""
    found = metertap.get_all_metrics()["cache_metrics"].values()
    return sum(item["hits"] for item in found), sum(item["misses"] for item in found)


def less(now: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return now[0] - before[0], now[1] - before[1]


@pytest.fixture(autouse=True)
def measured() -> Iterator[metertap.Tap]:
    with metertap.instrument(json_endpoint=False) as tap:
        yield tap
        assert tap.diagnosis()["faults"] == {}


CLEAR = None
calls = st.lists(st.one_of(st.integers(-2, LARGE), st.just(CLEAR)), max_size=40)


@pytest.mark.hypothesis  # which marks itself only what it calls
@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: " ".join(options) or "plain")
def test_a_decorated_function_counts_as_its_cache_info(options: Sequence[str]) -> None:
    @settings(max_examples=settings().max_examples // 3)  # of each variant
    @given(calls, st.sampled_from(CACHES))
    def check(sequence: list[int | None], make: Callable[[], Any]) -> None:
        follow(decorate(make(), options), sequence)

    check()


def follow(made: Made, sequence: list[int | None]) -> None:
    """Call it in this order, and compare."""
    before = counted()
    entered = hits = misses = 0
    for number in sequence:
        if number is CLEAR:
            if made.info is not None and made.clear is not None:
                hits, misses = hits + made.info().hits, misses + made.info().misses
                made.clear()
            continue
        entered += 1
        if number < 0:
            with pytest.raises(LookupError):
                made.call(number)
        else:
            made.call(number)
    if made.info is not None:
        hits, misses = hits + made.info().hits, misses + made.info().misses
        assert less(counted(), before) == (hits, misses)
    entered += sum(calls_itself(number) for number in made.bodies)
    assert less(counted(), before) == (entered - len(made.bodies), len(made.bodies))


GUARDED = [options for options in VARIANTS if "lock" in options or "condition" in options]


@pytest.mark.parametrize("make", [lambda: cachetools.LRUCache(2), Shelf], ids=["cache", "mapping"])
@pytest.mark.parametrize("options", GUARDED, ids=" ".join)
def test_threads_that_share_a_lock_lose_and_add_nothing(
    options: Sequence[str], make: Callable[[], Any]
) -> None:
    before = counted()
    made = decorate(make(), options)
    begun = threading.Barrier(4)

    def work() -> None:
        begun.wait()
        for number in range(200):
            made.call(number % 5)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hits, misses = less(counted(), before)
    assert (hits + misses, misses) == (800, len(made.bodies))
    if made.info is not None:
        assert (hits, misses) == made.info()[:2]


@pytest.mark.parametrize("kind", ["method", "function"])
def test_a_result_that_another_thread_stored_first_is_no_hit(kind: str) -> None:
    cache = cachetools.LRUCache(8)
    metertap.name_cache(cache, f"raced by a {kind}")
    inside = threading.Barrier(2)

    def slow(number: int) -> int:
        inside.wait(60)  # both look before either stores
        return number

    lock = threading.Lock()
    if kind == "method":

        class Shop:
            @cachetools.cachedmethod(lambda self: cache, lock=lambda self: lock)  # type: ignore[untyped-decorator]
            def price(self, number: int) -> int:
                return slow(number)

        function = Shop().price
    else:
        function = cachetools.cached(cache, lock=lock)(slow)
    threads = [threading.Thread(target=function, args=(1,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = metertap.get_all_metrics()["cache_metrics"][f"raced by a {kind}"]
    assert (found["hits"], found["misses"]) == (0, 2)


def test_what_a_decorator_stores_displaces_and_is_rejected_as_ever() -> None:
    cache = cachetools.LRUCache(3, getsizeof=size)
    metertap.name_cache(cache, "stored under a lock")
    function = cachetools.cached(cache, lock=threading.Lock())(lambda number: number)
    for number in (1, 2, 3, 4, 5, LARGE):
        function(number)
    found = metertap.get_all_metrics()["cache_metrics"]["stored under a lock"]
    assert (found["hits"], found["misses"]) == (0, 6)
    assert (found["evictions"], found["size_rejections"]) == (2, 1)


def test_the_programs_own_setdefault_is_a_lookup_in_a_subclass_too() -> None:
    class Logging(cachetools.TTLCache):  # type: ignore[misc, name-defined]
        def setdefault(self, key: Any, default: Any = None) -> Any:
            return super().setdefault(key, default)

    cache = Logging(8, 600)
    metertap.name_cache(cache, "own setdefault")
    assert [cache.setdefault("a", 1), cache.setdefault("a", 2)] == [1, 1]
    function = cachetools.cached(cache, lock=threading.Lock())(lambda number: number)
    assert [function(1), function(1)] == [1, 1]
    found = metertap.get_all_metrics()["cache_metrics"]["own setdefault"]
    assert (found["hits"], found["misses"]) == (2, 2)


@pytest.mark.parametrize("name", ["fifo_cache", "lfu_cache", "lru_cache", "rr_cache", "ttl_cache"])
def test_functions_of_cachetools_func_count_as_their_cache_info(name: str) -> None:
    before = counted()
    function = getattr(functions, name)(maxsize=2)(lambda number: number)
    for number in (1, 2, 1, 3, 3, 1, 2, 1):
        function(number)
    assert less(counted(), before) == function.cache_info()[:2]


@pytest.mark.skipif(VERSION < 8, reason="older versions bind their decorator at import")
def test_functions_without_a_limit_count_as_their_cache_info() -> None:
    before = counted()
    function = functions.lru_cache(maxsize=None)(lambda number: number)
    for number in (1, 2, 1):
        function(number)
    assert less(counted(), before) == function.cache_info()[:2] == (1, 2)


def price(number: int) -> int:
    return number


NAMED: dict[str, tuple[Callable[[], Any], str]] = {
    "partial": (lambda: functools.partial(price), f"{__name__}.price"),
    "object": (Shop, f"{Shop.__module__}.Shop"),
    "method": (lambda: Shop().__call__, f"{Shop.__module__}.Shop.__call__"),
    "built in": (lambda: abs, "builtins.abs"),
    "cached": (lambda: cachetools.cached({})(price), f"{__name__}.price"),
    "lru_cache": (lambda: functools.lru_cache(price), f"{__name__}.price"),
}


DECORATORS: dict[str, Callable[[], Any]] = {
    "cached": lambda: cachetools.cached(cachetools.LRUCache(2)),
    "ttl_cache": lambda: functions.ttl_cache(maxsize=2),
}


@pytest.mark.parametrize("decorate", DECORATORS)
@pytest.mark.parametrize("kind", NAMED)
def test_a_cache_is_called_as_what_its_callable_is_made_of(kind: str, decorate: str) -> None:
    if decorate == "ttl_cache" and VERSION < 8:
        pytest.skip("older versions bind their decorator at import")
    make, name = NAMED[kind]
    before = metertap.get_all_metrics()["cache_metrics"].get(name)
    kept = DECORATORS[decorate]()  # it may close over the cache, too
    function = kept(make())
    for _ in range(2):
        assert function(1) == 1
    found = metertap.get_all_metrics()["cache_metrics"][name]
    assert found["hits"] - (before["hits"] if before else 0) == 1


def test_a_plain_mapping_is_called_as_the_function_and_stays_what_it_was() -> None:
    mapping: dict[Any, Any] = {}

    @cachetools.cached(cache=mapping)  # type: ignore[untyped-decorator]
    def shelved(number: int) -> int:
        if number < 0:
            raise LookupError(number)
        return number

    assert [shelved(1), shelved(2), shelved(1)] == [1, 2, 1]
    for wrong in (-1, [1]):
        with pytest.raises((LookupError, TypeError)) as raised:
            shelved(wrong)
        assert not shows_us(raised.value)
    name = f"{__name__}.{shelved.__qualname__}"
    found = metertap.get_all_metrics()["cache_metrics"][name]
    assert (found["hits"], found["misses"]) == (1, 3)
    assert (found["system"], found["evictions"]) == ("cachetools", None)
    assert sorted(mapping.values()) == [1, 2]
    assert getattr(shelved, "cache", mapping) is mapping


@pytest.mark.skipif(VERSION < 8, reason="older versions are seen when they decorate")
@pytest.mark.parametrize("options", [(), ("method",)])
def test_functions_that_were_decorated_before_are_seen_too(
    options: Sequence[str], measured: metertap.Tap
) -> None:
    measured.shutdown()
    made = decorate({}, options)
    made.call(1)
    with metertap.instrument(json_endpoint=False):
        before = counted()
        made.call(1)
        assert less(counted(), before) == (1, 0)
    made.call(1)
    assert less(counted(), before) == (1, 0)


class Layered(UserDict[Any, Any]):
    """A mapping of the program's that keeps what it holds in a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.data = cachetools.LRUCache(5)

    def __getitem__(self, key: Any) -> Any:
        return self.data[key]


def on_disk(folder: Path) -> Any:
    return pytest.importorskip("diskcache").Index(str(folder))


@pytest.mark.parametrize("lock", [None, threading.RLock()])
@pytest.mark.parametrize("made", [lambda _: Layered(), on_disk])
def test_a_decorator_over_a_mapping_built_on_another_cache_counts_alone(
    made: Callable[[Path], Any], lock: Any, tmp_path: Path
) -> None:
    mapping = made(tmp_path)

    @cachetools.cached(mapping, lock=lock)
    def price(item: int) -> int:
        return item

    for item in (1, 1, 2):
        assert price(item) == item
    assert counted() == (1, 2)
    with pytest.raises(KeyError):  # the program's own lookup
        mapping["absent"]
    assert counted() == (1, 3)


@pytest.mark.skipif(VERSION == 7, reason="cachetools 7 shows the mapping of a method")
def test_methods_of_all_objects_share_a_line_and_a_mapping_may_be_replaced() -> None:
    class Shop:
        def __init__(self) -> None:
            self.prices: dict[Any, Any] = {}

        @cachetools.cachedmethod(lambda self: self.prices)  # type: ignore[untyped-decorator]
        def price(self, number: int) -> int:
            return number

    before = counted()
    shops = [Shop(), Shop()]
    for shop in shops:
        assert [shop.price(1), shop.price(1)] == [1, 1]
    shops[0].prices = {}
    shops[0].price(1)
    assert less(counted(), before) == (2, 3)
    assert sum("Shop.price" in name for name in metertap.get_all_metrics()["cache_metrics"]) == 1


@pytest.mark.skipif(VERSION == 7, reason="cachetools 7 shows the mapping of a method")
def test_an_object_with_a_decorated_method_is_gone_with_its_last_reference() -> None:
    class Holder:
        def __init__(self) -> None:
            self.found: dict[Any, str] = {}

        @cachetools.cachedmethod(lambda self: self.found)
        def look(self, key: str) -> str:
            return key.upper()

    held = Holder()
    assert [held.look("a"), held.look("a")] == ["A", "A"]
    assert counted() == (1, 1)
    reference = weakref.ref(held)
    del held
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(VERSION < 8, reason="a decorated function is no object")
def test_calls_that_other_code_wrapped_before_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    metertap.uninstrument()
    square = cachetools.cached({})(lambda number: number * number)
    kind = next(base for base in type(square).__mro__ if "__call__" in vars(base))
    former: Any = vars(kind)["__call__"]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return former(*args, **kwargs)

    monkeypatch.setattr(kind, "__call__", wrapped)
    with metertap.instrument(json_endpoint=False):
        assert [square(2), square(2), square(3)] == [4, 4, 9]
        assert counted() == (1, 2)


@pytest.mark.skipif(VERSION < 8, reason="a decorated function is no object")
def test_a_type_checker_above_the_decorator_checks_the_functions_annotations() -> None:
    beartype = pytest.importorskip("beartype")

    @beartype.beartype
    @cachetools.cached(cachetools.LRUCache(9))
    def doubled(number: int) -> int:
        return number * 2

    with pytest.raises(beartype.roar.BeartypeCallHintViolation):
        doubled("not a number")
    assert doubled(4) == 8
