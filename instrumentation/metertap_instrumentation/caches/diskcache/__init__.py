"""diskcache: every lookup in a `Cache`, and so in `FanoutCache`, `Index` and under `memoize`.

All of them call `Cache.get`, which is wrapped. The shards of a `FanoutCache` are one cache, named
as the whole. `Index.setdefault` looks again after storing: only its first look counts. `key in
index` reads the entry, and so do the recipes' locks and averages: these are no lookups.

Evicted are the entries that `_cull` drops by the policy when something is stored, and that `cull`
removes by it: the rows that a transaction passes on for clean-up, counted once it is committed. An
entry that just expired is not evicted, whatever removes it; removing a tag (`evict`) or everything
(`clear`) is the program's own doing.

The statistics in the database are of all processes that share it, so they are neither switched on
nor read. A cache's name is the end of its directory (`shop/prices`), unless that is temporary.

Not seen: a subclass that overrides `get` without calling it. Reading a `Deque`, iterating over an
`Index`'s values and delays by `throttle` count, as in diskcache's own statistics.
"""

from __future__ import annotations

from metertap.caching.adapter import stand_ins
from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.caches.diskcache.evictions import cull, cull_some, expire, transact
from metertap_instrumentation.caches.diskcache.lookups import get, not_a_lookup, setdefault
from metertap_instrumentation.caches.diskcache.meters import FanoutPatchSet, made
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.diskcache"],
    [
        PatchSet(
            "diskcache.core",
            stand_ins(
                "Cache", get=get, _transact=transact, _cull=cull_some, cull=cull, expire=expire
            ),
        ),
        FanoutPatchSet("diskcache.fanout", stand_ins("FanoutCache", __init__=made)),
        PatchSet(
            "diskcache.persistent",
            stand_ins("Index", __contains__=not_a_lookup, setdefault=setdefault),
        ),
        PatchSet(
            "diskcache.recipes",
            [
                *stand_ins("Averager", add=not_a_lookup),
                *stand_ins("BoundedSemaphore", acquire=not_a_lookup, release=not_a_lookup),
                *stand_ins("RLock", acquire=not_a_lookup, release=not_a_lookup),
            ],
        ),
    ],
)
