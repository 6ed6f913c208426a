"""One patch: a stand-in is made, put in place of a function, and removed again."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

from metertap.patching.parameters import shaped
from metertap.patching.targets import (
    Replacement,
    StandIn,
    Target,
    WrapperFunction,
    binding,
    findable,
)
from metertap.patching.tracebacks import hide_frame

_ABSENT: Any = object()
_MOST_WRAPPERS = 32
"""The most nested wrappers that are looked through: one may wrap itself."""


class Installed(NamedTuple):
    """One target of a patch set with its stand-in."""

    target: Target
    owner: Any
    name: str
    original: Any  # the owner's own attribute, or _ABSENT if it was inherited
    stand_in: Any  # a function, a class or static method of one, or wrapt's proxy
    switch_off: Callable[[], None]  # makes it pass calls straight through for good

    def is_in_force(self) -> bool:
        """Return whether calls go through the stand-in, directly or within other wrappers."""
        ours: Any = self.stand_in
        if type(ours) in {classmethod, staticmethod}:  # its function may be decorated by others
            ours = ours.__func__
        return any(item is ours for item in _layers(self._found()))

    def was_unwrapped(self) -> bool:
        """Return whether the former attribute is there again, so that no call is measured."""
        found = self._found()
        if found is _ABSENT or found is self.original:
            return found is self.original
        return any(found is item for item in _layers(self.stand_in))

    def going_round(self) -> list[type]:
        """Return subclasses that have the former function as an attribute of their own.

        Another instrumentation does that when it restores an inherited method that it had wrapped.
        """
        if type(self.original) is not FunctionType or not isinstance(self.owner, type):
            return []
        subclasses: list[type] = type.__subclasses__(self.owner)
        return [cls for cls in subclasses if _bare(vars(cls).get(self.name)) is self.original]

    def undo(self) -> None:
        """Restore the former attribute, unless other code has wrapped the stand-in since."""
        self.switch_off()
        if type(self.stand_in) is FunctionType and hasattr(self.stand_in, "__wrapped__"):
            _inert[id(self.stand_in)] = self.stand_in
        if vars(self.owner).get(self.name) is not self.stand_in:
            return  # we stay in the chain of wrappers and pass calls through
        if self.original is _ABSENT:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)

    def _found(self) -> Any:
        return _bare(vars(self.owner).get(self.name, _ABSENT))


_inert: weakref.WeakValueDictionary[int, FunctionType] = weakref.WeakValueDictionary()
"""Stand-ins that are switched off, by identity: other code may have kept them."""


def _bare(found: Any) -> Any:
    """Return the function that a stand-in of an earlier installation calls, if `found` is one."""
    while type(found) is FunctionType and _inert.get(id(found)) is found:
        found = getattr(found, "__wrapped__", None)
    return found


def _layers(function: Any) -> Iterator[Any]:
    """Yield `function`, the function that it wraps, and so on, as `__wrapped__` tells."""
    for _ in range(_MOST_WRAPPERS):
        yield function
        try:
            # Not getattr: a proxy of the program may run any code then.
            function = object.__getattribute__(function, "__wrapped__")
        except AttributeError:
            return


def install(module: Any, target: Target) -> Installed | None:
    """Put a stand-in in place of a target; None if the target is optional and missing."""
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
    # Not getattr, which would bind static and class methods.
    original = vars(owner).get(name, _ABSENT)
    if original is _ABSENT and target.own:
        return None
    if isinstance(found := getattr(owner, name), type) or not callable(found):
        raise TypeError(f"{module.__name__}:{target.attribute} is no function")
    if original is _ABSENT and not target.apart and _is_objects_method(owner, name):
        target = target._replace(wrapper=_of_one(owner, target.wrapper), replacement=None)
        owner = type(owner)
    return put(owner, name, target)


def _is_objects_method(owner: Any, name: str) -> bool:
    found = None if isinstance(owner, type) else inspect.getattr_static(type(owner), name, None)
    return isinstance(found, FunctionType)  # a wrapper of a function shows its class


def _of_one(one: Any, wrapper: WrapperFunction) -> WrapperFunction:
    """Return a wrapper of a class's method that measures only the object `one`.

    An attribute of the object itself would be copied and pickled with it, and would call the method
    of the first object.
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


def put(owner: Any, name: str, target: Target) -> Installed:
    """Put a stand-in in place of `owner.name`."""
    original = vars(owner).get(name, _ABSENT)
    stand_in: Any
    replacement = _replacement_within(original, target)
    if replacement is not None:
        function, switch_off = replacement(original.__func__)
        stand_in = type(original)(function)
    else:
        stand_in, switch_off = make_stand_in(owner, name, original, target)
    setattr(owner, name, stand_in)
    return Installed(target, owner, name, original, stand_in, switch_off)


def _replacement_within(found: Any, target: Target) -> Replacement | None:
    """Return the replacement for the function inside a class or static method; None without one."""
    kind = type(found)
    if kind not in {classmethod, staticmethod} or type(found.__func__) is not FunctionType:
        return None
    function = found.__func__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return None
    if target.replacement is not None or kind is staticmethod:
        return target.replacement
    return binding(target.wrapper)


def make_stand_in(owner: Any, name: str, original: Any, target: Target) -> StandIn:
    """Make the stand-in for `owner.name`, whose `original` may be inherited."""
    if target.replacement is not None and type(original) is FunctionType:
        made, switch_off = target.replacement(original)
        return findable(made, owner, name), switch_off
    wrapped, function = original, target.wrapper
    if original is _ABSENT and isinstance(owner, type):
        wrapped = inspect.getattr_static(owner, name)
        if target.replacement is not None and inspect.iscoroutinefunction(wrapped):
            later, switch_off = target.replacement(_inherited(owner, name, wrapped))
            return findable(later, owner, name), switch_off
        function = functools.partial(_call_inherited, owner, name, function)
    elif original is _ABSENT:  # in an object or module, functions are not bound
        wrapped = getattr(owner, name)
    from metertap.patching.wrapper import MethodWrapper, Wrapper  # imports wrapt

    # wrapt reads `enabled` at each call. A lock's `locked` is the cheapest function whose result
    # can be changed.
    live = threading.Lock()
    live.acquire()
    is_function = isinstance(owner, type) and type(wrapped) in {FunctionType, staticmethod}
    wrapper = (MethodWrapper if is_function else Wrapper)(wrapped, function, enabled=live.locked)
    if original is _ABSENT and isinstance(owner, type):
        wrapper._self_holder = owner
    return wrapper, live.release


def _inherited(owner: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that awaits `method`, or what `owner` inherits for it at the call."""
    like = method if type(method) is FunctionType else _any
    made = shaped(
        like, _INHERITED, owner=owner, name=name, super=super, getattr=getattr, hide=hide_frame
    )
    return functools.wraps(method)(made)


async def _any(self: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Have the signature of a callable that does not tell its parameters."""


_INHERITED = """
{kind} call({parameters}):
    try:
        return {awaiting}_getattr(_super(_owner, {first}), _name)(*{args}, **{kwargs})
    except BaseException as _error:
        _hide(_error)
        raise
"""


def _call_inherited(
    owner: type, name: str, function: WrapperFunction, wrapped: Any, instance: Any, *call: Any
) -> Any:
    """Wrap the inherited method of the time of the call: a base class may be patched later."""
    if instance is not None:
        wrapped = getattr(super(owner, instance), name)
    try:
        return function(wrapped, instance, *call)
    except BaseException as error:
        hide_frame(error)
        raise
