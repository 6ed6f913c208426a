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

from metertap import faults
from metertap.caching.meters import ObjectMeters, counting, layer
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_EMBEDDINGS = "redisvl.extensions.cache.embeddings.embeddings"
_SEMANTIC = "redisvl.extensions.cache.llm.semantic"


def _name(cache: Any) -> str | None:
    name = cache.name  # of the index
    return name if isinstance(name, str) and name else None


_layer = layer.get
meters = ObjectMeters("redisvl", supports=frozenset(), natural_name=_name)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    return [
        PatchSet(
            _EMBEDDINGS,
            [
                Target("EmbeddingsCache.get_by_key", get),
                Target("EmbeddingsCache.aget_by_key", aget),
                Target("EmbeddingsCache.mget_by_keys", get),
                Target("EmbeddingsCache.amget_by_keys", aget),
            ],
        ),
        PatchSet(
            _SEMANTIC,
            [Target("SemanticCache.check", check), Target("SemanticCache.acheck", acheck)],
        ),
    ]


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.redisvl"],
    _patch_sets,
    unverified=("SemanticCache: it was not run, for it needs a redis with vector search",),
)


def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.get_by_key(key)` and `cache.mget_by_keys(keys)`."""
    if _layer() is not None:
        return wrapped(*args, **kwargs)
    try:
        with counting():
            found = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redisvl"):
            hide_frame(error)
        raise
    with faults.guarded("redisvl"):
        _count(instance, found)
    return found


async def aget(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.aget_by_key(key)` and `await cache.amget_by_keys(keys)`."""
    if _layer() is not None:
        return await wrapped(*args, **kwargs)
    try:
        with counting():
            found = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redisvl"):
            hide_frame(error)
        raise
    with faults.guarded("redisvl"):
        _count(instance, found)
    return found


def check(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.check(prompt)`."""
    try:
        found = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redisvl"):
            hide_frame(error)
        raise
    with faults.guarded("redisvl"):
        if _layer() is None:
            _count(instance, bool(found) or None)
    return found


async def acheck(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.acheck(prompt)`."""
    try:
        found = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redisvl"):
            hide_frame(error)
        raise
    with faults.guarded("redisvl"):
        if _layer() is None:
            _count(instance, bool(found) or None)
    return found


def _count(instance: Any, found: Any) -> None:
    meter = meters.of(instance)
    for item in found if isinstance(found, list) else (found,):
        if item is None:
            meter.miss()
        else:
            meter.hit()
