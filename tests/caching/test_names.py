"""Names of many caches, and of caches with many holders, are found in short steps."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

import pytest

from metertap.caching import names


class Cache:
    """A cache that takes weak references, as those of libraries do."""


class Session:
    """An object that has a cache, with its attributes in a dictionary."""

    def __init__(self, cache: Cache) -> None:
        self.__dict__ = {"prices": cache}


class Lazy:
    """An object that makes its variables when it is asked for all of them."""

    asked = 0

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        Lazy.asked += 1
        return {"cache": self.cache}


class Reserved(type):
    """A metaclass whose classes cannot be asked before they are set up."""

    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(f"{name} is not set up yet")


class Account(metaclass=Reserved):
    """An object that has a cache, and whose class cannot be asked."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache


class Shop:
    """An object that has a cache, with its attributes where Python puts them."""

    def __init__(self, cache: Cache) -> None:
        self.prices = cache


class Pauses:
    """The searches of all objects, of which each stops the whole program."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compared: list[int] = []
        self._search = gc.get_referrers
        monkeypatch.setattr(gc, "get_referrers", self)

    def __call__(self, *items: object) -> list[Any]:
        self.compared.append(len(items))
        return self._search(*items)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    return Pauses(monkeypatch)


def found(*caches: Cache) -> set[str]:
    return set(names.Names().of([(cache, None) for cache in caches]))


def closure_over(cache: Cache) -> Callable[[], Cache]:
    def search() -> Cache:
        return cache

    return search


def test_no_code_of_the_holder_of_a_cache_runs() -> None:
    holder = Lazy(Cache())
    assert found(holder.cache) == {f"{__name__}.Cache"}
    assert Lazy.asked == 0


def test_no_metaclass_is_asked() -> None:
    account = Account(Cache())
    assert found(account.cache) == {f"{__name__}.Account.cache"}


@pytest.mark.faults
def test_caches_count_as_their_class_if_the_search_for_names_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_items: object) -> Any:
        raise MemoryError

    monkeypatch.setattr(gc, "get_referrers", refuses)
    session = Session(Cache())
    assert found(vars(session)["prices"]) == {f"{__name__}.Cache"}


def test_caches_of_many_sessions_are_named_in_short_pauses(pauses: Pauses) -> None:
    sessions = [Session(Cache()) for _ in range(300)]
    assert found(*(vars(session)["prices"] for session in sessions)) == {
        f"{__name__}.Session.prices"
    }
    assert max(pauses.compared) <= 64


@pytest.mark.parametrize("hold", [Session, Shop])
def test_many_caches_of_one_class_of_objects_are_named_in_few_searches(
    hold: Callable[[Cache], object], pauses: Pauses
) -> None:
    caches = [Cache() for _ in range(1000)]
    owners = [hold(cache) for cache in caches]
    assert found(*caches) == {f"{__name__}.{hold.__name__}.prices"}  # type: ignore[attr-defined]
    assert len(pauses.compared) <= 5
    del owners


def test_many_caches_in_a_dictionary_are_looked_for_in_few_searches(pauses: Pauses) -> None:
    of_users = dict(enumerate(Cache() for _ in range(1000)))
    shops = [Shop(Cache()) for _ in range(10)]
    named = names.Names().of(
        [(cache, None) for cache in (*of_users.values(), *(shop.prices for shop in shops))]
    )
    assert named == [f"{__name__}.Cache"] * 1000 + [f"{__name__}.Shop.prices"] * 10
    assert len(pauses.compared) <= 10


def test_caches_that_a_list_holds_as_well_have_the_names_of_attributes() -> None:
    kinds = [type(f"Shop{number}", (Shop,), {}) for number in range(100)]
    shops = [kind(Cache()) for kind in kinds]
    registry = [Cache(), *(shop.prices for shop in shops)]  # the first is in no attribute
    assert found(*registry) == {
        f"{__name__}.Cache",
        *(f"{__name__}.{kind.__qualname__}.prices" for kind in kinds),
    }


@pytest.mark.skipif(sys.version_info < (3, 11), reason="all objects have a dictionary")
def test_objects_without_a_cache_get_no_dictionary() -> None:
    shops = [Shop(Cache()) for _ in range(100)]
    other = Shop(Cache())
    assert found(*(shop.prices for shop in shops)) == {f"{__name__}.Shop.prices"}
    assert not any(type(held) is dict for held in gc.get_referents(other))


def test_caches_of_many_closures_are_named_in_few_searches(pauses: Pauses) -> None:
    functions = [closure_over(Cache()) for _ in range(300)]
    assert found(*(function() for function in functions)) == {
        f"{__name__}.closure_over.<locals>.search"
    }
    assert max(pauses.compared) <= 64
    assert len(pauses.compared) <= 20


@pytest.mark.parametrize("hold", [Session, closure_over])
def test_a_cache_of_many_holders_is_named_by_the_first_ones(
    hold: Callable[[Cache], object], pauses: Pauses
) -> None:
    cache = Cache()
    holders = [hold(cache) for _ in range(3000)]
    assert found(cache) != {f"{__name__}.Cache"}
    assert max(pauses.compared) <= 64
    assert len(pauses.compared) <= 5
    del holders


def test_a_cache_in_many_dictionaries_is_looked_for_in_some_of_them(pauses: Pauses) -> None:
    cache = Cache()
    answers = [{"cache": cache} for _ in range(3000)]
    assert found(cache) == {f"{__name__}.Cache"}
    assert max(pauses.compared) <= 64
    assert len(pauses.compared) <= 15
    del answers
