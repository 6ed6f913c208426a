"""Patching while the module is being imported, by this thread or another."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metertap import faults
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from support.modules import Watching, importable
from support.waiting import wait_for

pytestmark = pytest.mark.interpreter

SLOW = """
    import patched_gate

    patched_gate.in_the_middle()
    if not patched_gate.again:
        raise OSError("not yet")

    def function():
        return 1
"""


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module that `SLOW` waits for in the middle of its import."""
    module: Any = type(sys)("patched_gate")
    module.entered, module.go_on = threading.Event(), threading.Event()

    def in_the_middle() -> None:
        module.entered.set()
        assert module.go_on.wait(60)

    module.in_the_middle = in_the_middle
    monkeypatch.setitem(sys.modules, "patched_gate", module)
    return module


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: Any) -> Iterator[str]:
    """Name of a module whose import waits at `gate`, and fails unless that has `again`."""
    gate.again = True
    yield from importable("slow_shop", SLOW, tmp_path, monkeypatch)


class WaitingFinder:
    """Lets the import of `name` wait at the gate: every other finder was asked, nothing found."""

    def __init__(self, name: str, gate: Any) -> None:
        self.name, self.gate = name, gate

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self.name:
            self.gate.in_the_middle()


@pytest.mark.parametrize("stage", ["finding", "executing"])
@pytest.mark.parametrize("hooked_before", [True, False])
def test_a_module_that_another_thread_is_importing_is_patched_when_it_is_complete(
    slow: str, gate: Any, stage: str, hooked_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching = Watching()
    patches = PatchSet(slow, [Target("function", watching)])
    if hooked_before:
        patches.install()
        patches.uninstall()
    if stage == "finding":
        finders = [*sys.meta_path[:-1], WaitingFinder(slow, gate), sys.meta_path[-1]]
        monkeypatch.setattr(sys, "meta_path", finders)
    importer = threading.Thread(target=importlib.import_module, args=(slow,))
    importer.start()
    assert gate.entered.wait(60)
    patches.install()
    assert patches.status == "waiting"
    gate.go_on.set()
    importer.join()
    assert wait_for(lambda: patches.status == "installed")
    assert sys.modules[slow].function() == 1
    assert len(watching.seen) == 1
    assert faults.fault_counts() == {}


def test_a_module_that_asks_to_be_patched_itself_is_patched_when_it_is_complete(
    slow: str, gate: Any
) -> None:
    """As when a plugin of a library, imported by it, calls `instrument`."""
    patches = PatchSet(slow, [Target("function", Watching())])
    gate.in_the_middle = patches.install
    importlib.import_module(slow)
    assert wait_for(lambda: patches.status == "installed")


def test_a_module_whose_import_fails_is_patched_at_the_next_try(slow: str, gate: Any) -> None:
    def import_and_fail() -> None:
        with pytest.raises(OSError, match="not yet"):
            importlib.import_module(slow)

    def is_waiting() -> bool:
        return f"metertap-import-{slow}" in {thread.name for thread in threading.enumerate()}

    gate.again = False
    patches = PatchSet(slow, [Target("function", Watching())])
    importer = threading.Thread(target=import_and_fail)
    importer.start()
    assert gate.entered.wait(60)
    patches.install()
    assert is_waiting()
    gate.go_on.set()
    importer.join()
    wait_for(lambda: not is_waiting())
    gate.again = True
    importlib.import_module(slow)
    assert patches.status == "installed"


def test_many_threads_install_and_import_at_once(slow: str, gate: Any) -> None:
    gate.go_on.set()
    watching = Watching()
    patches = PatchSet(slow, [Target("function", watching)])
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        if number % 2:
            patches.install()
        else:
            importlib.import_module(slow)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: patches.status == "installed")
    sys.modules[slow].function()
    assert len(watching.seen) == 1


def test_the_spec_of_a_module_that_is_watched_for_can_be_copied_and_pickled(slow: str) -> None:
    def found() -> Any:
        return importlib.util.find_spec(slow)

    plain = found()
    patches = PatchSet(slow, [Target("function", lambda wrapped, *_: wrapped)])
    patches.install()
    try:
        spec = found()
        assert type(spec.loader) is not type(plain.loader)
        for made in (copy.copy(spec.loader), copy.deepcopy(spec).loader):
            assert type(made) is type(plain.loader)
            assert made.path == plain.loader.path
        assert pickle.loads(pickle.dumps(spec.loader)).path == plain.loader.path
    finally:
        patches.uninstall()
