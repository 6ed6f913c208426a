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
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from metertap import faults, locks
from metertap.patching import imports
from metertap.patching.targets import StandIn, Target, WrapperFunction, binding
from metertap.patching.tracebacks import hide_frame

_ABSENT: Any = object()
_MOST_WRAPPERS = 32
"""The most wrappers around wrappers that are looked through: one may wrap itself."""


class _Installed(NamedTuple):
    target: Target
    owner: Any
    name: str
    original: Any  # what stood in the owner's own namespace, or _ABSENT where it was inherited
    stand_in: Any  # a function, a class method of one, or wrapt's proxy
    switch_off: Callable[[], None]  # from then on it calls straight through

    def is_in_force(self) -> bool:
        """Return whether calls go through the stand-in, itself or within other wrappers."""
        ours: Any = self.stand_in
        if type(ours) is classmethod:  # others may decorate its function
            ours = ours.__func__
        return any(item is ours for item in _layers(self._found()))

    def was_unwrapped(self) -> bool:
        """Return whether what stands there now stood there before, so that it calls no stand-in."""
        found = self._found()
        if found is _ABSENT or found is self.original:
            return found is self.original
        return any(found is item for item in _layers(self.stand_in))

    def going_round(self) -> list[type]:
        """Return subclasses that were given the function as it was before, as their own.

        Another instrumentation that wrapped an inherited method puts it back like that.
        """
        if type(self.original) is not FunctionType or not isinstance(self.owner, type):
            return []
        subclasses: list[type] = type.__subclasses__(self.owner)
        return [cls for cls in subclasses if _bare(vars(cls).get(self.name)) is self.original]

    def _found(self) -> Any:
        return _bare(vars(self.owner).get(self.name, _ABSENT))


_inert: weakref.WeakValueDictionary[int, FunctionType] = weakref.WeakValueDictionary()
"""Stand-ins that are switched off, by their identity: others may have kept them."""


def _bare(found: Any) -> Any:
    """Return what a stand-in of an earlier installation calls, if `found` is one."""
    while type(found) is FunctionType and _inert.get(id(found)) is found:
        found = getattr(found, "__wrapped__", None)
    return found


def _layers(function: Any) -> Iterator[Any]:
    """Yield `function`, what it wraps, what that wraps, and so on, as `__wrapped__` says."""
    for _ in range(_MOST_WRAPPERS):
        yield function
        try:
            # Not getattr: a proxy of the program's may do anything when it is asked.
            function = object.__getattribute__(function, "__wrapped__")
        except AttributeError:
            return


