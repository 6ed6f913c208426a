"""Wrappers for the methods of caches, made of the functions of an adapter.

An adapter tells which methods look something up, which subject they look up, and what their results
mean. `counts`, `within` and `after` make of that the stand-in of a method, sync or async as it is:
one lookup counts once even if caches are built on one another, tracebacks have no frame of
metertap, and no exception of metertap reaches the program.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import FunctionType
from typing import Any

from metertap import faults
from metertap.caching.layers import layer, leave_layer, left
from metertap.patching.parameters import as_async, shaped
from metertap.patching.targets import Live, Make, Target, stand_in
from metertap.patching.tracebacks import hide_frame

Asked = tuple[Any, tuple[Any, ...], dict[str, Any]]
"""The subject of a lookup, in the adapter's terms, and the arguments for the method."""
Ask = Callable[[Any, tuple[Any, ...], dict[str, Any]], Asked | None]
"""A function that returns the lookup that a call makes; None if nothing is to be counted."""
Answer = Callable[[Any, Any, Any], Any]
"""Counts the lookup by its subject and the method's result, and returns the caller's result."""
Around = Callable[[Any, tuple[Any, ...], dict[str, Any]], AbstractContextManager[Any]]
"""A function that makes the context of a call. It is metertap's own, and must not raise."""
Note = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], None]
"""A function that notes a call's result; its arguments: instance, result, args, kwargs."""

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
ITSELF: Any = object()
ASKED: Any = object()

_COUNTING = """
{kind} call({parameters}):
    _asked = None
    try:
        if _live:
            try:
                _asked = _ask({first}, {args}, {kwargs})
            except Exception as _error:
                _faults.fault(_library, _error)
        if _asked is None:
            return {awaiting}_method({arguments})
        _what, _args, _kwargs = _asked
"""
_RUN = """
        _result = {awaiting}_method({first}, *_args, **_kwargs)
"""
_RUN_AS_LAYER = """
        _mark, _token = [_layers], None
        try:
            _token = _set_layer(_mark)
            _result = {awaiting}_method({first}, *_args, **_kwargs)
        finally:
            _mark.clear()
            if _token:
                _leave(_token)
"""
_ANSWER = """
    except BaseException as _error:
        _hide(_error)
        raise
    try:
        return _answer({first}, _what, _result)
    except Exception as _error:
        _faults.fault(_library, _error)
        return _result
"""
_AWAITED = """
def call({parameters}):
    return _later({arguments})
"""
_WITHIN = """
{kind} call({parameters}):
    _context = None
    try:
        if not _live:
            return {call}
        _context = _entered(_around, {first}, {args}, {kwargs})
        with _context:
            return {call}
    except BaseException as _error:
        _hide(_error)
        _left(_context)
        raise
"""
_AFTER = """
def call({parameters}):
    try:
        _result = _method({arguments})
    except BaseException as _error:
        _hide(_error)
        raise
    if _live:
        with _faults.guarded(_library):
            _note({first}, _result, {args}, {kwargs})
    return _result
"""


def stand_ins(owner: str, /, **makers: Make) -> list[Target]:
    """Return targets for methods of the class `owner`, each with its maker: see `stand_in`."""
    return [stand_in(f"{owner}.{name}", make) for name, make in makers.items()]


def outermost(_cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
    """Count every call that is not part of another cache's lookup."""
    return None if _layer() else (None, args, kwargs)


def anything(_cache: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked | None:
    """Count every call, including parts of another cache's lookup."""
    return None, args, kwargs


def counts(
    library: str,
    answer: Answer,
    *,
    ask: Ask = outermost,
    layers: Any = ITSELF,
    awaited: bool = False,
) -> Make:
    """Return a maker of stand-ins that count the lookups of a method of `library`.

    Caches that are asked meanwhile count nothing: the layer above them is the library, or with
    `layers=ASKED` the subject that `ask` returned. With `layers=None` they count, too. An `awaited`
    method need not be a coroutine function.
    """
    layers = library if layers is ITSELF else layers
    run = _RUN if layers is None else _RUN_AS_LAYER
    if layers is ASKED:
        run = run.replace("_layers", "_what")
    source = _COUNTING + run + _ANSWER

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(method)
        # A method that is awaited, without being a coroutine function to `inspect`, stays so.
        is_awaited = awaited and not is_async
        call = shaped(
            method,
            as_async(source) if is_awaited else source,
            answer=answer,
            ask=ask,
            faults=faults,
            hide=hide_frame,
            layers=layers,
            leave=leave_layer if is_async or is_awaited else _reset_layer,
            library=library,
            live=live,
            set_layer=_set_layer,
        )
        return shaped(method, _AWAITED, later=call) if is_awaited else call

    return make


def within(around: Around | None = None) -> Make:
    """Return a maker of stand-ins that run a method in a context; default: caches count nothing."""
    if around is None:
        return counts("a layer above", lambda _cache, _asked, result: result, ask=anything)

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(
            method, _WITHIN, around=around, entered=_entered, hide=hide_frame, left=left, live=live
        )

    return make


def _entered(around: Around, *call: Any) -> AbstractContextManager[Any]:
    """Return the context that `around` makes for a call; if that fails, one that does nothing."""
    with faults.guarded("cache.layer"):
        return around(*call)
    return nullcontext()


def after(library: str, note: Note) -> Make:
    """Return a maker of stand-ins that note each result of a method that is not awaited."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(
            method,
            _AFTER,
            faults=faults,
            hide=hide_frame,
            library=library,
            live=live,
            note=note,
        )

    return make


NOTHING: Any = object()
"""A default of ours: a lookup that returns it found nothing. None, or the caller's default, may be
stored in the cache."""


def with_default(args: Any, kwargs: Any, *, ours: bool, unless_none: bool = False) -> Asked:
    """Replace the default of a call `get(key, default)` by `NOTHING`, if it is to be `ours`.

    `unless_none` keeps a default of None. The subject is a pair: the caller's default, and the one
    that the method gets. `kwargs` must belong to this one call.
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
    """Return whether `method` is code of `package` itself, wrapped by no other code.

    Only such a method may get an argument of ours. An override of the program gets the caller's.
    """
    if type(method) is not FunctionType:
        return False
    return str(method.__globals__.get("__name__")).partition(".")[0] == package


def replaced(args: Any, kwargs: Any, place: int, name: str, value: Any) -> tuple[Any, Any]:
    """Return the arguments of a call with `value` for one, by position if it was given so."""
    if len(args) > place:
        return (*args[:place], value, *args[place + 1 :]), kwargs
    return args, {**kwargs, name: value}
