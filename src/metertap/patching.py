"""Patching: a table of targets that drives both install and undo.

A `PatchSet` names one module and what to wrap in it. It is installed whole or not at all, as
soon as the module is imported (at once, if it is already), and undone exactly: an attribute that
is still ours becomes what it was before, by identity; one that somebody wrapped after us stays in
their chain, inert.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import wrapt

from metertap import guard

WrapperFunction = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""wrapt's signature: wrapped, instance, args, kwargs."""

_ABSENT: Any = object()


# Generic in wrapt's type stubs only.
if TYPE_CHECKING:
    _FunctionWrapper = wrapt.FunctionWrapper[..., Any]
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper[..., Any]
else:
    _FunctionWrapper = wrapt.FunctionWrapper
    _BoundFunctionWrapper = wrapt.BoundFunctionWrapper


class _BoundWrapper(_BoundFunctionWrapper):
    def __reduce_ex__(self, _protocol: Any) -> Any:
        return getattr, (self.__self__, self.__name__)


class Wrapper(_FunctionWrapper):
    """wrapt's function wrapper, which also pickles as the function it stands for: by its name."""

    __bound_function_wrapper__ = _BoundWrapper

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return self.__qualname__


@dataclass(frozen=True, slots=True)
class Target:
    """One attribute to wrap: `attribute` is a dotted path inside the patch set's module.

    `optional` targets are absent from some supported versions and are then left out.
    """

    attribute: str
    wrapper: WrapperFunction
    optional: bool = False


@dataclass(slots=True)
class _Installed:
    owner: Any
    name: str
    original: Any  # what stood in the owner's own namespace, or _ABSENT where it was inherited
    wrapper: Wrapper
    live: list[bool]  # empty: the wrapper calls straight through


class PatchSet:
    """Targets of one module, installed together.

    `status` is one of: `idle`, `waiting` (for the module's import), `installed`, `failed`; then
    `problem` says why.
    """

    def __init__(self, module: str, targets: Sequence[Target]) -> None:
        self.module = module
        self.targets = tuple(targets)
        self.status = "idle"
        self.problem: str | None = None
        self._installed: list[_Installed] = []
        self._lock = threading.RLock()
        self._hooked = False

    @property
    def bound(self) -> list[str]:
        """Dotted paths of what is wrapped now."""
        return [f"{self.module}:{_path(item)}" for item in self._installed]

    def install(self) -> None:
        """Install now if the module is imported, else as soon as it is. Installs once."""
        with self._lock:
            if self.status in {"waiting", "installed"}:
                return
            self.status = "waiting"
            # While a module is being imported it is in sys.modules, unfinished: the hook comes
            # at its end in any case, and at once if it is complete.
            if not self._hooked:
                self._hooked = True
                wrapt.register_post_import_hook(self._imported, self.module)
            elif self.module in sys.modules:
                self._imported(sys.modules[self.module])

    def uninstall(self) -> None:
        """Undo; a module that is imported later is left alone."""
        with self._lock:
            self.status = "idle"
            self.problem = None
            while self._installed:
                _undo(self._installed.pop())

    def _imported(self, module: Any) -> None:
        # An import hook cannot be taken back, so it asks whether it is still wanted.
        with self._lock:
            if self.status != "waiting":
                return
            try:
                for target in self.targets:
                    installed = _apply(module, target)
                    if installed is not None:
                        self._installed.append(installed)
            except Exception as error:
                self.uninstall()
                self.status = "failed"
                self.problem = f"{type(error).__qualname__}: {error}"
                guard.fault(f"patch {self.module}", error)
            else:
                self.status = "installed"


def _apply(module: Any, target: Target) -> _Installed | None:
    owner: Any = module
    *parents, name = target.attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent, _ABSENT)
        if owner is _ABSENT:
            break
    if owner is _ABSENT or not hasattr(owner, name):
        if target.optional:
            return None
        raise AttributeError(f"{module.__name__}:{target.attribute} does not exist")
    # Not getattr: it would bind static and class methods.
    original = vars(owner).get(name, _ABSENT)
    wrapped = original if original is not _ABSENT else inspect.getattr_static(owner, name)
    live = [True]
    # wrapt asks `enabled` on each call and compares with False by identity; this stays in C.
    wrapper = Wrapper(wrapped, target.wrapper, enabled=functools.partial(bool, live))
    setattr(owner, name, wrapper)
    return _Installed(owner, name, original, wrapper, live)


def _undo(item: _Installed) -> None:
    item.live.clear()
    if vars(item.owner).get(item.name) is not item.wrapper:
        return  # somebody wrapped after us: we stay in their chain and pass calls through
    if item.original is _ABSENT:
        delattr(item.owner, item.name)
    else:
        setattr(item.owner, item.name, item.original)


def _path(item: _Installed) -> str:
    owner = item.owner
    prefix = "" if inspect.ismodule(owner) else f"{owner.__qualname__}."
    return f"{prefix}{item.name}"