class PatchSet:
    """The targets of one module, which are installed together or not at all.

    `status` is `idle`, `waiting` (for the module's import), `installed` or `failed`; `problem` says
    why it failed. Warnings and `metertap doctor` call the set by its `name`, which is the module's
    unless another one is given. `optional` says that not every version of the library has that
    module.
    """

    def __init__(
        self,
        module: str,
        targets: Sequence[Target],
        *,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.module = module
        self.optional = optional
        self.name = name or module
        self.targets: Sequence[Target] = tuple(targets)
        self.status = "idle"
        self.problem: str | None = None
        self._installed: list[_Installed] = []
        self._lock = locks.rlock()
        self._watches = False

    @property
    def bound(self) -> list[str]:
        """The dotted paths of what is wrapped now."""
        found = (item.target.attribute for item in list(self._installed) if item.is_in_force())
        return [f"{self.module}:{attribute}" for attribute in dict.fromkeys(found)]

    def install(self) -> None:
        """Wrap the targets now if the module is imported, else as soon as it is. Do so once."""
        with self._lock:
            if self.status in {"waiting", "installed"}:
                return
            self.status = "waiting"
            self.problem = None
            if not self._watches:
                imports.watch(self.module, self._executed)
                self._watches = True
        if imports.is_in_progress(self.module):
            name = f"metertap-import-{self.module}"
            threading.Thread(target=self._wait, name=name, daemon=True).start()
        elif self.module in sys.modules:
            self._apply(sys.modules[self.module])

    def uninstall(self) -> None:
        """Undo every patch; a module that is imported later is left alone."""
        with self._lock:
            imports.unwatch(self.module, self._executed)
            self._watches = False
            self._undo()
            self.status = "idle"
            self.problem = None

    def check(self) -> None:
        """Look whether the targets are still wrapped, and wrap those again that were unwrapped.

        Other code may have replaced a target by a function that does not tell what it wraps. Nobody
        knows whether that calls our wrapper: to wrap it could count a call twice, so it is left
        alone, and `problem` names it.
        """
        if self.status != "installed" or not self._lock.acquire(blocking=False):
            return
        try:
            newest = {(id(item.owner), item.target.attribute): item for item in self._installed}
            lost = []
            for (_, attribute), item in newest.items():
                for cls in item.going_round():
                    self._installed.append(_wrapped(cls, item.name, item.target))
                if item.is_in_force():
                    continue
                if item.was_unwrapped():
                    self._installed.append(_wrapped(item.owner, item.name, item.target))
                else:
                    lost.append(attribute)
            self.problem = None
            if lost:
                self.problem = (
                    f"{self.module}:{', '.join(lost)}: other code replaced it after it was "
                    "patched, so calls may be unmeasured"
                )
        finally:
            self._lock.release()

    def _undo(self) -> None:
        while self._installed:
            _undo(self._installed.pop())

    def prepare(self, module: Any) -> None:
        """Prepare for patching `module`, in a subclass: it may choose targets, or raise."""

    def follow(self, module: Any) -> None:
        """Patch, in a subclass, what no table of targets can name, once the targets are wrapped."""

    def tell(self, error: Exception) -> None:
        """Report that the targets could not be wrapped, as `problem` says."""
        faults.fault(f"patch {self.name}", error)

    def _executed(self, module: Any) -> None:
        """Patch a module after each execution, because each defines its functions again."""
        with self._lock:
            if self.status in {"installed", "failed"}:
                self.status = "waiting"
                self.problem = None
            self._apply(module)

    def _wait(self) -> None:
        module = imports.wait(self.module)
        if module is not None:
            self._apply(module)

    def _apply(self, module: Any) -> None:
        with self._lock:
            if self.status != "waiting":
                return
            try:
                self.prepare(module)
                for target in self.targets:
                    installed = _wrap(module, target)
                    if installed is not None:
                        self._installed.append(installed)
                self.follow(module)
            except Exception as error:
                self.uninstall()
                self.status = "failed"
                self.problem = f"{type(error).__qualname__}: {error}"
                self.tell(error)
            else:
                self.status = "installed"


def _wrap(module: Any, target: Target) -> _Installed | None:
    owner: Any = module
    *parents, name = target.attribute.split(".")
    for parent in parents:
        owner = getattr(owner, parent, _ABSENT)
        if owner is _ABSENT:
            break
    if owner is _ABSENT or not hasattr(owner, name):
        if target.optional or target.own:
            return None
        raise AttributeError(f"{module.__name__}:{target.attribute} does not exist")
    # Not getattr: it would bind static and class methods.
    original = vars(owner).get(name, _ABSENT)
    if original is _ABSENT and target.own:
        return None
    if isinstance(found := getattr(owner, name), type) or not callable(found):
        raise TypeError(f"{module.__name__}:{target.attribute} is no function")
    if original is _ABSENT and not target.apart and _is_objects_method(owner, name):
        target = target._replace(wrapper=_of_one(owner, target.wrapper), replacement=None)
        owner = type(owner)
    return _wrapped(owner, name, target)


def _is_objects_method(owner: Any, name: str) -> bool:
    found = None if isinstance(owner, type) else inspect.getattr_static(type(owner), name, None)
    return isinstance(found, FunctionType)  # a wrapper of one shows its class


def _of_one(one: Any, wrapper: WrapperFunction) -> WrapperFunction:
    """Return a wrapper of a class's method that leaves alone all objects but `one`.

    What stood in the object itself would go along when that is copied or pickled, and would call
    the method of the first one.
    """

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            if instance is one:
                return wrapper(wrapped, instance, args, kwargs)
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return call


def _wrapped(owner: Any, name: str, target: Target) -> _Installed:
    original = vars(owner).get(name, _ABSENT)
    stand_in: Any
    if _is_plain_classmethod(original):
        function, switch_off = binding(target.wrapper)(original.__func__)
        stand_in = classmethod(function)
    else:
        stand_in, switch_off = make_stand_in(owner, name, original, target)
    setattr(owner, name, stand_in)
    return _Installed(target, owner, name, original, stand_in, switch_off)


def _is_plain_classmethod(found: Any) -> bool:
    if type(found) is not classmethod or type(found.__func__) is not FunctionType:
        return False
    function = found.__func__
    return not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function))


def make_stand_in(owner: Any, name: str, original: Any, target: Target) -> StandIn:
    """Make what will stand as `owner.name` instead of `original`, which may be inherited."""
    if target.replacement is not None and type(original) is FunctionType:
        return target.replacement(original)
    wrapped, function = original, target.wrapper
    if original is _ABSENT and isinstance(owner, type):
        wrapped = inspect.getattr_static(owner, name)
        # Others are pickled, which a plain function with the name of what it inherits cannot be.
        if target.replacement is not None and inspect.iscoroutinefunction(wrapped):
            return target.replacement(_inherited(owner, name, wrapped))
        function = functools.partial(_call_inherited, owner, name, function)
    elif original is _ABSENT:  # put into an object or module, where nothing would bind it
        wrapped = getattr(owner, name)
    from metertap.patching.wrapper import MethodWrapper, Wrapper  # imports wrapt

    # wrapt asks `enabled` on each call. `locked` is the cheapest function that gives a truth value
    # and can be made to give the other.
    live = threading.Lock()
    live.acquire()
    is_function = isinstance(owner, type) and type(wrapped) in {FunctionType, staticmethod}
    made = (MethodWrapper if is_function else Wrapper)(wrapped, function, enabled=live.locked)
    if original is _ABSENT and isinstance(owner, type):
        made._self_holder = owner
    return made, live.release


def _inherited(owner: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that awaits `method`, or what `owner` inherits in its place by then."""

    @functools.wraps(method)
    async def later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return await getattr(super(owner, self), name)(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return later


def _call_inherited(
    owner: type, name: str, function: WrapperFunction, wrapped: Any, instance: Any, *call: Any
) -> Any:
    """Wrap what is inherited at the time of the call: a base class may be patched after us."""
    if instance is not None:
        wrapped = getattr(super(owner, instance), name)
    try:
        return function(wrapped, instance, *call)
    except BaseException as error:
        hide_frame(error)
        raise


def _undo(item: _Installed) -> None:
    item.switch_off()
    if type(item.stand_in) is FunctionType and hasattr(item.stand_in, "__wrapped__"):
        _inert[id(item.stand_in)] = item.stand_in
    if vars(item.owner).get(item.name) is not item.stand_in:
        return  # somebody wrapped after us: we stay in their chain and pass calls through
    if item.original is _ABSENT:
        delattr(item.owner, item.name)
    else:
        setattr(item.owner, item.name, item.original)
