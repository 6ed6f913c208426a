"""Methods that are patched by a function instead of wrapt's proxy: no less exactly undone."""

from __future__ import annotations

import asyncio
import copy
import functools
import importlib
import inspect
import pickle
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import wrapt

from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap.patching.targets import Live, Target, comparable, stand_in
from support.modules import importable

pytestmark = pytest.mark.interpreter

SOURCE = '''
    class Shop:
        def sell(self, number: int, *, gift: bool = False) -> tuple:
            """Sell that many."""
            return ("sold", number, gift)

        async def later(self, number: int) -> int:
            """Sell them later."""
            return number

        @classmethod
        def opened(cls, number: int) -> tuple:
            """Open that many."""
            return (cls.__name__, number)
'''


class Watching:
    """Remembers the calls that it saw while it was live."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def sell(self, method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if live:
                watching.seen.append((self, args, kwargs))
            return method(self, *args, **kwargs)

        watching = self
        return call

    def later(self, method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        async def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if live:
                watching.seen.append((self, args, kwargs))
            return await method(self, *args, **kwargs)

        watching = self
        return call


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made = importable("standing_shop", SOURCE, tmp_path, monkeypatch)
    yield importlib.import_module(next(made))
    next(made, None)


@pytest.fixture
def watching() -> Watching:
    return Watching()


@pytest.fixture
def patches(shop: Any, watching: Watching) -> Iterator[PatchSet]:
    targets = [
        stand_in("Shop.sell", watching.sell),
        stand_in("Shop.later", watching.later),
    ]
    patches = PatchSet(shop.__name__, targets)
    yield patches
    patches.uninstall()


def test_it_sees_each_call_and_changes_nothing(
    shop: Any, watching: Watching, patches: PatchSet
) -> None:
    patches.install()
    seller = shop.Shop()
    assert seller.sell(1, gift=True) == ("sold", 1, True)
    assert shop.Shop.sell(seller, number=2) == ("sold", 2, False)
    assert asyncio.run(seller.later(3)) == 3
    assert watching.seen == [
        (seller, (1,), {"gift": True}),
        (seller, (), {"number": 2}),
        (seller, (3,), {}),
    ]


def test_what_can_be_asked_of_a_method_has_the_same_answer(shop: Any, patches: PatchSet) -> None:
    def answers() -> list[Any]:
        return [
            (
                inspect.signature(method),
                inspect.iscoroutinefunction(method),
                inspect.getsource(method),
                typing.get_type_hints(method),
                method.__doc__,
                method.__qualname__,
                type(method),
                copy.copy(method) is method,
                pickle.loads(pickle.dumps(method)) is method,
            )
            for method in (shop.Shop.sell, shop.Shop.later)
        ]

    before = answers()
    patches.install()
    assert answers() == before


def test_it_is_undone_by_identity_and_installed_again(
    shop: Any, watching: Watching, patches: PatchSet
) -> None:
    before = dict(vars(shop.Shop))
    for _ in range(3):
        patches.install()
        patches.install()
        watching.seen.clear()
        shop.Shop().sell(1)
        assert len(watching.seen) == 1
        patches.uninstall()
        assert dict(vars(shop.Shop)) == before
        shop.Shop().sell(1)
        assert len(watching.seen) == 1


def test_what_was_wrapped_after_us_stays_and_we_are_inert(
    shop: Any, watching: Watching, patches: PatchSet
) -> None:
    patches.install()
    ours = shop.Shop.sell
    shop.Shop.sell = theirs = lambda self, number: ("theirs", ours(self, number))
    patches.uninstall()
    assert shop.Shop.sell is theirs
    assert shop.Shop().sell(1) == ("theirs", ("sold", 1, False))
    assert watching.seen == []
    patches.install()
    assert shop.Shop().sell(1) == ("theirs", ("sold", 1, False))
    assert len(watching.seen) == 1


def test_what_a_class_inherits_is_stood_in_for_in_that_class_alone(
    shop: Any, watching: Watching, patches: PatchSet
) -> None:
    class Branch(shop.Shop):  # type: ignore[misc]
        """Sells as its base class does, whoever wraps that and when."""

    def theirs(self: Any, number: int, *, gift: bool = False) -> Any:
        return ("theirs", method(self, number, gift=gift))

    shop.Branch, method = Branch, shop.Shop.sell
    Branch.__module__, Branch.__qualname__ = shop.__name__, "Branch"
    inherited = PatchSet(
        shop.__name__,
        [stand_in("Branch.sell", watching.sell), stand_in("Branch.later", watching.later)],
    )
    inherited.install()
    branch = Branch()
    assert inspect.iscoroutinefunction(Branch.later)
    assert inspect.signature(Branch.sell) == inspect.signature(shop.Shop.sell)
    assert Branch.sell.__qualname__ == "Shop.sell"
    assert pickle.loads(pickle.dumps(Branch.sell)) is Branch.sell
    assert pickle.loads(pickle.dumps(Branch.later)) is Branch.later
    assert (branch.sell(1), asyncio.run(branch.later(3))) == (("sold", 1, False), 3)
    shop.Shop.sell = theirs
    assert branch.sell(2) == ("theirs", ("sold", 2, False))
    assert shop.Shop().sell(4) == ("theirs", ("sold", 4, False))
    assert [args for _, args, _ in watching.seen] == [(1,), (3,), (2,)]
    inherited.uninstall()
    assert not {"sell", "later"} & set(vars(Branch))


def test_what_was_imported_from_elsewhere_is_pickled_by_the_name_of_where_it_stands(
    shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = importable(
        "standing_market",
        f"from {shop.__name__} import Shop\nsell, later = Shop.sell, Shop.later\n",
        tmp_path,
        monkeypatch,
    )
    market = importlib.import_module(next(made))
    targets = [
        stand_in(name, around("market", lambda *_, **_named: None)) for name in ("sell", "later")
    ]
    patches = PatchSet(market.__name__, targets)
    patches.install()
    try:
        for function in (market.sell, market.later):
            assert pickle.loads(pickle.dumps(function)) is function
            assert pickle.loads(pickle.dumps(functools.partial(function, 1))).func is function
        assert market.sell(None, 3) == ("sold", 3, False)
    finally:
        patches.uninstall()
        next(made, None)
    assert market.sell is shop.Shop.sell


def test_what_stands_in_two_modules_for_one_function_is_pickled_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = importable(
        "standing_stall",
        "def sell(what):\n    return what\n",
        tmp_path,
        monkeypatch,
    )
    stall = importlib.import_module(next(made))
    street = ModuleType("standing_street")
    vars(street)["sell"] = stall.sell
    monkeypatch.setitem(sys.modules, street.__name__, street)

    def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    sets = [PatchSet(module.__name__, [Target("sell", call)]) for module in (stall, street)]
    for patches in sets:
        patches.install()
    try:
        for function in (stall.sell, street.sell):
            assert pickle.loads(pickle.dumps(function)) == function
            assert pickle.loads(pickle.dumps(function))(3) == 3
    finally:
        for patches in sets:
            patches.uninstall()
        next(made, None)


def test_what_was_wrapped_before_us_is_wrapped_by_wrapt(
    shop: Any, watching: Watching, patches: PatchSet
) -> None:
    instances: list[Any] = []

    def theirs(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        instances.append(instance)
        return wrapped(*args, **kwargs)

    shop.Shop.sell = before = wrapt.FunctionWrapper(shop.Shop.sell, theirs)
    patches.install()
    seller = shop.Shop()
    assert seller.sell(1) == ("sold", 1, False)
    assert watching.seen == [(seller, (1,), {})]
    assert instances == [seller]
    patches.uninstall()
    assert vars(shop.Shop)["sell"] is before


def test_a_wrapped_method_is_compared_as_before(shop: Any) -> None:
    seen: list[Any] = []

    def watch(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((instance, args, kwargs))
        return wrapped(*args, **kwargs)

    class Other(shop.Shop):  # type: ignore[misc]
        def sell(self, number: int, *, gift: bool = False) -> tuple[Any, ...]:
            return ()

    names = ("sell", "later")
    patches = PatchSet(shop.__name__, [comparable(f"Shop.{name}", watch) for name in names])
    patches.install()
    seller, other = shop.Shop(), Other()
    for name in names:
        assert getattr(seller, name).__func__ is getattr(shop.Shop, name)
    assert other.sell.__func__ is not shop.Shop.sell
    assert other.later.__func__ is shop.Shop.later
    assert inspect.iscoroutinefunction(seller.later)
    assert seller.sell(1, gift=True) == ("sold", 1, True)
    assert asyncio.run(other.later(2)) == 2
    held = seller.sell
    patches.uninstall()
    assert held(3) == ("sold", 3, False)
    assert seen == [(seller, (1,), {"gift": True}), (other, (2,), {})]


def test_an_error_shows_no_frame_of_a_wrapped_method(shop: Any) -> None:
    def passed_on(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    patches = PatchSet(
        shop.__name__, [comparable(f"Shop.{name}", passed_on) for name in ("sell", "later")]
    )
    patches.install()
    try:
        for call in (lambda: shop.Shop().sell(), lambda: asyncio.run(shop.Shop().later())):
            with pytest.raises(TypeError, match="missing 1 required positional") as raised:
                call()
            names = [frame.name for frame in raised.traceback]
            assert not {"function", "later"} & set(names) or sys.version_info < (3, 11)
    finally:
        patches.uninstall()


def test_a_class_method_stays_one_and_is_seen_within_what_others_make_of_it(shop: Any) -> None:
    seen: list[Any] = []

    def watch(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        seen.append((instance, args))
        return wrapped(*args, **kwargs)

    class Branch(shop.Shop):  # type: ignore[misc]
        pass

    before = vars(shop.Shop)["opened"]
    patches = PatchSet(shop.__name__, [Target("Shop.opened", watch)])
    patches.install()
    ours = vars(shop.Shop)["opened"]
    assert type(ours) is classmethod
    assert shop.Shop.opened(1) == ("Shop", 1)
    assert Branch().opened(2) == ("Branch", 2)
    assert seen == [(shop.Shop, (1,)), (Branch, (2,))]

    @functools.wraps(ours.__func__)
    def theirs(cls: Any, number: int) -> Any:
        return ours.__func__(cls, number + 1)

    shop.Shop.opened = classmethod(theirs)
    patches.check()
    assert patches.bound == [f"{shop.__name__}:Shop.opened"]
    shop.Shop.opened = before  # as another instrumentation does that strips what it finds
    patches.check()
    assert (type(vars(shop.Shop)["opened"]), patches.problem) == (classmethod, None)
    seen.clear()
    assert shop.Shop.opened(3) == ("Shop", 3)
    assert len(seen) == 1
    patches.uninstall()
    assert vars(shop.Shop)["opened"] is before


def test_where_a_function_was_imported_to_it_is_pickled_as_that_function(shop: Any) -> None:
    fee = shop.Shop.fee = lambda number: number
    fee.__module__, fee.__qualname__ = shop.__name__, "Shop.fee"
    shop.counter = fee
    patches = PatchSet(
        shop.__name__, [Target("counter", lambda call, _of, args, _named: call(*args))]
    )
    patches.install()
    assert shop.counter is not fee
    written = pickle.dumps(shop.counter)
    assert pickle.loads(written) is fee
    assert b"metertap" not in written  # it may be read where there is none
    patches.uninstall()
