"""redisvl: lookups in embeddings caches and in semantic caches.

`get`, `mget` and their like end in `get_by_key`, `mget_by_keys` and their async twins, so those are
wrapped: each key is a lookup, and None is a miss. `SemanticCache.check` and `acheck` are one lookup
each, and an empty list is a miss. The embeddings cache that a vectorizer asks meanwhile is another
cache with lookups of its own, so a check hides nothing that is below it.

Not run here: `SemanticCache`, which needs a redis with vector search. Not seen: LangCache, which is
a service; what redis expires or evicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap.caching.adapter import counts
from metertap.caching.meters import ObjectMeters
from metertap.patching.patch_set import PatchSet, stand_in
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_EMBEDDINGS = "redisvl.extensions.cache.embeddings.embeddings"
_SEMANTIC = "redisvl.extensions.cache.llm.semantic"


def _name(cache: Any) -> str | None:
    name = cache.name  # of the index
    return name if isinstance(name, str) and name else None


meters = ObjectMeters("redisvl", supports=frozenset(), natural_name=_name)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    gets = ("get_by_key", "aget_by_key", "mget_by_keys", "amget_by_keys")
    checks = ("check", "acheck")
    return [
        PatchSet(_EMBEDDINGS, [stand_in(f"EmbeddingsCache.{name}", get) for name in gets]),
        PatchSet(_SEMANTIC, [stand_in(f"SemanticCache.{name}", check) for name in checks]),
    ]


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.redisvl"],
    _patch_sets,
    unverified=("SemanticCache: it was not run, for it needs a redis with vector search",),
)


def _found(cache: Any, _asked: None, found: Any) -> Any:
    meter = meters.of(cache)
    for item in found if isinstance(found, list) else (found,):
        if item is None:
            meter.miss()
        else:
            meter.hit()
    return found


def _checked(cache: Any, _asked: None, found: Any) -> Any:
    meter = meters.of(cache)
    if found:
        meter.hit()
    else:
        meter.miss()
    return found


get = counts("redisvl", _found)
"""`cache.get_by_key(key)` and `cache.mget_by_keys(keys)`, awaited or not."""
check = counts("redisvl", _checked, layers=None)
"""`cache.check(prompt)`, awaited or not."""
