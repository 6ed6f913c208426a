"""Decorators over plain mappings: `@cached({})`, whose lookups no method of a `Cache` sees."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from metertap import faults
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeters
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap.patching.wrapper import Wrapper
from metertap_instrumentation.caches.applications import name_of
from metertap_instrumentation.caches.cachetools.lookups import cache_class

_layer = layer.get
# A plain mapping cannot be held weakly, and has no name: the decorated function stands for it.
meters = ObjectMeters("cachetools", supports=frozenset(), natural_name=name_of)


class _Counted(MutableMapping[Any, Any]):
    """The mapping that a decorator looks in. Its lookups count for the decorated function `of`."""

    __slots__ = ("_meter", "mapping")

    def __init__(self, mapping: Any, of: Any) -> None:
        self.mapping = mapping
        self._meter = meters.of(of)

    def __getitem__(self, key: Any) -> Any:
        try:
            value = self.mapping[key]
        except BaseException as error:
            hide_frame(error)
            if isinstance(error, KeyError) and _layer() is None:
                self._meter.miss()
            raise
        if _layer() is None:
            self._meter.hit()
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        try:
            self.mapping[key] = value
        except BaseException as error:
            hide_frame(error)
            raise

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Store what a function gave, under a lock: no lookup."""
        try:
            return self.mapping.setdefault(key, default)
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
    """Return what a decorator is to look in instead of `cache`: a `Cache` counts by its methods."""
    if cache is None or isinstance(cache, cache_class()):
        return cache
    with faults.guarded("cachetools"):
        return _Counted(cache, of)
    return cache


# From cachetools 8 on a decorated function is an object that reads its attribute `cache` once in
# each call. The call is made on a twin of it, which shares its `__dict__` and whose `cache` counts.

_twins: dict[int, Any] = {}
"""The measured twin of each decorated function, by identity; None for one over a `Cache`."""
_ends: dict[int, weakref.ref[Any]] = {}


@functools.cache
def _twin_class(kind: Any) -> Any:
    class Twin(kind):  # type: ignore[misc]
        __slots__ = ("counted", "of")
        counted: Any
        of: weakref.ref[Any]

        @property
        def cache(self) -> Any:
            held = vars(self)
            cache = held["cache"] if "cache" in held else super().cache
            counted = self.counted
            if type(counted) is not _Counted or counted.mapping is not cache:
                # All objects of a class count under one name, which is that of the method.
                of = self.of() if "cache" in held else held["__wrapped__"]
                counted = self.counted = _counted(cache, of)
                if counted is cache:
                    _twins[id(self.of())] = None
            return counted

    return Twin


def _twin_of(function: Any) -> Any:
    identity = id(function)

    def ended(_reference: Any) -> None:
        _twins.pop(identity, None)
        _ends.pop(identity, None)

    kind: Any = type(function)
    twin = object.__new__(_twin_class(kind))
    twin.__dict__ = vars(function)
    twin.of, twin.counted = weakref.ref(function, ended), None
    _ends[identity], _twins[identity] = twin.of, twin
    return twin


def asked(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what the call of a decorated function looks up in a plain mapping (cachetools 8)."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        twin = self
        if live:
            try:
                twin = _twins[id(self)] or self
            except KeyError:
                with faults.guarded("cachetools"):
                    twin = _twin_of(self)
        try:
            return method(twin, *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return call


# Before, it is a function that closes over the mapping, so the decorator is given another one.


def cached(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cached({})` (before cachetools 8)."""
    return _decorating(wrapped, args, kwargs, _counted)


def cachedmethod(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cachedmethod(lambda self: {})` (before cachetools 8)."""

    def counted(cache: Any, of: Any) -> Any:
        return (lambda instance: _counted(cache(instance), of)) if callable(cache) else cache

    return _decorating(wrapped, args, kwargs, counted)


def _decorating(wrapped: Any, args: Any, kwargs: Any, counted: Callable[[Any, Any], Any]) -> Any:
    decorator = wrapped(*args, **kwargs)  # raises what is wrong with the arguments
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
