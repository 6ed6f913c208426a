"""dogpile.cache: `get`, `get_multi`, `get_or_create` and the rest of a `CacheRegion`'s lookups.

A region's decorators (`cache_on_arguments`) and Mako's plugin call these methods, on every backend
and through every proxy. What `_get_from_backend` and `_get_multi_from_backend` ask (redis) is part
of the lookup, and asking whether a key is locked is none. A creator is the program's own code:
lookups in other caches count there.

`get` is a miss if the program gets NO_VALUE: the entry is missing, expired or invalidated.
`get_or_create` is a miss if it starts a creator, which `_log_time` surrounds; with an
`async_creation_runner` it returns the old value and is a miss all the same. Waiting for another's
creator, or getting the old value meanwhile, is a hit. `Lock._enter_create` decides that for each
key. `get_or_create_multi` looks a key up once, however often it is given.

A region's name is its `name`, else that of the variable that holds it. Not seen: evictions
(backends expire nothing, or in the server); direct calls of `region.backend`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from operator import attrgetter
from typing import Any

from metertap.caching.adapter import after, counts, is_own, stand_ins, within
from metertap.caching.getting import gets
from metertap.caching.layers import layer, setting
from metertap.caching.meters import ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live, Make, stand_in
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_layer = layer.get
KEEPERS.add("dogpile")


meters = ObjectMeters("dogpile", supports=frozenset(), natural_name=attrgetter("name"))


def _count(region: Any, *, found: bool) -> None:
    meter = meters.of(region)
    (meter.hit if found else meter.miss)()


def _lookup(found: Callable[[Any, Any], Sequence[bool]]) -> Make:
    """Count a method's lookups. `found` returns, by the result, whether each key was there."""

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        nothing = sys.modules["dogpile.cache.api"].NO_VALUE

        def answered(region: Any, _asked: None, result: Any) -> Any:
            for each in found(result, nothing):
                _count(region, found=each)
            return result

        return counts("dogpile", answered, layers=None)(method, live)

    return make


_get = _lookup(lambda value, nothing: [value is not nothing])


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `region.get(key)`."""
    if not is_own(method, "dogpile"):
        return _get(method, live)
    nothing = sys.modules["dogpile.cache.api"].NO_VALUE
    return gets(method, live, meters, _get, meter_of=meters.of, nothing=nothing)


get_multi = _lookup(lambda values, nothing: [value is not nothing for value in values])
"""`region.get_multi(keys)`."""
get_value_metadata = _lookup(lambda value, _nothing: [value is not None])
"""`region.get_value_metadata(key)`."""
backend = within()
"""Wraps the backend's part of a lookup, including locks: redis reads for both."""


class _Creation(setting):
    """One `get_or_create`, or one of `many` keys, in progress in this context."""

    __slots__ = ("many", "region", "started")

    def __init__(self, region: Any, *, many: bool) -> None:
        super().__init__(_creation, None if _layer() else self)
        self.region = region
        self.many = many
        self.started = False


_creation: ContextVar[_Creation | None] = ContextVar("metertap_dogpile_creation", default=None)
get_or_create = within(lambda region, *_call: _Creation(region, many=False))
"""`region.get_or_create(key, creator)`."""
get_or_create_multi = within(lambda region, *_call: _Creation(region, many=True))
"""`region.get_or_create_multi(keys, creator)`."""


def _starts(region: Any, *_call: Any) -> None:
    creation = _creation.get()
    if creation is not None and not creation.started:
        creation.started = True
        if not creation.many:  # else each key's lock was entered before
            _count(region, found=False)


def _decided(lock: Any, result: Any, *_call: Any) -> None:
    """Count one key, unless its creator ran here, and has counted it."""
    creation = _creation.get()
    if creation is not None and not creation.started:
        nobody = result is sys.modules["dogpile.lock"].NOT_REGENERATED
        _count(creation.region, found=nobody or not lock._is_expired(result[1]))


creator = after("dogpile", _starts)
"""Notes each call of a creator. It may raise: the miss is counted before."""
enter_create = after("dogpile", _decided)
"""Notes the decision whether a key's value is created, and by whom."""


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.dogpile"],
    [
        PatchSet(
            "dogpile.cache.region",
            [
                *stand_ins(
                    "CacheRegion",
                    get=get,
                    get_multi=get_multi,
                    get_or_create=get_or_create,
                    get_or_create_multi=get_or_create_multi,
                    _log_time=creator,
                    _get_from_backend=backend,
                    _get_multi_from_backend=backend,
                    key_is_locked=backend,
                ),
                # From 1.3 on.
                stand_in("CacheRegion.get_value_metadata", get_value_metadata, optional=True),
            ],
        ),
        PatchSet("dogpile.lock", stand_ins("Lock", _enter_create=enter_create)),
    ],
)
