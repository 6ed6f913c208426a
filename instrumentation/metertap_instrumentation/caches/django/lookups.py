"""The methods of backends: what they look up, and whether it was there."""

from __future__ import annotations

from collections.abc import Sized
from contextvars import ContextVar
from typing import Any

from metertap import faults
from metertap.caching.meters import counting, layer
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.django.meters import meters

_NOTHING: Any = object()
_KNOWN = ("django.core.cache.backends.", "diskcache.")
_DEFAULT = 1  # its place among the arguments of `get`

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
_find = meters.find


class _Lookup:
    """The layer of a lookup in `cache`; `found` is what the parents' methods said, if asked."""

    __slots__ = ("cache", "found")

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.found: bool | None = None


class _Once:
    """A `get_or_set` of one key, which is looked up once however often it is asked for."""

    __slots__ = ("asked", "looked")

    def __init__(self, *asked: Any) -> None:
        self.asked = asked
        self.looked = False


_once: ContextVar[_Once | None] = ContextVar("metertap_django_once", default=None)


def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get(key, default)`."""
    default = given = lookup = None
    try:
        lookup = _new_lookup(instance)
        if lookup is not None:
            default = given = args[_DEFAULT] if len(args) > _DEFAULT else kwargs.get("default")
            if wrapped.__module__.startswith(_KNOWN):
                given = _NOTHING
                if len(args) > _DEFAULT:
                    args = (*args[:_DEFAULT], _NOTHING, *args[_DEFAULT + 1 :])
                else:
                    kwargs = {**kwargs, "default": _NOTHING}
    except Exception as fault:
        faults.fault("django", fault)
    try:
        if lookup is None:
            return wrapped(*args, **kwargs)
        token = _set_layer(lookup)  # as `counting` does, which takes its time
        try:
            value = wrapped(*args, **kwargs)
        finally:
            _reset_layer(token)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    found = value is not given
    if value is _NOTHING:
        value = default
    elif type(value) is tuple and value and value[0] is _NOTHING:  # diskcache's, with its tag
        value, found = (default, *value[1:]), False
    _looked_up(lookup, found, args, kwargs)
    return value


async def aget(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget(key, default)`: asks `get`, in a thread, unless a backend can do better."""
    lookup = default = None
    with faults.guarded("django"):
        lookup = _new_lookup(instance)
        default = args[_DEFAULT] if len(args) > _DEFAULT else kwargs.get("default")
    try:
        if lookup is None:
            return await wrapped(*args, **kwargs)
        with counting(lookup):
            value = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    _looked_up(lookup, value is not default, args, kwargs)
    return value


def get_many(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get_many(keys)`: its answer lacks what was not there."""
    asked: list[Any] | None = None
    with faults.guarded("django"):
        if _layer() is None:
            asked, args, kwargs = _keys(args, kwargs)
    try:
        if asked is None:
            return wrapped(*args, **kwargs)
        with counting(instance):
            found = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    _found_of(instance, asked, found)
    return found


async def aget_many(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget_many(keys)`."""
    asked: list[Any] | None = None
    with faults.guarded("django"):
        if _layer() is None:
            asked, args, kwargs = _keys(args, kwargs)
    try:
        if asked is None:
            return await wrapped(*args, **kwargs)
        with counting(instance):
            found = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    _found_of(instance, asked, found)
    return found


def get_or_set(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get_or_set(key, default)`. The default may be a function, with lookups of its own."""
    token = _once.set(_once_of(instance, args, kwargs))
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    finally:
        with faults.guarded("django"):
            _once.reset(token)


async def aget_or_set(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget_or_set(key, default)`."""
    token = _once.set(_once_of(instance, args, kwargs))
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise
    finally:
        with faults.guarded("django"):
            _once.reset(token)


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Reads an entry to see whether it is there, or to change it."""
    try:
        with counting(instance):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise


async def not_an_async_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """The same, awaited."""
    try:
        with counting(instance):
            return await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("django"):
            hide_frame(error)
        raise


def _new_lookup(cache: Any) -> _Lookup | None:
    """None for what is part of another's lookup."""
    outer = _layer()
    if outer is None or (type(outer) is _Lookup and outer.cache is cache):
        return _Lookup(cache)
    return None


def _looked_up(lookup: _Lookup, found: bool, args: Any, kwargs: Any) -> None:
    try:
        if lookup.found is not None:
            found = lookup.found
        outer = _layer()
        if type(outer) is _Lookup:
            outer.found = found or outer.found or False
            return
        once = _once.get()
        if once is not None and once.asked == _asked(lookup.cache, args, kwargs, 2):
            if once.looked:
                return
            once.looked = True
        _count(lookup.cache, found)
    except Exception as fault:
        faults.fault("django", fault)


def _count(cache: Any, found: bool) -> None:
    meter = _find(id(cache)) or meters.of(cache)
    if found:
        meter.hit()
    else:
        meter.miss()


def _asked(cache: Any, args: Any, kwargs: Any, version: int) -> tuple[Any, ...]:
    """What a call asks for; `version` is that argument's place."""
    return (
        id(cache),
        args[0] if args else kwargs.get("key"),
        args[version] if len(args) > version else kwargs.get("version"),
    )


def _once_of(cache: Any, args: Any, kwargs: Any) -> _Once:
    return _Once(*_asked(cache, args, kwargs, 3))


def _keys(args: Any, kwargs: Any) -> tuple[list[Any], Any, Any]:
    """The keys that are asked for, and the arguments to call with: an iterator is read once."""
    keys = args[0] if args else kwargs["keys"]
    if isinstance(keys, Sized):
        return list(keys), args, kwargs  # type: ignore[call-overload]
    asked: list[Any] = []

    def noted(key: Any) -> Any:
        asked.append(key)
        return key

    passed = map(noted, keys)  # no frame of ours between the program's iterator and its reader
    return asked, *(((passed, *args[1:]), kwargs) if args else (args, {**kwargs, "keys": passed}))


def _found_of(cache: Any, asked: list[Any], found: Any) -> None:
    with faults.guarded("django"):
        for key in asked:
            _count(cache, key in found)
