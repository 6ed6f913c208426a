"""cachetools: every lookup in a `Cache` of any kind, `@cached` and `@cachedmethod` included.

`__getitem__` is wrapped in each class that has its own, for they bind `Cache.__getitem__` as a
default argument and never look it up again. `get` and `setdefault` end there when they hit, so of
them only misses are counted. `pop`, `popitem` and eviction end there too: what they read is no
lookup, nor is the `setdefault` by which a decorator with a lock stores what its function gave. An
entry that `__setitem__` drops to make room is an eviction, one that is too old is none, whatever
drops it; a value that is larger than the cache is a rejection.

Not seen: a subclass that overrides `__getitem__` without calling it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from metertap import faults
from metertap.caching.meters import ObjectMeter, ObjectMeters, counting, layer
from metertap.patching.patch_set import Live, PatchSet, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_MODULE = "cachetools"
_KINDS = ("FIFOCache", "LFUCache", "LRUCache", "RRCache", "TTLCache", "TLRUCache")
_NOTHING: Any = object()
_TOO_LARGE = ("value too large",)
_STORING = "a decorator stores"
"""The layer while it does. Its lookup was counted before it called the function."""
_BETWEEN = ("metertap", "metertap_instrumentation", "wrapt")
"""Packages that may stand between a decorator and the method that it calls."""

_layer = layer.get
meters = ObjectMeters("cachetools")
_find = meters.find
_making = ObjectMeters("cachetools")
"""Of classes that make up what they lack (`__missing__`): a miss has an answer there, too."""


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    targets = [
        stand_in("Cache.__getitem__", getitem_of_known),
        Target("Cache.__setitem__", setitem),
        Target("Cache.get", get),
        Target("Cache.pop", not_a_lookup),
        Target("Cache.popitem", popitem),
        Target("Cache.setdefault", setdefault),
    ]
    for kind in _KINDS:
        targets += [
            stand_in(f"{kind}.__getitem__", getitem_of_known, own=True),
            Target(f"{kind}.__setitem__", setitem, own=True),
            Target(f"{kind}.popitem", popitem, own=True),
            Target(f"{kind}.expire", not_a_lookup, own=True),
        ]
    return [PatchSet(_MODULE, targets)]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.cachetools"], _patch_sets)


def getitem(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache[key]`."""
    meter = _find(id(instance))
    if meter is None:
        with faults.guarded("cachetools"):
            if type(instance).__missing__ is _cache_class().__missing__:
                meter = meters.of(instance)
        if meter is None:
            return _getitem_or_missing(wrapped, instance, args, kwargs)
    try:
        value = wrapped(*args, **kwargs)
    except KeyError as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
            if _layer() is None:
                meter.miss()
        raise
    if _layer() is None:
        meter.hit()
    return value


def getitem_of_known(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """The same for a cache that has a meter already, without what wrapt's proxy costs."""

    def call(self: Any, key: Any, *rest: Any, **named: Any) -> Any:
        if not live:
            return method(self, key, *rest, **named)
        meter = _find(id(self))
        if meter is None or rest or named:
            return getitem(functools.partial(method, self), self, (key, *rest), named)
        try:
            value = method(self, key)
        except KeyError as error:
            with faults.guarded("cachetools"):
                hide_frame(error)
                if _layer() is None:
                    meter.miss()
            raise
        if _layer() is None:
            meter.hit()
        return value

    return call


def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get(key, default)`: what it finds, `__getitem__` has counted."""
    if _layer() is not None or len(args) > 2 or kwargs.keys() - {"default"} or not args:
        return wrapped(*args, **kwargs)
    value = wrapped(args[0], _NOTHING)
    if value is not _NOTHING:
        return value
    with faults.guarded("cachetools"):
        _meter_of(instance).miss()
    return args[1] if len(args) == 2 else kwargs.get("default")


def setdefault(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.setdefault(key, default)`: what it finds, `__getitem__` has counted."""
    found, stores = True, False
    if _layer() is None:
        with faults.guarded("cachetools"):
            stores = _is_for_a_decorator(sys._getframe())
        if not stores:
            with contextlib.suppress(Exception):  # of the key: the call itself will say so
                found = (args[0] if args else kwargs["key"]) in instance
    try:
        if stores:
            with counting(_STORING):
                return wrapped(*args, **kwargs)
        value = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
        raise
    if not found:
        with faults.guarded("cachetools"):
            _meter_of(instance).miss()
    return value


def setitem(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache[key] = value`: entries that go meanwhile are evicted."""
    try:
        with counting(_Setting(instance)):
            return wrapped(*args, **kwargs)
    except ValueError as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
            if error.args == _TOO_LARGE and (_layer() is None or _layer() is _STORING):
                _meter_of(instance).rejected()
        raise


def popitem(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.popitem()`: the program's own, or to make room."""
    outer = _layer()
    try:
        with counting():
            item = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
        raise
    with faults.guarded("cachetools"):
        if isinstance(outer, _Setting) and outer.cache is instance:
            _meter_of(instance).evicted()
    return item


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.pop(key)` and `cache.expire()` read what they remove."""
    try:
        with counting():
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
        raise


class _Setting:
    """The layer while an entry is put into `cache`."""

    __slots__ = ("cache",)

    def __init__(self, cache: Any) -> None:
        self.cache = cache


def _getitem_or_missing(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """The same where a miss has an answer: whether the key is there has to be asked before."""
    found = None
    with faults.guarded("cachetools"):
        if _layer() is None:
            found = (args[0] if args else kwargs["key"]) in instance
    try:
        value = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("cachetools"):
            hide_frame(error)
            _count(instance, found)
        raise
    with faults.guarded("cachetools"):
        _count(instance, found)
    return value


def _count(instance: Any, found: bool | None) -> None:
    if found is not None:
        meter = _meter_of(instance)
        if found:
            meter.hit()
        else:
            meter.miss()


def _meter_of(instance: Any) -> ObjectMeter:
    makes_up = type(instance).__missing__ is not _cache_class().__missing__
    return (_making if makes_up else meters).of(instance)


def _cache_class() -> Any:
    return sys.modules[_MODULE].Cache


def _is_for_a_decorator(frame: FrameType | None) -> bool:
    """Whether `setdefault`, which runs in `frame`, was called by cachetools itself.

    Its frames are asked, for a decorator is not always made where it could be patched.
    """
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name != "setdefault" and package not in _BETWEEN:
            return package == _MODULE
        frame = frame.f_back
    return False
