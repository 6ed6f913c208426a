"""Targets of patches: which attribute is patched, and by what it is replaced."""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

import functools
import inspect
import sys
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from metertap import faults
from metertap.patching.parameters import shaped
from metertap.patching.tracebacks import hide_frame

WrapperFunction = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""wrapt's signature: wrapped, instance, args, kwargs."""

StandIn = tuple[Callable[..., Any], Callable[[], None]]
"""A replacement of a function, and the function that makes it pass calls straight through."""
Replacement = Callable[[Callable[..., Any]], StandIn]
Live = list[bool]
"""Not empty while a patch is installed: the cheapest changeable value to test."""
Make = Callable[[Callable[..., Any], Live], Callable[..., Any]]
"""A maker of the function that replaces a method; that one gets the instance first."""

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
"""The module that imports wrapt, which takes milliseconds; imported with the first proxy."""


class Target(NamedTuple):
    """One attribute to wrap, by its dotted path inside the patch set's module.

    An `optional` target is left out where a supported version of the library lacks it, and an `own`
    one where the class only inherits it.

    A `replacement` is for a method that is called so often that wrapt's proxy would be most of the
    cost: it is used instead of the wrapper where the attribute is a plain function.

    An object's method is wrapped in its class, for that object only; with `apart`, in the object
    itself, for classes whose other objects are called too often for that check.
    """

    attribute: str
    wrapper: WrapperFunction
    optional: bool = False
    own: bool = False
    replacement: Replacement | None = None
    apart: bool = False


def stand_in(attribute: str, make: Make, *, optional: bool = False, own: bool = False) -> Target:
    """Return the target of a method that is replaced at the least cost, by what `make` returns.

    That function takes the method's place in the class. It gets the instance first, and must pass
    calls straight through to the method while the patch is not live.
    """

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        # The attribute is no plain function, since other code has wrapped it: made for each call.
        call, given = wrapped, args
        try:
            call = make(_passing(wrapped, 0 if instance is None else 1), [True])
            given = args if instance is None else (instance, *args)
        except Exception as fault:
            faults.fault(f"patch {attribute}", fault)
        try:
            return call(*given, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def made(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        if _gives_coroutines(method):
            return _of_what_it_gives(make, method, live)
        return make(method, live)

    return Target(attribute, wrapper, optional, own, _replacement(made))


def _passing(wrapped: Callable[..., Any], skipped: int) -> Callable[..., Any]:
    """Return a function, async if `wrapped` is, that drops its first argument if `skipped` is 1."""

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
    """Return whether a plain function wraps an async one, as decorators of tracers do."""
    if not hasattr(method, "__wrapped__") or inspect.iscoroutinefunction(method):
        return False
    try:
        return inspect.iscoroutinefunction(inspect.unwrap(method))
    except ValueError:  # a circle
        return False


def _of_what_it_gives(make: Make, method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Make the stand-in for a plain function that may return a coroutine, which is measured.

    The function may as well return the awaited result itself, which is left alone.
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
    """Return the target of a method that is replaced by a plain function, not by wrapt's proxy.

    Libraries test `self.method.__func__ is Base.method` to see whether a method was overridden. A
    class returns a new proxy each time, so the test would always say yes.
    """
    return Target(attribute, wrapper, replacement=binding(wrapper))


def binding(wrapper: WrapperFunction) -> Replacement:
    """Return a replacement that binds the method at each call, as wrapt does for `wrapper`."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(method, _BOUND, live=live, wrapper=wrapper, hide=hide_frame)

    return _replacement(make)


def _replacement(make: Make) -> Replacement:
    def replacement(method: Callable[..., Any]) -> StandIn:
        live = [True]
        function = functools.wraps(method)(make(method, live))
        if method.__name__ == "__call__" and not hasattr(method, "__wrapped__"):
            # An object that wraps a function may be called by it. Type checkers (beartype) check
            # that function's annotations, unless the class's method wraps another one itself.
            del function.__wrapped__
        _stand_ins.add(function)

        def switch_off() -> None:
            live.clear()
            _stand_ins.discard(function)

        return function, switch_off

    return replacement


def findable(function: Callable[..., Any], owner: Any, name: str) -> Callable[..., Any]:
    """Give `function`, which will be `owner.name`, a name that leads there.

    The original's name may lead elsewhere: to a base class, or to the module that it was imported
    from. Pickle refuses a function that is not found by its name.
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
    """Return whether the name of `function` leads to `owner.name` already.

    A class may give as its module the package that exports it, while its methods do not.
    """
    above, _, last = function.__qualname__.rpartition(".")
    found: Any = sys.modules.get(function.__module__)
    for place in filter(None, above.split(".")):
        found = getattr(found, place, None)
    return last == name and found is owner


def is_patched(function: Any) -> bool:
    """Return whether `function` is a stand-in of ours that is in force.

    One that is switched off may still be in place: other code kept it, and restored it later.
    """
    if type(function) is FunctionType:
        return function in _stand_ins
    wrapper = sys.modules.get(_WRAPPER)
    is_wrapper = wrapper is not None and isinstance(function, wrapper.Wrapper)
    return is_wrapper and bool(function._self_enabled())
