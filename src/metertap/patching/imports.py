"""Hooks for every execution of a module: the first import, a reload, or a repeated import.

wrapt's import hooks report only the first import. A module that is executed again has new functions
and classes, which have to be patched again.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from metertap import faults, locks
from metertap.patching.tracebacks import hide_frame

Executed = Callable[[ModuleType], None]

_POLL_SECONDS = 0.01
_lock = locks.rlock()  # reentrant: a signal handler may ask what is patched while it is held
_watched: dict[str, tuple[Executed, ...]] = {}
"""Functions to call after each execution of a module, by its name."""
_awaited: dict[str, tuple[Callable[[], None], ...]] = {}
"""Functions to call once before the first execution of a module, by its name."""
_finding = threading.local()


def watch(name: str, executed: Executed) -> None:
    """Call `executed` with the module `name` each time that it has been executed, from now on.

    The import waits for that call. An import already in progress is not noticed.
    """
    with _lock:
        _watched[name] = (*_watched.get(name, ()), executed)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)


def unwatch(name: str, executed: Executed) -> None:
    """Stop calling `executed` with the module `name`."""
    with _lock:
        left = tuple(item for item in _watched.pop(name, ()) if item != executed)
        if left:
            _watched[name] = left


def before(name: str, begins: Callable[[], None]) -> None:
    """Call `begins` once, when the top-level module `name` is about to be imported.

    So anything that it watches in the package is noticed: no module of it is loaded yet.
    """
    with _lock:
        _awaited[name] = (*_awaited.get(name, ()), begins)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)


def forget(begins: Callable[[], None]) -> None:
    """Stop calling `begins`."""
    with _lock:
        for name, callbacks in list(_awaited.items()):
            left = tuple(item for item in callbacks if item != begins)
            if left:
                _awaited[name] = left
            else:
                _awaited.pop(name, None)


def is_in_progress(name: str) -> bool:
    """Return whether a thread, maybe this one, is importing the module.

    Python has no public function for that. The import system keeps a lock for each module that is
    being imported, in a private dictionary, which is the same in all supported versions. Without
    it, no import would count as in progress, and only a module that is half imported when it is
    patched would be patched too early.
    """
    if name not in getattr(importlib._bootstrap, "_module_locks", ()):
        return False
    package = name.partition(".")[0]
    if package in sys.modules:
        return True
    # Python looks for a module once its package is loaded, and will ask the finder below. It will
    # also for a package that this thread is about to look for.
    return name == package and name not in vars(_finding)


def wait(name: str) -> ModuleType | None:
    """Wait until the module is not being imported; return it, or None if its import failed.

    Python does not report the end of an import that began before it was watched.
    """
    while is_in_progress(name):
        time.sleep(_POLL_SECONDS)
    return sys.modules.get(name)


class _Finder:
    """A finder that asks the other finders, and adds a loader that reports each execution."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module if it is watched; otherwise Python asks the other finders."""
        if name in vars(_finding) or (name not in _watched and name not in _awaited):
            return None
        setattr(_finding, name, True)  # another finder of this kind may ask all finders again
        try:
            for begins in _awaited.pop(name, ()):
                with faults.guarded(f"import {name}"):
                    begins()
            if name not in _watched:
                return None
            for finder in list(sys.meta_path):
                find: Any = getattr(finder, "find_spec", None)
                if finder is not self and find is not None:
                    spec: ModuleSpec | None = find(name, path, target)
                    if spec is not None:
                        with faults.guarded(f"import {name}"):
                            if hasattr(spec.loader, "exec_module"):
                                loader: Any = _Loader(spec.loader)
                                spec.loader = loader
                        return spec
            return None
        finally:
            delattr(_finding, name)


class _Loader:
    """A loader around a module's own, which it restores before the module's code runs."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the module's own loader, since a program may copy the spec."""
        import copy

        return copy.copy, (self._loader,)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as its own loader does."""
        created: ModuleType | None = self._loader.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then call the functions that watch it."""
        for holder, name in ((module.__spec__, "loader"), (module, "__loader__")):
            if getattr(holder, name, None) is self:
                setattr(holder, name, self._loader)
        try:
            self._loader.exec_module(module)
        except BaseException as error:
            hide_frame(error)
            raise
        for executed in _watched.get(module.__name__, ()):
            with faults.guarded(f"import {module.__name__}"):
                executed(module)


_finder: Any = _Finder()
find_spec = _finder.find_spec
"""Finds a module on behalf of an import hook that Python asked instead of ours."""
