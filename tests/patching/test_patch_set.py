"""Patching: whole or not at all, as soon as the module is there, and undone exactly."""

from __future__ import annotations

import asyncio
import copy
import importlib
import pickle
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metertap import faults
from metertap.measuring import calls, wrappers
from metertap.measuring.slots import ToolSlot
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from support.modules import Watching, importable
from support.warned import warnings_of

pytestmark = pytest.mark.interpreter

SOURCE = """
    class Base:
        def inherited(self, number):
            return ("inherited", number)

        def failing(self):
            raise LookupError

    class Shop(Base):
        def method(self, number):
            return ("method", number)

        @staticmethod
        def static(number):
            return ("static", number)

        @classmethod
        def of_class(cls, number):
            return (cls.__name__, number)

        async def later(self, number):
            return ("later", number)

        class Inner:
            def method(self, number):
                return ("inner", number)

    def function(number):
        return ("function", number)

    shop = Shop()
"""
CALLS: dict[str, Callable[[Any], Any]] = {
    "function": lambda module: module.function(1),
    "Shop.method": lambda module: module.Shop().method(1),
    "Shop.inherited": lambda module: module.Shop().inherited(1),
    "Shop.static": lambda module: (module.Shop.static(1), module.Shop().static(1)),
    "Shop.of_class": lambda module: (module.Shop.of_class(1), module.Shop().of_class(1)),
    "Shop.later": lambda module: asyncio.run(module.Shop().later(1)),
    "Shop.Inner.method": lambda module: module.Shop.Inner().method(1),
    "shop.method": lambda module: module.shop.method(1),
    "shop.inherited": lambda module: module.shop.inherited(1),
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module that can be imported and has not been."""
    yield from importable("patched_shop", SOURCE, tmp_path, monkeypatch)


def namespace(module: Any) -> dict[str, Any]:
    """Every attribute as it stands, by path."""
    found = {}
    for prefix, owner in (
        ("", module),
        ("Base.", module.Base),
        ("Shop.", module.Shop),
        ("Shop.Inner.", module.Shop.Inner),
    ):
        found.update({prefix + name: value for name, value in vars(owner).items()})
    return found


@pytest.mark.parametrize("attribute", CALLS)
def test_a_target_is_wrapped_and_undone_by_identity(shop: str, attribute: str) -> None:
    module = importlib.import_module(shop)
    before, expected = namespace(module), CALLS[attribute](module)
    watching = Watching()
    patches = PatchSet(shop, [Target(attribute, watching)])

    patches.install()
    assert patches.status == "installed"
    assert patches.bound == [f"{shop}:{attribute}"]
    assert CALLS[attribute](module) == expected
    assert watching.seen
    assert {args for _, args in watching.seen} == {(1,)}

    patches.uninstall()
    after = namespace(module)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    watching.seen.clear()
    assert CALLS[attribute](module) == expected
    assert watching.seen == []
    assert patches.bound == []


def test_an_inherited_target_leaves_its_base_alone(shop: str) -> None:
    module = importlib.import_module(shop)
    watching = Watching()
    PatchSet(shop, [Target("Shop.inherited", watching)]).install()
    assert module.Base().inherited(1) == ("inherited", 1)
    assert watching.seen == []


@pytest.mark.parametrize("name", ["method", "inherited"])
def test_what_is_made_of_an_object_has_its_own_method(shop: str, name: str) -> None:
    module = importlib.import_module(shop)
    watching = Watching()
    PatchSet(shop, [Target(f"shop.{name}", watching)]).install()
    assert vars(module.shop) == {}
    copies = [copy.copy(module.shop), copy.deepcopy(module.shop), sent(module.shop)]
    for made in (*copies, module.Shop()):
        assert getattr(made, name)(1) == (name, 1)
        assert getattr(made, name).__self__ is made
    assert sent(getattr(module.shop, name))(1) == (name, 1)
    assert watching.seen == []
    assert weakref.WeakMethod(getattr(module.shop, name))()(1) == (name, 1)
    assert watching.seen == [(module.shop, (1,))]


def test_a_method_that_stands_in_the_object_is_pickled_by_its_name(shop: str) -> None:
    module = importlib.import_module(shop)
    watching = Watching()
    PatchSet(shop, [Target("shop.method", watching, apart=True)]).install()
    assert module.Shop().method(1) == ("method", 1)
    assert watching.seen == []
    assert sent(module.shop.method)(1) == ("method", 1)
    assert sent(module.shop).method(1) == ("method", 1)


def sent(it: Any) -> Any:
    return pickle.loads(pickle.dumps(it))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there our frames stay")
def test_an_inherited_target_raises_without_a_frame_of_ours(shop: str) -> None:
    module = importlib.import_module(shop)
    slot = ToolSlot("failing", "library", calls.PATCH)
    PatchSet(shop, [Target("Shop.failing", wrappers.plain_wrapper(slot))]).install()
    with pytest.raises(LookupError) as raised:
        module.Shop().failing()
    frames = [entry.name for entry in raised.traceback]
    assert frames[1:] == ["failing"]


def test_a_module_imported_later_is_patched_then(shop: str) -> None:
    watching = Watching()
    patches = PatchSet(shop, [Target("function", watching)])
    patches.install()
    assert (patches.status, patches.bound) == ("waiting", [])
    module = importlib.import_module(shop)
    assert patches.status == "installed"
    assert module.function(1) == ("function", 1)
    assert len(watching.seen) == 1


def test_a_module_imported_after_the_undo_is_left_alone(shop: str) -> None:
    watching = Watching()
    patches = PatchSet(shop, [Target("function", watching)])
    patches.install()
    patches.uninstall()
    module = importlib.import_module(shop)
    assert patches.status == "idle"
    assert module.function(1) == ("function", 1)
    assert watching.seen == []


@pytest.mark.faults
@pytest.mark.parametrize("imported_first", [True, False])
def test_without_one_target_none_is_wrapped(
    shop: str, imported_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    watching = Watching()
    targets = [Target("function", watching), Target("Shop.gone", watching)]
    patches = PatchSet(shop, targets)
    if imported_first:
        before = importlib.import_module(shop).function
    patches.install()
    module = importlib.import_module(shop)
    assert patches.status == "failed"
    assert patches.problem == f"AttributeError: {shop}:Shop.gone does not exist"
    assert patches.bound == []
    assert module.function(1) == ("function", 1)
    assert watching.seen == []
    if imported_first:
        assert module.function is before
    assert len(warnings_of(caplog)) == 1
    assert faults.fault_counts() == {f"patch {shop}": 1}


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module with a class whose attributes cannot be set."""
    source = "def function(): return 1\nNumber = int\n"
    yield from importable("closed_shop", source, tmp_path, monkeypatch)


@pytest.mark.faults
def test_what_cannot_be_set_is_a_failed_patch_and_not_a_failed_import(closed: str) -> None:
    watching = Watching()
    patches = PatchSet(closed, [Target("function", watching), Target("Number.real", watching)])
    patches.install()
    module = importlib.import_module(closed)
    assert patches.status == "failed"
    assert module.function() == 1
    assert watching.seen == []


def test_an_optional_target_may_be_absent(shop: str) -> None:
    targets = [
        Target("gone", Watching(), optional=True),
        Target("Gone.method", Watching(), optional=True),
        Target("function", Watching()),
    ]
    patches = PatchSet(shop, targets)
    patches.install()
    importlib.import_module(shop)
    assert patches.bound == [f"{shop}:function"]


def test_installing_twice_patches_once(shop: str) -> None:
    module = importlib.import_module(shop)
    watching = Watching()
    patches = PatchSet(shop, [Target("function", watching)])
    original = module.function
    patches.install()
    patches.install()
    module.function(1)
    assert len(watching.seen) == 1
    patches.uninstall()
    assert module.function is original


@pytest.mark.parametrize("imported_first", [True, False])
def test_it_can_be_installed_again(shop: str, imported_first: bool) -> None:
    watching = Watching()
    patches = PatchSet(shop, [Target("Shop.method", watching)])
    for _ in range(3):
        if imported_first:
            importlib.import_module(shop)
        patches.install()
        module = importlib.import_module(shop)
        original = module.Shop.method.__wrapped__
        watching.seen.clear()
        module.Shop().method(1)
        assert len(watching.seen) == 1
        patches.uninstall()
        assert module.Shop.method is original
        if not imported_first:
            del sys.modules[shop]


def test_what_was_wrapped_after_us_stays_and_we_are_inert(shop: str) -> None:
    module = importlib.import_module(shop)
    watching = Watching()
    patches = PatchSet(shop, [Target("function", watching)])
    patches.install()
    ours = module.function

    def theirs(number: int) -> Any:
        return ("theirs", ours(number))

    module.function = theirs
    patches.uninstall()
    assert module.function is theirs
    assert module.function(1) == ("theirs", ("function", 1))
    assert watching.seen == []

    patches.install()
    module.function(1)
    assert len(watching.seen) == 1
    patches.uninstall()
    assert module.function is theirs
