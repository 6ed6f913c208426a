"""Wrappers for the methods of caches, made of the answers that an adapter gives.

An adapter says which methods look something up, what they are asked for, and what their results
mean. `counts`, `within` and `after` make of that what takes a method's place (`stand_in`): sync or
async as the method is, one count for caches that stand on one another, no frame of metertap in a
traceback, and no exception of metertap in the program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any

from metertap import faults
from metertap.caching.layers import layer, leave_layer
from metertap.patching.targets import Live, Make, Target, stand_in
from metertap.patching.tracebacks import hide_frame

Asked = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""The subject of a lookup in the adapter's own terms, and the arguments for the method."""
Ask = Callable[[Any, tuple[Any, ...], dict[str, Any]], Asked | None]
"""A function that tells what a call asks of a cache; None where nothing is to be counted."""
Answer = Callable[[Any, Any, Any], Any]
"""Counts the lookup in a cache by what was asked and the method's result. Gives the result that the
caller gets."""
Around = Callable[[Any, tuple[Any, ...], dict[str, Any]], AbstractContextManager[Any]]
"""A function that makes the context of a call. It is metertap's own, and must not raise."""
Note = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], None]
"""A function that notes the result of a call: instance, result, arguments."""

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
ITSELF: Any = object()
ASKED: Any = object()


def stand_ins(owner: str, /, **makers: Make) -> list[Target]:
    """Patch methods of the class `owner`, each by what its name is given: see `stand_in`."""
    return [stand_in(f"{owner}.{name}", make) for name, make in makers.items()]


def outermost(_cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
    """Ask for everything that is no part of another cache's lookup."""
    return (None, args, kwargs) if _layer() is None else None


def anything(_cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
    """Ask for everything, a part of another cache's lookup too."""
    return None, args, kwargs


def counts(
    library: str,
    answer: Answer,
    *,
    ask: Ask = outermost,
    layers: Any = ITSELF,
    awaited: bool = False,
) -> Make:
    """Count what a method of `library` looks up.

    Caches that are asked meanwhile count nothing: the layer that they see is the library, or, with
    `layers=ASKED`, what `ask` gave. With `layers=None` they count, too. An `awaited` method need
    not be a coroutine function.
    """
    layers = library if layers is ITSELF else layers

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        # Both halves are written out: what they share would cost a call more.
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            asked = None
            try:
                if live:
                    try:
                        asked = ask(self, args, kwargs)
                    except Exception as fault:
                        faults.fault(library, fault)
                if asked is None:
                    return method(self, *args, **kwargs)
                what, args, kwargs = asked
                if layers is None:
                    result = method(self, *args, **kwargs)
                else:
                    token = _set_layer(what if layers is ASKED else layers)
                    try:
                        result = method(self, *args, **kwargs)
                    finally:
                        _reset_layer(token)
            except BaseException as error:
                hide_frame(error)
                raise
            try:
                return answer(self, what, result)
            except Exception as fault:
                faults.fault(library, fault)
                return result

        async def later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            asked = None
            try:
                if live:
                    try:
                        asked = ask(self, args, kwargs)
                    except Exception as fault:
                        faults.fault(library, fault)
                if asked is None:
                    return await method(self, *args, **kwargs)
                what, args, kwargs = asked
                if layers is None:
                    result = await method(self, *args, **kwargs)
                else:
                    token = _set_layer(what if layers is ASKED else layers)
                    try:
                        result = await method(self, *args, **kwargs)
                    finally:
                        leave_layer(token)
            except BaseException as error:
                hide_frame(error)
                raise
            try:
                return answer(self, what, result)
            except Exception as fault:
                faults.fault(library, fault)
                return result

        return _half(method, call, later, awaited=awaited)

    return make


def within(around: Around | None = None) -> Make:
    """Run a method in a context: by default, one in which caches count nothing."""
    if around is None:
        return counts("a layer above", lambda _cache, _asked, result: result, ask=anything)

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                if not live:
                    return method(self, *args, **kwargs)
                with _entered(around, self, args, kwargs):
                    return method(self, *args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise

        async def later(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                if not live:
                    return await method(self, *args, **kwargs)
                with _entered(around, self, args, kwargs):
                    return await method(self, *args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise

        return _half(method, call, later)

    return make


def _entered(around: Around, *call: Any) -> AbstractContextManager[Any]:
    """Return what `around` gives for a call; where that fails, what does nothing."""
    with faults.guarded("cache.layer"):
        return around(*call)
    return nullcontext()


def after(library: str, note: Note) -> Make:
    """Note each result of a method that is not awaited."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                result = method(self, *args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
            if live:
                with faults.guarded(library):
                    note(self, result, args, kwargs)
            return result

        return call

    return make


def _half(
    method: Callable[..., Any],
    call: Callable[..., Any],
    later: Callable[..., Any],
    *,
    awaited: bool = False,
) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):
        return later
    if awaited:  # it is no coroutine function to those who ask, and gives an awaitable
        return lambda self, /, *args, **kwargs: later(self, *args, **kwargs)
    return call


NOTHING: Any = object()
"""A default of ours: a lookup that answers with it found nothing, though the program may store
None, or the caller's default."""


def with_default(args: Any, kwargs: Any, *, ours: bool, unless_none: bool = False) -> Asked:
    """Replace the default of a call `get(key, default)` by `NOTHING`, where it is to be `ours`.

    `unless_none` leaves a default of None alone. What is asked is a pair: the caller's default, and
    the one that the method gets. `kwargs` have to be of this one call.
    """
    default = args[1] if len(args) > 1 else kwargs.get("default")
    if not ours or (unless_none and default is None):
        return (default, default), args, kwargs
    if len(args) > 1:
        args = (args[0], NOTHING, *args[2:])
    else:
        kwargs["default"] = NOTHING
    return (default, NOTHING), args, kwargs


def is_own(method: Callable[..., Any], package: str) -> bool:
    """Return whether `method` is the code of `package` itself, wrapped by nobody.

    Only that may get an argument of ours. What the program overrides gets what the caller passed.
    """
    if type(method) is not FunctionType:
        return False
    return str(method.__globals__.get("__name__")).partition(".")[0] == package


def replaced(args: Any, kwargs: Any, place: int, name: str, value: Any) -> tuple[Any, Any]:
    """Return the arguments of a call with `value` for one: by its place, if it was given so."""
    if len(args) > place:
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, name: value}
