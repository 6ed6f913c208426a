"""Lookups: what asks for one entry, and what only reads one."""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.caching.meters import counting, layer
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.diskcache.meters import meter_of

_NOTHING: Any = object()
_DEFAULT = 1  # its place among the arguments of `get`

_layer = layer.get


def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get(key, default)`, with a default that tells a miss from a stored value."""
    default = None
    counted = False
    with faults.guarded("diskcache"):
        outer = _layer()
        if outer is None or (type(outer) is _First and outer.is_first()):
            counted = True
            if len(args) > _DEFAULT:
                default = args[_DEFAULT]
                args = (*args[:_DEFAULT], _NOTHING, *args[_DEFAULT + 1 :])
            else:
                default = kwargs.get("default")
                kwargs = {**kwargs, "default": _NOTHING}
    try:
        value = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("diskcache"):
            hide_frame(error)
        raise
    if not counted:
        return value
    found = True
    if value is _NOTHING:
        value, found = default, False
    elif type(value) is tuple and value and value[0] is _NOTHING:  # with its tag or expiry
        value, found = (default, *value[1:]), False
    try:
        meter = meter_of(instance)
        if found:
            meter.hit()
        else:
            meter.miss()
    except Exception as fault:
        faults.fault("diskcache", fault)
    return value


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Reads entries to see whether they are there, or to change them."""
    try:
        with counting(instance):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("diskcache"):
            hide_frame(error)
        raise


def setdefault(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """`index.setdefault(key, default)`."""
    try:
        if _layer() is not None:
            return wrapped(*args, **kwargs)
        with counting(_First()):
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("diskcache"):
            hide_frame(error)
        raise


class _First:
    """The layer of an operation that looks more than once for one entry."""

    __slots__ = ("_looked",)

    def __init__(self) -> None:
        self._looked = False

    def is_first(self) -> bool:
        looked, self._looked = self._looked, True
        return not looked
