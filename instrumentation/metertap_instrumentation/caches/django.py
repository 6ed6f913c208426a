"""Django's cache framework: `get`, `get_many`, `get_or_set` and their async halves, of any backend.

Each backend has a `get` of its own, so these are wrapped in `BaseCache` and in every class derived
from it: those that exist, and others when `CacheHandler.create_connection` first makes one, which
is how `caches["default"]` gets them. What a lookup asks meanwhile (`get_many` asks `get`, a class
its parent, a backend its redis) is part of it. `has_key`, `in`, `incr` and `incr_version` ask `get`
where a backend has nothing better: no lookups. `get_or_set` looks again once it has stored: its
first look counts.

Django's and diskcache's own `get` are given a default that tells a miss from a stored None. The
program's own may do anything with its default, so it is given the program's; what its parent finds
decides, or else whether it answers with the default.

A cache is called by its alias in `CACHES`: Django makes one backend a thread and alias, all of one
name. Not seen: evictions; a backend class that is made without `caches` and was defined after
`instrument()` (what it takes from Django's own is seen); a `get` that comes from a mixin and does
not call its parent's.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence, Sized
from contextvars import ContextVar
from typing import Any

from metertap import calls, guard
from metertap.caches import ObjectMeters, counting, layer
from metertap.patching import PatchSet, Target, comparable
from metertap.patching_subclasses import SubclassesPatchSet
from metertap_instrumentation.instrumentation import Instrumentation, Version

_NOTHING: Any = object()
_BACKENDS = "django.core.cache.backends"
_KNOWN = (f"{_BACKENDS}.", "diskcache.")
_DEFAULT = 1  # its place among the arguments of `get`

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset


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
_aliases: dict[int, tuple[weakref.ref[Any], str]] = {}


def _alias(cache: Any) -> str | None:
    made = _aliases.get(id(cache))
    if made is not None and made[0]() is cache:
        return made[1]
    handler = sys.modules["django.core.cache"].caches  # it may have been made before us
    return next(
        (alias for alias in handler if getattr(handler._connections, alias, None) is cache), None
    )


meters = ObjectMeters("django", supports=frozenset(), natural_name=_alias)
_find = meters.find


class _Backends(SubclassesPatchSet):
    """`BaseCache` and what derives from it, without a hook on the program's classes."""

    def _hook(self, _base: type) -> None:
        pass

    def adopt(self, cls: type) -> None:
        """`cls` is a backend's: it may be new, and its parents, too."""
        with self._lock:
            if self.status == "installed":
                base = getattr(sys.modules[self.module], self._base_name)
                for parent in reversed(cls.__mro__):
                    if issubclass(parent, base) and parent is not base:
                        self._adopt(parent)


class _Backend(PatchSet):
    """A module with backends, which may be used without `caches`."""

    def follow(self, module: Any) -> None:
        """Adopt what it defines."""
        base = sys.modules[f"{_BACKENDS}.base"].BaseCache
        for found in list(vars(module).values()):
            # Not isinstance: it would ask Django's lazy settings, which may not be set yet.
            if issubclass(type(found), type) and issubclass(found, base):
                _backends.adopt(found)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    kinds = ("db", "dummy", "filebased", "locmem", "memcached", "redis")
    handler = [Target("CacheHandler.create_connection", create_connection)]
    modules = [*(f"{_BACKENDS}.{kind}" for kind in kinds), "diskcache.djangocache"]
    return [
        _backends,
        PatchSet("django.core.cache", handler),
        *(_Backend(module, []) for module in modules),
    ]


def create_connection(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`caches[alias]`, for the first time in a thread."""
    try:
        backend = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    with guard.guarded("django"):
        _backends.adopt(type(backend))
        identity = id(backend)
        made = weakref.ref(backend, lambda ended: _forget(identity, ended))
        _aliases[identity] = made, args[0] if args else kwargs["alias"]
    return backend


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
        guard.fault("django", fault)
    try:
        if lookup is None:
            return wrapped(*args, **kwargs)
        token = _set_layer(lookup)  # as `counting` does, which takes its time
        try:
            value = wrapped(*args, **kwargs)
        finally:
            _reset_layer(token)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
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
    with guard.guarded("django"):
        lookup = _new_lookup(instance)
        default = args[_DEFAULT] if len(args) > _DEFAULT else kwargs.get("default")
    try:
        if lookup is None:
            return await wrapped(*args, **kwargs)
        with counting(lookup):
            value = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    _looked_up(lookup, value is not default, args, kwargs)
    return value


def get_many(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get_many(keys)`: its answer lacks what was not there."""
    asked: list[Any] | None = None
    with guard.guarded("django"):
        if _layer() is None:
            asked, args, kwargs = _keys(args, kwargs)
    try:
        if asked is None:
            return wrapped(*args, **kwargs)
        with counting(instance):
            found = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    _found_of(instance, asked, found)
    return found


async def aget_many(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget_many(keys)`."""
    asked: list[Any] | None = None
    with guard.guarded("django"):
        if _layer() is None:
            asked, args, kwargs = _keys(args, kwargs)
    try:
        if asked is None:
            return await wrapped(*args, **kwargs)
        with counting(instance):
            found = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    _found_of(instance, asked, found)
    return found


def get_or_set(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get_or_set(key, default)`. The default may be a function, with lookups of its own."""
    token = _once.set(_once_of(instance, args, kwargs))
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    finally:
        with guard.guarded("django"):
            _once.reset(token)


async def aget_or_set(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget_or_set(key, default)`."""
    token = _once.set(_once_of(instance, args, kwargs))
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise
    finally:
        with guard.guarded("django"):
            _once.reset(token)


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Reads an entry to see whether it is there, or to change it."""
    try:
        with counting(instance):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise


async def not_an_async_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """The same, awaited."""
    try:
        with counting(instance):
            return await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("django"):
            calls.hide_frame(error)
        raise


_backends = _Backends(
    f"{_BACKENDS}.base",
    "BaseCache",
    {
        "get": get,
        "get_many": get_many,
        "get_or_set": get_or_set,
        "aget": aget,
        "aget_many": aget_many,
        "aget_or_set": aget_or_set,
        **dict.fromkeys(("has_key", "incr", "incr_version"), not_a_lookup),
        **dict.fromkeys(("ahas_key", "aincr", "aincr_version"), not_an_async_lookup),
    },
    target=comparable,  # Django 6.1 asks whether a backend has a method of its own
)

INSTRUMENTATION = Instrumentation(
    name="django",
    distribution="django",
    supported=((4, 2), (7,)),
    patch_sets=_patch_sets,
)


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
        guard.fault("django", fault)


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
    with guard.guarded("django"):
        for key in asked:
            _count(cache, key in found)


def _forget(identity: int, ended: weakref.ref[Any]) -> None:
    if (made := _aliases.get(identity)) is not None and made[0] is ended:
        del _aliases[identity]
