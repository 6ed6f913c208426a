"""Lookups of one entry, and reads that are none."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.caching.adapter import NOTHING, Ask, Asked, counts, is_own, with_default, within
from metertap.caching.getting import gets
from metertap.caching.layers import by, counting, layer
from metertap.patching.targets import Live
from metertap_instrumentation.caches.diskcache.meters import meter_of, meters

_layer = layer.get
_WITH_MORE = frozenset({"expire_time", "tag"})
"""Parameters with which the result is a tuple that contains the value."""


class _First:
    """The layer of an operation that looks an entry up more than once."""

    __slots__ = ("_looked",)

    def __init__(self) -> None:
        self._looked = False

    def is_first(self) -> bool:
        looked, self._looked = self._looked, True
        return not looked


def _asks(*, known: bool) -> Ask:
    """Return the `Ask` of a lookup of one key.

    Only diskcache's own method (`known`) gets a default of ours: an override may not take it.
    """

    def ask(_cache: Any, args: Any, kwargs: Any) -> Asked | None:
        outer = by()
        if outer is not None and not (type(outer) is _First and outer.is_first()):
            return None
        return with_default(args, kwargs, ours=known)

    return ask


def _answered(cache: Any, defaults: tuple[Any, Any], value: Any) -> Any:
    default, given = defaults
    found = True
    if value is given:
        value, found = default, False
    elif given is NOTHING and type(value) is tuple and value and value[0] is given:
        # The value may come with its tag or its expiry time.
        value, found = (default, *value[1:]), False
    try:  # the program gets its own default in any case
        meter = meter_of(cache)
        (meter.hit if found else meter.miss)()
    except Exception as fault:
        faults.fault("diskcache", fault)
    return value


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `cache.get(key, default)`, in which no other lookup is made."""
    known = is_own(method, "diskcache")
    general = counts("diskcache", _answered, ask=_asks(known=known), layers=None)
    if not known:
        return general(method, live)
    return gets(method, live, meters, general, meter_of=meter_of, unless=_WITH_MORE)


not_a_lookup = within()
"""Reads entries, but not as a lookup: to see whether they exist, or to change them."""
setdefault = within(lambda *_call: contextlib.nullcontext() if _layer() else counting(_First()))
"""`index.setdefault(key, default)`."""
