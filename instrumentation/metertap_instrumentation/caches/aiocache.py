"""aiocache: `get` and `multi_get` of every backend, `@cached` and `@multi_cached` included.

Both are wrapped in `BaseCache`, where all backends have them from; what a backend asks meanwhile
(redis) is part of that lookup. `multi_get` counts each key. aiocache cannot tell a stored None
from nothing, so that is a miss here, too. `@cached_stampede` looks again when it has its lock:
its first miss is put off, so that one call of the function is one lookup. While
`AIOCACHE_DISABLE=1` switches aiocache off nothing is looked up.

A cache is called by its alias in `aiocache.caches`, if it has one.

Not seen: evictions (entries expire by a timer or in the server); a backend that overrides `get`
without calling it. With plugins, which must not see anything of ours, a default is told from a
stored value by identity. `OptimisticLock` reads the server past `get`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from metertap import faults
from metertap.caching.meters import ObjectMeters, counting, layer
from metertap.caching.names import KEEPERS
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_NOTHING: Any = object()
# Not the cache itself: a connection that is opened meanwhile keeps its context while it lives.
_HERE = "aiocache"

_layer = layer.get
KEEPERS.add("aiocache")  # its decorators; the function that is decorated is what tells


def _alias(cache: Any) -> str | None:
    caches = sys.modules["aiocache.factory"].caches._caches
    return next((alias for alias, found in list(caches.items()) if found is cache), None)


meters = ObjectMeters("aiocache", supports=frozenset(), natural_name=_alias)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    return [
        PatchSet(
            "aiocache.base",
            [Target("BaseCache.get", get), Target("BaseCache.multi_get", multi_get)],
        ),
        PatchSet("aiocache.decorators", [Target("cached_stampede.decorator", stampede)]),
    ]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.aiocache"], _patch_sets)


async def get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.get(key, default)`."""
    default = nothing = None
    try:
        if _layer() is not None:
            return await wrapped(*args, **kwargs)
        with faults.guarded("aiocache"):
            default = nothing = args[1] if len(args) > 1 else kwargs.get("default")
            if default is not None and not instance.plugins:
                args, kwargs = _with_default(args, kwargs, _NOTHING)
                nothing = _NOTHING
        with counting(_HERE):
            value = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("aiocache"):
            hide_frame(error)
        raise
    with faults.guarded("aiocache"):
        # Switched off it answers None, whatever the default is.
        if value is not None or (nothing is None and not _switched_off()):
            _looked_up(instance, found=value is not nothing)
    return default if value is _NOTHING else value


async def multi_get(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.multi_get(keys)`: None stands for what is not there."""
    try:
        if _layer() is not None:
            return await wrapped(*args, **kwargs)
        with counting(_HERE):
            values = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("aiocache"):
            hide_frame(error)
        raise
    with faults.guarded("aiocache"):
        for value in values:
            _looked_up(instance, found=value is not None)
    return values


async def stampede(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """One call of a function under `@cached_stampede`."""
    put_off = _PutOff(getattr(instance, "cache", None))
    token = _put_off.set(put_off)
    try:
        return await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("aiocache"):
            hide_frame(error)
        raise
    finally:
        with faults.guarded("aiocache"):
            _put_off.reset(token)
            if put_off.missed and not put_off.settled:  # it never got its lock
                meters.of(put_off.cache).miss()


class _PutOff:
    """The first miss of a call of `@cached_stampede`, which is settled by the second look."""

    __slots__ = ("cache", "missed", "settled")

    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.missed = self.settled = False


_put_off: ContextVar[_PutOff | None] = ContextVar("metertap_aiocache_put_off", default=None)


def _looked_up(cache: Any, *, found: bool) -> None:
    put_off = _put_off.get()
    if put_off is not None and put_off.cache is cache and not put_off.settled:
        if not found and not put_off.missed:
            put_off.missed = True
            return
        put_off.settled = True
    meter = meters.of(cache)
    if found:
        meter.hit()
    else:
        meter.miss()


def _with_default(args: Any, kwargs: Any, default: Any) -> tuple[Any, Any]:
    if len(args) > 1:
        return (args[0], default, *args[2:]), kwargs
    return args, {**kwargs, "default": default}


def _switched_off() -> bool:
    return os.environ.get("AIOCACHE_DISABLE") == "1"
