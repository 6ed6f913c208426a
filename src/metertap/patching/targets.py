"""Targets of patches: what is patched, and what takes its place."""

# No import of annotations from __future__: a NamedTuple compiles each that is text, at start.

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from metertap.patching.parameters import shaped
from metertap.patching.tracebacks import hide_frame

WrapperFunction = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""wrapt's signature: wrapped, instance, args, kwargs."""

StandIn = tuple[Callable[..., Any], Callable[[], None]]
"""A function that takes another's place, and one that makes it pass calls on for good."""
Replacement = Callable[[Callable[..., Any]], StandIn]
Live = list[bool]
"""Not empty as long as a patch is installed: the cheapest thing to ask that can be changed."""
Make = Callable[[Callable[..., Any], Live], Callable[..., Any]]
"""A maker of the function that takes a method's place. It gets the instance first."""

_stand_ins: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()
_BOUND = """
{kind} call({parameters}):
    _bound = _method.__get__({first})
    try:
        if _live:
            return {awaiting}_wrapper(_bound, {first}, {args}, {kwargs})
        return {call}
    except BaseException as _error:
        _hide(_error)
        raise
"""
_WRAPPER = "metertap.patching.wrapper"
"""The module that imports wrapt, which takes milliseconds: loaded with the first proxy."""


class Target(NamedTuple):
    """One attribute to wrap, by its dotted path inside the patch set's module.

    `optional` targets are absent from some supported versions and are then left out; so are those
    that a class has to have of its `own` and only inherits.

    A `replacement` is for what is called so often that wrapt's proxy would be most of the cost: it
    takes the wrapper's place where a plain function stands.

    An object's method is wrapped in the object's class, for that object, or `apart` in the object
    itself, for classes whose other objects are called too often to be in the way.
    """

    attribute: str
    wrapper: WrapperFunction
    optional: bool = False
    own: bool = False
    replacement: Replacement | None = None
    apart: bool = False


def stand_in(attribute: str, make: Make, *, optional: bool = False, own: bool = False) -> Target:
    """Describe a method to patch at the least cost: by the function that `make` makes of it.

    That function stands in the class in the method's place. It gets the instance first, and has to
    pass calls straight through to the method while the patch is not live.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        # No plain function stands there (somebody else has wrapped it): made again for each call.
        if instance is None:
            return make(_passing(wrapped, 0), [True])(*args, **kwargs)
        return make(_passing(wrapped, 1), [True])(instance, *args, **kwargs)

    def made(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        if _gives_coroutines(method):
            return _of_what_it_gives(make, method, live)
        return make(method, live)

    return Target(attribute, wrapper, optional, own, _replacement(made))


def _passing(wrapped: Callable[..., Any], skipped: int) -> Callable[..., Any]:
    """Return a function, async as `wrapped` is, that leaves out the first argument if one is."""

    def function(*args: Any, **kwargs: Any) -> Any:
        try:
            return wrapped(*args[skipped:], **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    async def later(*args: Any, **kwargs: Any) -> Any:
        try:
            return await wrapped(*args[skipped:], **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return later if inspect.iscoroutinefunction(wrapped) else function


def _gives_coroutines(method: Callable[..., Any]) -> bool:
    """Return whether a plain function stands around an async one, as decorators of tracers do."""
    if not hasattr(method, "__wrapped__") or inspect.iscoroutinefunction(method):
        return False
    try:
        return inspect.iscoroutinefunction(inspect.unwrap(method))
    except ValueError:  # a circle
        return False


def _of_what_it_gives(make: Make, method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Make what stands for a plain function: it measures the coroutine that this returns, if any.

    Such a function may as well return what the async one gave: then it is left alone.
    """

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = method(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        if not live or not inspect.iscoroutine(result):
            return result

        @functools.wraps(method)
        async def given(*_args: Any, **_kwargs: Any) -> Any:
            try:
                return await result
            except BaseException as error:
                hide_frame(error)
                raise

        return make(given, live)(*args, **kwargs)

    return call


def comparable(attribute: str, wrapper: WrapperFunction) -> Target:
    """Describe a method to patch by a plain function instead of wrapt's proxy.

    Libraries ask `self.method.__func__ is Base.method` to see whether a method was overridden. A
    class gives a new proxy each time that it is asked, so the answer would always be yes.
    """
    return Target(attribute, wrapper, replacement=binding(wrapper))


def binding(wrapper: WrapperFunction) -> Replacement:
    """Replace a method by a function that binds it at each call, as wrapt does for `wrapper`."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(method, _BOUND, live=live, wrapper=wrapper, hide=hide_frame)

    return _replacement(make)


def _replacement(make: Make) -> Replacement:
    def replacement(method: Callable[..., Any]) -> StandIn:
        live = [True]
        function = functools.wraps(method)(make(method, live))
        _stand_ins.add(function)

        def switch_off() -> None:
            live.clear()
            _stand_ins.discard(function)

        return function, switch_off

    return replacement


def findable(function: Callable[..., Any], owner: Any, name: str) -> Callable[..., Any]:
    """Let `function`, which is to stand as `owner.name`, have a name that leads there.

    That of what it stands for may lead elsewhere: to a base class, or to the module from which it
    was imported. Pickle refuses a function that is not found by its name.
    """
    if _leads_to(function, owner, name):
        return function
    if isinstance(owner, ModuleType):
        module, place = owner.__name__, name
    elif isinstance(owner, type):
        module, place = owner.__module__, f"{owner.__qualname__}.{name}"
    else:
        return function
    if "<locals>" not in place + function.__qualname__:
        function.__module__, function.__qualname__ = module, place
    return function


def _leads_to(function: Callable[..., Any], owner: Any, name: str) -> bool:
    """Return whether the name of `function` is already that of `owner.name`.

    A class may say that it lives in the package that offers it, and its methods do not.
    """
    above, _, last = function.__qualname__.rpartition(".")
    found: Any = sys.modules.get(function.__module__)
    for place in filter(None, above.split(".")):
        found = getattr(found, place, None)
    return last == name and found is owner


def is_patched(function: Any) -> bool:
    """Return whether `function` is a stand-in of ours that is not switched off.

    One that is may still stand somewhere: others kept it, and put it back when they undo theirs.
    """
    if type(function) is FunctionType:
        return function in _stand_ins
    wrapper = sys.modules.get(_WRAPPER)
    is_wrapper = wrapper is not None and isinstance(function, wrapper.Wrapper)
    return is_wrapper and bool(function._self_enabled())
