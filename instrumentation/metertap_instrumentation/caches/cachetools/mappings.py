"""Decorators over plain mappings: `@cached({})`, whose lookups no method of a `Cache` sees."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import wrapt

from metertap import faults
from metertap.caching.meters import ObjectMeter, ObjectMeters, layer
from metertap.patching.patch_set import Live, Wrapper
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.applications import name_of
from metertap_instrumentation.caches.cachetools.lookups import cache_class

_layer = layer.get
# A plain mapping cannot be held weakly, and has no name: the decorated function stands for it.
meters = ObjectMeters("cachetools", supports=frozenset(), natural_name=name_of)
_on_caches: weakref.WeakSet[Any] = weakref.WeakSet()
"""Decorated methods of objects that keep their results in a `Cache`."""


# Generic in wrapt's type stubs only.
if TYPE_CHECKING:
    _Proxy = wrapt.ObjectProxy[Any]
else:
    _Proxy = wrapt.ObjectProxy


class _Counted(_Proxy):
    """A mapping whose lookups count for the decorated function `of`."""

    def __init__(self, mapping: Any, of: Any) -> None:
        super().__init__(mapping)
        self._self_of = of

    def __getitem__(self, key: Any) -> Any:
        found = False
        try:
            value = self.__wrapped__[key]
            found = True
        except BaseException as error:
            hide_frame(error)
            if not isinstance(error, KeyError):
                raise
            self._self_looked_up(found)
            raise
        self._self_looked_up(found)
        return value

    def _self_looked_up(self, found: bool) -> None:
        if _layer() is None:
            with faults.guarded("cachetools"):
                meter: ObjectMeter = meters.of(self._self_of)
                if found:
                    meter.hit()
                else:
                    meter.miss()


class _Asked:
    """A decorated function whose mapping counts, for as long as one call of it lasts."""

    __slots__ = ("_of",)

    def __init__(self, of: Any) -> None:
        object.__setattr__(self, "_of", of)

    @property
    def cache(self) -> Any:
        """What the decorator looks in: read once a call, for a method's is made by the program."""
        cache = self._of.cache
        if isinstance(cache, cache_class()):  # its own methods count
            if "cache" not in vars(self._of):
                _on_caches.add(self._of)
            return cache
        # All objects of a class share one line: that of the method.
        return _Counted(cache, self._of if "cache" in vars(self._of) else self._of.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._of, name, value)


def asked(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what the call of a decorated function looks up in a plain mapping (cachetools 8)."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            if not live or _stands_on_cache(self):
                return method(self, *args, **kwargs)
            return method(_Asked(self), *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    return call


def _stands_on_cache(function: Any) -> bool:
    held = vars(function)
    if "cache" in held:
        return isinstance(held["cache"], cache_class())
    return function in _on_caches


def cached(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cached({})` (before cachetools 8)."""
    cache = args[0] if args else kwargs.get("cache")
    if cache is None or isinstance(cache, cache_class()):
        return wrapped(*args, **kwargs)
    return _decorating(wrapped, args, kwargs, lambda of: _Counted(cache, of))


def cachedmethod(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """Count the lookups of `@cachedmethod(lambda self: {})` (before cachetools 8)."""
    cache = args[0] if args else kwargs.get("cache")

    def counted(of: Any) -> Any:
        def cache_of(instance: Any) -> Any:
            found = cache(instance)
            is_plain = found is not None and not isinstance(found, cache_class())
            return _Counted(found, of) if is_plain else found

        return cache_of

    return (
        _decorating(wrapped, args, kwargs, counted) if callable(cache) else wrapped(*args, **kwargs)
    )


def _decorating(wrapped: Any, args: Any, kwargs: Any, counted: Callable[[Any], Any]) -> Any:
    decorator = wrapped(*args, **kwargs)  # raises what is wrong with the arguments

    def decorate(_decorator: Any, _instance: Any, functions: Any, named: Any) -> Any:
        if named or len(functions) != 1:
            return decorator(*functions, **named)
        (function,) = functions
        cache = counted(function)
        rest = {**kwargs, "cache": cache} if "cache" in kwargs else kwargs
        made = wrapped(*((cache, *args[1:]) if args else ()), **rest)(function)
        if "cache" in vars(made):
            made.cache = args[0] if args else kwargs["cache"]
        return made

    return Wrapper(decorator, decorate)
