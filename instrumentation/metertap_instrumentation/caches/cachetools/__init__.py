"""cachetools: every lookup in a `Cache` of any kind, `@cached` and `@cachedmethod` included.

`__getitem__` is wrapped in each class that has its own, since they bind `Cache.__getitem__` as a
default argument and never look it up again. `get` and `setdefault` call it when they hit, so only
their misses are counted. `pop`, `popitem` and evictions call it as well: these are no lookups, nor
is the `setdefault` by which a decorator with a lock stores its function's result. An entry that
`__setitem__` drops to make room is an eviction; an expired one is none, whatever drops it; a value
that is larger than the cache is a rejection.

A decorator may keep its results in a plain mapping instead (`@cached({})`). Such a cache has the
function's name, and counts the lookups of the decorator, as the library's own `cache_info()` does.

Not seen: a subclass that overrides `__getitem__` without calling it; before cachetools 8, a
function that was decorated over a plain mapping before `instrument()`; with cachetools 7, a method
decorated over one.
"""

from __future__ import annotations

from collections.abc import Sequence

from metertap.caching.adapter import within
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target, stand_in
from metertap_instrumentation.caches.cachetools.lookups import (
    MODULE,
    get,
    getitem,
    popitem,
    seen,
    setdefault,
    setitem,
)
from metertap_instrumentation.caches.cachetools.mappings import asked, cached, cachedmethod
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_KINDS = ("FIFOCache", "LFUCache", "LRUCache", "RRCache", "TTLCache", "TLRUCache")
_DECORATED = ("Basic", "Locked", "Condition", "Info", "LockedInfo", "ConditionInfo")


def _patch_sets(version: Version) -> Sequence[PatchSet]:
    targets = [
        stand_in("Cache.__getitem__", seen(getitem)),
        stand_in("Cache.__setitem__", setitem),
        stand_in("Cache.get", seen(get, only_misses=True)),
        stand_in("Cache.pop", within()),  # it reads what it removes, as `expire` does
        stand_in("Cache.popitem", popitem),
        stand_in("Cache.setdefault", seen(setdefault, only_misses=True)),
    ]
    for kind in _KINDS:
        targets += [
            stand_in(f"{kind}.__getitem__", seen(getitem), own=True),
            stand_in(f"{kind}.__setitem__", setitem, own=True),
            stand_in(f"{kind}.popitem", popitem, own=True),
            stand_in(f"{kind}.expire", within(), own=True),
        ]
    if version < (8,):
        targets.append(Target("cached", cached))
        if version < (7,):
            targets.append(Target("cachedmethod", cachedmethod))
        return [PatchSet(MODULE, targets)]
    calls = [stand_in(f"_{kind}Mixin.__call__", asked) for kind in _DECORATED]
    return [PatchSet(MODULE, targets), PatchSet(f"{MODULE}._decorator", calls)]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.cachetools"], _patch_sets)
