"""Modules that are executed again, and patches that others take away."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wrapt

from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import Target
from support.modules import Watching, importable

pytestmark = pytest.mark.interpreter

SHOP = """
    def function():
        return 1

    class Server:
        def method(self):
            return 2

        @classmethod
        def of_class(cls):
            return 3

    class Special(Server):
        pass

    class Own(Server):
        def method(self):
            return super().method() + 10
"""
ATTRIBUTES = ("function", "Server.method", "Server.of_class", "Special.method")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    yield from importable("reloaded_shop", SHOP, tmp_path, monkeypatch)


def patched(name: str, watching: Watching) -> PatchSet:
    patches = PatchSet(name, [Target(attribute, watching) for attribute in ATTRIBUTES])
    patches.install()
    return patches


def use(module: Any) -> list[int]:
    server = module.Server()
    return [module.function(), server.method(), server.of_class(), module.Special().method()]


def reload(module: Any) -> Any:
    return importlib.reload(module)


def import_anew(module: Any) -> Any:
    del sys.modules[module.__name__]
    return importlib.import_module(module.__name__)


@pytest.mark.parametrize("again", [reload, import_anew])
@pytest.mark.parametrize("imported_before", [True, False])
def test_a_module_that_is_executed_again_is_patched_again(
    shop: str, again: Any, imported_before: bool
) -> None:
    watching = Watching()
    if imported_before:
        importlib.import_module(shop)
    patches = patched(shop, watching)
    first = importlib.import_module(shop)
    old, function = first.Server(), first.function
    loader = first.__loader__
    for times in (1, 2):
        second = again(first)
        watching.seen.clear()
        assert use(second) == [1, 2, 3, 2]
        assert len(watching.seen) == 5  # the last one's base class is patched, too
        old.method(), function()  # what others hold of it goes on
        assert len(watching.seen) == 7
        assert type(second.__loader__) is type(second.__spec__.loader) is type(loader)
        assert len(patches.bound) == len(ATTRIBUTES), times
    patches.uninstall()
    watching.seen.clear()
    use(second), old.method(), function()
    assert len(watching.seen) == 0
    use(again(second))
    assert len(watching.seen) == 0
    assert "__wrapped__" not in vars(vars(second.Server)["method"])


def test_a_reload_that_fails_raises_what_it_would_without_us(shop: str, tmp_path: Path) -> None:
    patches = patched(shop, Watching())
    module = importlib.import_module(shop)
    Path(module.__file__).write_text("raise LookupError('in the module')\n")  # type: ignore[arg-type]
    with pytest.raises(LookupError) as raised:
        importlib.reload(module)
    files = [str(entry.path) for entry in raised.traceback]
    if sys.version_info >= (3, 11):  # before, a caught frame stays
        assert not any("metertap" in file and "patching" in file for file in files[1:])
    patches.uninstall()


@pytest.mark.parametrize("again", [reload, import_anew])
def test_subclasses_of_a_class_that_is_defined_again_are_followed(shop: str, again: Any) -> None:
    watching = Watching()
    patches = SubclassesPatchSet(shop, "Server", {"method": watching})
    patches.install()
    first = importlib.import_module(shop)
    second = again(first)
    for base in (first.Server, second.Server):
        watching.seen.clear()
        later = type("Later", (base,), {"method": lambda _self: 4})
        later().method()
        second.Own().method()
        assert len(watching.seen) == 3
    patches.uninstall()
    for base in (first.Server, second.Server):
        assert "__init_subclass__" not in vars(base)


def unwrap(owner: Any, name: str) -> None:
    """What OpenTelemetry's instrumentations undo a patch with."""
    setattr(owner, name, getattr(owner, name).__wrapped__)


def test_what_others_unwrap_is_wrapped_again_when_somebody_looks(shop: str) -> None:
    watching = Watching()
    theirs: list[int] = []

    def count(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        theirs.append(1)
        return wrapped(*args, **kwargs)

    module = importlib.import_module(shop)
    wrapt.wrap_function_wrapper(module, "function", count)
    patches = patched(shop, watching)
    unwrap(module, "function")  # theirs, they mean
    module.function()
    assert (len(watching.seen), len(theirs)) == (0, 1)
    assert f"{shop}:function" not in patches.bound
    patches.check()
    module.function()
    assert (len(watching.seen), len(theirs)) == (1, 2)
    assert (patches.problem, len(patches.bound)) == (None, len(ATTRIBUTES))
    patches.uninstall()
    module.function()
    assert (len(watching.seen), len(theirs)) == (1, 3)


def test_what_others_wrap_around_it_is_left_alone(shop: str) -> None:
    watching = Watching()
    module = importlib.import_module(shop)
    patches = patched(shop, watching)
    wrapt.wrap_function_wrapper(module, "function", lambda f, _i, args, kwargs: f(*args, **kwargs))
    around = vars(module)["function"]
    patches.check()
    assert vars(module)["function"] is around
    module.function()
    assert (len(watching.seen), patches.problem) == (1, None)
    patches.uninstall()


def test_what_others_put_in_its_place_is_said_and_not_wrapped(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It may call what was wrapped, and then a second wrapper would count each call twice.
    module = importlib.import_module(shop)
    watching = Watching()
    patches = patched(shop, watching)
    with monkeypatch.context() as patch:
        patch.setattr(module, "function", lambda: 5)
        patches.check()
        assert module.function() == 5
        assert patches.status == "installed"
        assert "function: other code replaced it" in str(patches.problem)
        assert f"{shop}:function" not in patches.bound
    patches.check()
    assert (patches.problem, module.function()) == (None, 1)
    assert len(watching.seen) == 1
    patches.uninstall()
