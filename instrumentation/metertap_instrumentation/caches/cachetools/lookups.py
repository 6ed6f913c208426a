"""The methods of `Cache` and its subclasses: lookups, evictions and rejections.

`[]` and `get` are written by hand and not by `caching.adapter`: a bare lookup takes 150 ns, and the
general form would add twice as much.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from metertap import faults
from metertap.caching.adapter import is_own
from metertap.caching.layers import by, layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.costs import reuse
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

MODULE = "cachetools"
_NOTHING: Any = object()
_TOO_LARGE = ("value too large",)
_MAKING_ROOM = "an entry is dropped"
_SETTING = "an entry is put"
"""The layer while an entry is put into a cache, which is in the mark as well."""
STORING = "a decorator stores"
"""The layer while a decorator stores a result, whose lookup was counted before."""
_BETWEEN = ("metertap", "metertap_instrumentation", "wrapt")
"""Packages whose frames may be between a decorator and the method that it calls."""

_layer, _set_layer, _reset_layer = layer.get, layer.set, layer.reset
KEEPERS.add("cachetools")  # a decorator that the program keeps has the cache in its closure
meters = ObjectMeters("cachetools")
_find = meters.find
_making = ObjectMeters("cachetools")
"""Meters of caches whose class makes missing entries up (`__missing__`): a miss returns a value."""


_SEEN = """
{kind} call({parameters}):
    if _live and not _layer():
        _saw({first}, {args}, _only_misses)
    try:
        return {call}
    except BaseException as _error:
        _hide(_error)
        raise
"""
_GETITEM = """
{kind} call({parameters}):
    _meter = _find(id({first}))
    try:
        if _meter is None and _live:
            _meter = _first_look({first}, {args})
        if _meter is None or not _live:
            return {call}
        _value = {call}
    except BaseException as _error:
        _hide(_error)
        if _live and _meter is not None and isinstance(_error, KeyError) and not _layer():
            _meter.miss()
        raise
    if not _layer():
        _meter.hit()
    return _value
"""
_SETDEFAULT = """
{kind} call({parameters}):
    _found, _stores = _looked({first}, {args}) if _live and not _layer() else (True, False)
    try:
        if _stores:
            _mark, _token = [_storing], None
            try:
                _token = _set_layer(_mark)
                return {call}
            finally:
                _mark.clear()
                if _token:
                    _reset_layer(_token)
        _value = {call}
    except BaseException as _error:
        _hide(_error)
        raise
    if not _found:
        with _guarded("cachetools"):
            _meter_of({first}).miss()
    return _value
"""
_SETITEM = """
{kind} call({parameters}):
    try:
        if not _live:
            return {call}
        _mark, _token = [_setting, {first}], None
        try:
            _token = _set_layer(_mark)
            return {call}
        finally:
            _mark.clear()
            if _token:
                _reset_layer(_token)
    except BaseException as _error:
        _hide(_error)
        if _live and isinstance(_error, ValueError):
            _refused({first}, _error)
        raise
"""
_POPITEM = """
{kind} call({parameters}):
    _outer, _mark, _token = _layer(), [_making_room], None
    try:
        try:
            _token = _set_layer(_mark)
            _item = {call}
        finally:
            _mark.clear()
            if _token:
                _reset_layer(_token)
    except BaseException as _error:
        _hide(_error)
        raise
    if _live and _outer and _outer[0] is _setting and _outer[1] is {first}:
        with _guarded("cachetools"):
            _meter_of({first}).evicted()
    return _item
"""


def seen(make: Make, *, only_misses: bool = False) -> Make:
    """Also note the keys that are looked up, if the settings ask for reuse distances.

    Keys that a method finds through another one are noted there: of it, `only_misses` are noted.
    """

    def made(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        lookup = make(method, live)
        if not reuse.is_looked_for():
            return lookup
        return shaped(lookup, _SEEN, live=live, only_misses=only_misses, **_NAMES)

    return made


def _saw(cache: Any, args: tuple[Any, ...], only_misses: bool) -> None:
    with faults.guarded("cache reuse"):
        if args and not (only_misses and args[0] in cache):
            reuse.saw(_meter_of(cache), args[0])


def getitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `cache[key]`."""
    return shaped(method, _GETITEM, live=live, **_NAMES)


def _first_look(cache: Any, args: tuple[Any, ...]) -> ObjectMeter | None:
    """Return the meter of a cache that had none; None if `__missing__` answers a miss."""
    with faults.guarded("cachetools"):
        if not _makes_up(cache):
            return meters.of(cache)
        if not _layer():
            # The cache is asked for the key before.
            _counted(cache, args[0] in cache)
    return None


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count the misses of `cache.get(key, default)`; `__getitem__` counts the hits."""
    own = is_own(method, MODULE)

    def call(self: Any, key: Any, default: Any = None) -> Any:
        given, missing = default, False
        if live and not _layer():
            if own:
                given = _NOTHING
            else:
                with contextlib.suppress(Exception):  # by the key: the call itself will raise
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
    """Count the misses of `cache.setdefault(key, default)`; `__getitem__` counts the hits."""
    return shaped(method, _SETDEFAULT, live=live, **_NAMES)


def _looked(cache: Any, args: tuple[Any, ...]) -> tuple[bool, bool]:
    """Return whether `setdefault` will find its key, and whether a decorator stores by it."""
    found, stores = True, False
    with faults.guarded("cachetools"):
        stores = _is_for_a_decorator(sys._getframe())
    if not stores:
        with contextlib.suppress(Exception):  # by the key: the call itself will raise
            found = args[0] in cache
    return found, stores


def setitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Mark `cache[key] = value` as a layer: what `popitem` drops inside it is evicted."""
    return shaped(method, _SETITEM, live=live, **_NAMES)


def _refused(cache: Any, error: ValueError) -> None:
    with faults.guarded("cachetools"):
        if error.args == _TOO_LARGE and by() in (None, STORING):
            _meter_of(cache).rejected()


def popitem(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count what `cache.popitem()` evicts, if it makes room, and the program did not call it."""
    return shaped(method, _POPITEM, live=live, **_NAMES)


def _counted(cache: Any, found: bool) -> None:
    meter = _meter_of(cache)
    (meter.hit if found else meter.miss)()


def _makes_up(cache: Any) -> bool:
    return type(cache).__missing__ is not cache_class().__missing__


def _meter_of(cache: Any) -> ObjectMeter:
    return (_making if _makes_up(cache) else meters).of(cache)


def cache_class() -> Any:
    """Return the class `cachetools.Cache`, which is imported by the time of a lookup."""
    return sys.modules[MODULE].Cache


def _is_for_a_decorator(frame: FrameType | None) -> bool:
    """Return whether cachetools itself called `setdefault`, which runs in `frame`.

    Its frames tell, since a decorator may have been made where it could not be patched.
    """
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name != "setdefault" and package not in _BETWEEN:
            return package == MODULE
        frame = frame.f_back
    return False


_NAMES: dict[str, Any] = {
    "find": _find,
    "first_look": _first_look,
    "guarded": faults.guarded,
    "hide": hide_frame,
    "layer": _layer,
    "looked": _looked,
    "making_room": _MAKING_ROOM,
    "meter_of": _meter_of,
    "refused": _refused,
    "reset_layer": _reset_layer,
    "saw": _saw,
    "set_layer": _set_layer,
    "setting": _SETTING,
    "storing": STORING,
}
"""Names that the sources above use."""
