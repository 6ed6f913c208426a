"""The methods of `Cache` and its subclasses: lookups, evictions and rejections.

`[]` and `get` are written out instead of being made by `caching.adapter`: a bare lookup takes
150 ns, and its general shape would add twice as much to them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from metertap import faults
from metertap.caching.adapter import is_own
from metertap.caching.layers import counting, layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.caching.names import KEEPERS
from metertap.costs import reuse
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

MODULE = "cachetools"
_NOTHING: Any = object()
_TOO_LARGE = ("value too large",)
_STORING = "a decorator stores"
"""The layer while a decorator stores a result, whose lookup was counted before."""
_BETWEEN = ("metertap", "metertap_instrumentation", "wrapt")
"""Packages that may stand between a decorator and the method that it calls."""

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
KEEPERS.add("cachetools")  # a decorator that the program keeps closes over the cache, too
meters = ObjectMeters("cachetools")
_find = meters.find
_making = ObjectMeters("cachetools")
"""Meters of caches whose class makes up missing entries (`__missing__`): a miss returns a value."""


def seen(make: Make, *, only_misses: bool = False) -> Make:
    """Also take the keys that are looked up, where settings ask how often they come again.

    What a method finds by way of another is taken there: of such a method `only_misses` are taken.
    """

    def made(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        lookup = make(method, live)
        if not reuse.is_looked_for():
            return lookup

        def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            if live and _layer() is None and args:
                with faults.guarded("cache reuse"):
                    if not only_misses or args[0] not in self:
                        reuse.saw(_meter_of(self), args[0])
            try:
                return lookup(self, *args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise

        return call

    return made


def getitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `cache[key]`."""

    def call(self: Any, key: Any, *rest: Any, **named: Any) -> Any:
        meter = _find(id(self))
        try:
            if meter is None and live:
                with faults.guarded("cachetools"):
                    if not _makes_up(self):
                        meter = meters.of(self)
                    elif _layer() is None:
                        # Where a miss has an answer, the cache is asked for the key before.
                        _counted(self, key in self)
            if meter is None or not live:
                return method(self, key, *rest, **named)
            value = method(self, key, *rest, **named) if rest or named else method(self, key)
        except BaseException as error:
            hide_frame(error)
            if live and meter is not None and isinstance(error, KeyError) and _layer() is None:
                meter.miss()
            raise
        if _layer() is None:
            meter.hit()
        return value

    return call


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the misses of `cache.get(key, default)`: what it finds, `__getitem__` has counted."""
    own = is_own(method, MODULE)

    def call(self: Any, key: Any, default: Any = None) -> Any:
        given, missing = default, False
        if live and _layer() is None:
            if own:
                given = _NOTHING
            else:
                with contextlib.suppress(Exception):  # of the key: the call itself will say so
                    missing = key not in self
        try:
            value = method(self, key, given)
        except BaseException as error:
            hide_frame(error)
            raise
        if value is _NOTHING:
            value = default
        elif not missing:
            return value
        meter = _find(id(self))
        if meter is None:
            with faults.guarded("cachetools"):
                meter = _meter_of(self)
        if meter is not None:
            meter.miss()
        return value

    return call


def setdefault(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the misses of `cache.setdefault(key, default)`; a hit ends in `__getitem__`."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        found, stores = True, False
        if live and _layer() is None:
            with faults.guarded("cachetools"):
                stores = _is_for_a_decorator(sys._getframe())
            if not stores:
                with contextlib.suppress(Exception):  # of the key: the call itself will say so
                    found = (args[0] if args else kwargs["key"]) in self
        try:
            if stores:
                with counting(_STORING):
                    return method(self, *args, **kwargs)
            value = method(self, *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        if not found:
            with faults.guarded("cachetools"):
                _meter_of(self).miss()
        return value

    return call


def setitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Put a layer around `cache[key] = value`: what `popitem` drops inside of it is evicted."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        try:
            if not live:
                return method(self, *args, **kwargs)
            token = _set_layer(_Setting(self))
            try:
                return method(self, *args, **kwargs)
            finally:
                _reset_layer(token)
        except BaseException as error:
            hide_frame(error)
            if live and isinstance(error, ValueError) and error.args == _TOO_LARGE:
                with faults.guarded("cachetools"):
                    if _layer() is None or _layer() is _STORING:
                        _meter_of(self).rejected()
            raise

    return call


def popitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what `cache.popitem()` evicts, if it makes room and is not the program's own call."""

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        outer = _layer()
        try:
            with counting():
                item = method(self, *args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        if live and type(outer) is _Setting and outer.cache is self:
            with faults.guarded("cachetools"):
                _meter_of(self).evicted()
        return item

    return call


class _Setting:
    """The layer while an entry is put into `cache`."""

    __slots__ = ("cache",)

    def __init__(self, cache: Any) -> None:
        self.cache = cache


def _counted(cache: Any, found: bool) -> None:
    meter = _meter_of(cache)
    (meter.hit if found else meter.miss)()


def _makes_up(cache: Any) -> bool:
    return type(cache).__missing__ is not cache_class().__missing__


def _meter_of(cache: Any) -> ObjectMeter:
    return (_making if _makes_up(cache) else meters).of(cache)


def cache_class() -> Any:
    """Return the class `cachetools.Cache`, which is imported where anything is looked up."""
    return sys.modules[MODULE].Cache


def _is_for_a_decorator(frame: FrameType | None) -> bool:
    """Return whether `setdefault`, which runs in `frame`, was called by cachetools itself.

    Its frames are asked, for a decorator is not always made where it could be patched.
    """
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name != "setdefault" and package not in _BETWEEN:
            return package == MODULE
        frame = frame.f_back
    return False
