"""redisvl: lookups in embeddings caches and in semantic caches.

`get`, `mget` and similar methods call `get_by_key`, `mget_by_keys` and their async twins, which are
wrapped: each key is a lookup, and None is a miss. `SemanticCache.check` and `acheck` are one lookup
each, and an empty list is a miss. The embeddings cache that a vectorizer asks meanwhile is another
cache with its own lookups, so a check does not hide the caches below.

Not run in tests: `SemanticCache`, which needs a redis with vector search. Not seen: LangCache,
which is a service; what redis expires or evicts.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from metertap.caching.adapter import counts, stand_ins
from metertap.caching.meters import ObjectMeters
from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

# The cache's name is that of its index.
meters = ObjectMeters("redisvl", supports=frozenset(), natural_name=attrgetter("name"))


def _found(cache: Any, _asked: None, found: Any) -> Any:
    meter = meters.of(cache)
    for item in found if isinstance(found, list) else (found,):
        (meter.miss if item is None else meter.hit)()
    return found


def _checked(cache: Any, _asked: None, found: Any) -> Any:
    meter = meters.of(cache)
    (meter.hit if found else meter.miss)()
    return found


get = counts("redisvl", _found)
"""`cache.get_by_key(key)` and `cache.mget_by_keys(keys)`, awaited or not."""
check = counts("redisvl", _checked, layers=None)
"""`cache.check(prompt)`, awaited or not."""


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.redisvl"],
    [
        PatchSet(
            "redisvl.extensions.cache.embeddings.embeddings",
            stand_ins(
                "EmbeddingsCache",
                get_by_key=get,
                aget_by_key=get,
                mget_by_keys=get,
                amget_by_keys=get,
            ),
        ),
        PatchSet(
            "redisvl.extensions.cache.llm.semantic",
            stand_ins("SemanticCache", check=check, acheck=check),
        ),
    ],
    unverified=("SemanticCache: it was not run, for it needs a redis with vector search",),
)
