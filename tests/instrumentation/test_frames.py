"""No patch of any library shows its frame in what the program raises, interrupts included."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

import metertap
from metertap.patching.installed import make_stand_in
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap_instrumentation.libraries import LIBRARIES
from support.programs import run

pytestmark = pytest.mark.programs

ERRORS = (KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit, KeyError)
OWN_ARGUMENTS = {
    "Wrapper._with_middlewares_for_backend",  # is wrapped by what reads two more of them
    "Cache._transact",  # makes a generator, which raises where it is run
}


def patch_sets() -> list[PatchSet]:
    # Not isinstance: objects may answer that themselves.
    gc.unfreeze()  # what earlier tests have made is not looked at otherwise
    found = [it for it in gc.get_objects() if issubclass(type(it), PatchSet)]
    gc.freeze()
    return found


def installed() -> Iterator[tuple[Target, Any]]:
    """Each target that stands in a library that is here, and the function that it stands for."""
    for patches in patch_sets():
        for item in patches._installed:
            function = getattr(item.original, "__func__", item.original)
            if not isinstance(function, FunctionType):
                function = inspect.getattr_static(item.owner, item.name)
            yield item.target, getattr(function, "__wrapped__", function)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before, a frame cannot be hidden")
@pytest.mark.faults  # what is passed is nothing that a patch could read
def test_no_patch_shows_its_frame_in_what_is_raised() -> None:
    # In a process of its own: what other tests have left is patched otherwise.
    code = "import runpy, sys; runpy.run_path(sys.argv[1])['check']()"
    done = run(sys.executable, "-c", code, __file__, env={"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.status == 0, done.told


def check() -> None:
    with metertap.instrument(json_endpoint=False):
        packages = [library.package for library in LIBRARIES.values()]
        sets = patch_sets()
        for name in (*packages, *(it.module for it in sets if it.status == "waiting")):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        targets = [found for found in installed() if found[0].attribute not in OWN_ARGUMENTS]
        assert len(targets) > 20, targets
        shown = [
            (target.attribute, error.__name__, frame)
            for target, function in targets
            for error in ERRORS
            for frame in frames_of_ours(target, error, inspect.iscoroutinefunction(function))
        ]
    assert shown == [], shown


def frames_of_ours(target: Target, kind: type[BaseException], is_async: bool) -> list[str]:
    """The frames that a stand-in adds to what the function behind it raises."""

    def raising(*_args: Any, **_kwargs: Any) -> None:
        raise kind("odd")

    async def raising_later(*_args: Any, **_kwargs: Any) -> None:
        raise kind("odd")

    body = raising_later if is_async else raising
    stand_in, _ = make_stand_in(SimpleNamespace(), "body", body, target)
    try:
        made = stand_in(SimpleNamespace(), SimpleNamespace())
        if inspect.iscoroutine(made):
            made.send(None)
    except kind as error:
        found = traceback.extract_tb(error.__traceback__)
    assert found[-1].name == body.__name__
    return [frame.name for frame in found[1:-1]]
