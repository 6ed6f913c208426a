"""Decorators over plain mappings: `@cached({})`, whose lookups pass no method of a `Cache`."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from types import FunctionType
from typing import Any, cast

from metertap import faults
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap.patching.wrapper import Wrapper
from metertap_instrumentation.caches.applications import name_of
from metertap_instrumentation.caches.cachetools.lookups import STORING, cache_class

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
_new = object.__new__
# A plain mapping can have no weak reference, and has no name: the decorated function has both.
meters = ObjectMeters("cachetools", supports=frozenset(), natural_name=name_of)


class _Counted(MutableMapping[Any, Any]):
    """The mapping that a decorator uses. Its lookups count for the decorated function.

    They count once: not for a cache that is the mapping, or is asked by it.
    """

    __slots__ = ("_meter", "mapping")

    def __init__(self, mapping: Any, meter: ObjectMeter) -> None:
        self.mapping = mapping
        self._meter = meter

    def __getitem__(self, key: Any) -> Any:
        try:
            if type(self.mapping) is dict:
                value = self.mapping[key]
            else:  # another cache, or a mapping that is built on one
                mark, token = ["cachetools"], None
                try:
                    token = _set_layer(mark)
                    value = self.mapping[key]
                finally:
                    mark.clear()
                    if token:
                        _reset_layer(token)
        except BaseException as error:
            hide_frame(error)
            if isinstance(error, KeyError) and not _layer():
                self._meter.miss()
            raise
        if not _layer():
            self._meter.hit()
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            self.mapping[key] = value
        except BaseException as error:
            hide_frame(error)
            raise

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Store a function's result, under a lock: no lookup."""
        mark, token = [STORING], None
        try:
            try:
                token = _set_layer(mark)
                return self.mapping.setdefault(key, default)
            finally:
                mark.clear()
                if token:
                    _reset_layer(token)
        except BaseException as error:
            hide_frame(error)
            raise

    def __delitem__(self, key: Any) -> None:
        del self.mapping[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.mapping)

    def __len__(self) -> int:
        return len(self.mapping)

    def clear(self) -> None:
        """Empty the mapping at once."""
        self.mapping.clear()


def _counted(cache: Any, of: Any) -> Any:
    """Return what a decorator uses instead of `cache`; a `Cache` counts by its own methods."""
    if cache is None or isinstance(cache, cache_class()):
        return cache
    with faults.guarded("cachetools"):
        return _Counted(cache, meters.of(of))
    return cache


# From cachetools 8 on, a decorated function is an object that reads its attribute `cache` once in
# each call. The call is made on a twin, which shares its `__dict__` and whose `cache` counts. A
# twin exists for one call: a kept one would keep the function, and the object of its method, alive.

_meters: dict[int, ObjectMeter | None] = {}
"""Meters of decorated functions, by identity; None for one over a `Cache`, without a twin."""
_ends: dict[int, weakref.ref[Any]] = {}


@functools.cache
def _twin_class(kind: Any) -> Any:
    class Twin(kind):  # type: ignore[misc]
        __slots__ = ("meter", "of")
        meter: ObjectMeter | None
        of: Any

        @property
        def cache(self) -> Any:
            held = vars(self)
            cache = held["cache"] if "cache" in held else super().cache
            if self.meter is not None and type(cache) is dict:
                return _Counted(cache, self.meter)
            # All objects of a class count under one name, the method's.
            counted = _counted(cache, self.of if "cache" in held else held["__wrapped__"])
            _know(self.of, None if counted is cache else counted._meter)
            return counted

    return Twin


def _know(function: Any, meter: ObjectMeter | None) -> None:
    identity = id(function)

    def ended(_reference: Any) -> None:
        _meters.pop(identity, None)
        _ends.pop(identity, None)

    if identity not in _ends:
        _ends[identity] = weakref.ref(function, ended)
    _meters[identity] = meter


_ASKED = """
{kind} call({parameters}):
    {first} = _twin({first}) if _live else {first}
    try:
        return {call}
    except BaseException as _error:
        _hide(_error)
        raise
"""


def asked(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the lookups of a decorated function's call in a plain mapping (cachetools 8)."""
    if not cast(FunctionType, method).__code__.co_argcount:
        return _asked_with_any(method, live)
    return shaped(method, _ASKED, hide=hide_frame, live=live, twin=_twin_of)


def _asked_with_any(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Do the same for a method that takes any arguments, as wrappers of others do."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if live and args:
            args = (_twin_of(args[0]), *args[1:])
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return call


def _twin_of(function: Any) -> Any:
    try:
        identity = id(function)
        meter = _meters.get(identity)
        if meter is not None or identity not in _meters:
            kind: Any = type(function)
            twin = _new(_twin_class(kind))
            twin.__dict__ = vars(function)
            twin.of, twin.meter = function, meter
            return twin
    except Exception as fault:
        faults.fault("cachetools", fault)
    return function


# In older versions it is a function with the mapping in its closure, so the decorator gets another.


def cached(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cached({})` (before cachetools 8)."""
    return _decorating(wrapped, args, kwargs, _counted)


def cachedmethod(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cachedmethod(lambda self: {})` (before cachetools 8)."""

    def counted(cache: Any, of: Any) -> Any:
        return (lambda instance: _counted(cache(instance), of)) if callable(cache) else cache

    return _decorating(wrapped, args, kwargs, counted)


def _decorating(wrapped: Any, args: Any, kwargs: Any, counted: Callable[[Any, Any], Any]) -> Any:
    decorator = wrapped(*args, **kwargs)  # raises for wrong arguments
    cache = args[0] if args else kwargs["cache"]
    if isinstance(cache, cache_class()):
        return decorator

    def decorate(_decorator: Any, _instance: Any, functions: Any, named: Any) -> Any:
        if named or len(functions) != 1:
            return decorator(*functions, **named)
        new = counted(cache, functions[0])
        made = (wrapped(new, *args[1:], **kwargs) if args else wrapped(**{**kwargs, "cache": new}))(
            *functions
        )
        if "cache" in vars(made):
            made.cache = cache
        return made

    return Wrapper(decorator, decorate)
