"""cashews: `get`, `get_many`, `get_raw` of a `Cache`, and its decorators, which end there.

All commands of a `Cache` are sent by `Wrapper._with_middlewares_for_backend`, as a chain of
middlewares around the backend's own method. The innermost of them is ours: what a middleware
answers itself is no lookup (a cache that is disabled, `invalidate_further()`), and neither is what
a backend does among its own stores (a transaction, the copy that a client keeps of redis). A
default of our own tells a stored None from nothing; nobody above the backend sees it. Whatever
other caches are asked meanwhile (redis, diskcache) is part of the command; diskcache is asked in
another thread, which is why `DiskCache._run_in_executor` is wrapped, too.

A cache is called by the name that it was given (`cashews.cache` is `default`), else by what it is
bound to. Functions that `@cache(...)` decorates share the line of their cache.

Not seen: evictions, and what `memory_limit` keeps out. `get_match` lists what there is; it is no
lookup, though redis under it is read. An entry that is found and then thought to be too old
(`soft`, `hit`) is a hit. `@cache.iterator` reads an entry for each chunk and one past the last.
Redis that is down looks empty, unless its `suppress` is switched off; that is a miss here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from metertap import faults
from metertap.caching.meters import ObjectMeters, counting, layer
from metertap.caching.names import KEEPERS
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_LOOKUPS = frozenset({"get", "get_many", "get_raw"})
_NOTHING: Any = object()
# Not the cache itself: a connection that is opened meanwhile keeps its context while it lives.
_HERE = "cashews"

_layer = layer.get
KEEPERS.add("cashews")


def _name(cache: Any) -> str | None:
    name: str = cache.name
    return name or None


meters = ObjectMeters("cashews", supports=frozenset(), natural_name=_name)


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    return [
        PatchSet(
            "cashews.wrapper.wrapper",
            [Target("Wrapper._with_middlewares_for_backend", with_middlewares)],
        ),
        # Imported with cashews where diskcache is installed.
        PatchSet(
            "cashews.backends.diskcache", [Target("DiskCache._run_in_executor", run_in_executor)]
        ),
    ]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.cashews"], _patch_sets)


def with_middlewares(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """What sends a command to a backend: the first middleware is the innermost."""
    with faults.guarded("cashews"):
        command, backend, middlewares = args
        around = lookup if command.value in _LOOKUPS else no_lookup
        args = (command, backend, [partial(around, instance), *middlewares])
    return wrapped(*args, **kwargs)


async def lookup(
    cache: Any, call: Any, command: Any, _backend: Any, *args: Any, **kwargs: Any
) -> Any:
    """A middleware for what looks something up; `get_raw` has no default, but None."""
    nothing = None if command.value == "get_raw" else _NOTHING
    try:
        if _layer() is not None:
            return await call(*args, **kwargs)
        with counting(_HERE):
            found = await call(*args, **({**kwargs, "default": nothing} if nothing else kwargs))
    except BaseException as error:
        with faults.guarded("cashews"):
            hide_frame(error)
        raise
    many = command.value == "get_many"
    with faults.guarded("cashews"):
        meter = meters.of(cache)
        for value in found if many else (found,):
            if value is nothing:
                meter.miss()
            else:
                meter.hit()
    default = kwargs.get("default")
    if many:
        return tuple(default if value is _NOTHING else value for value in found)
    return default if found is _NOTHING else found


async def no_lookup(
    _cache: Any, call: Any, _command: Any, _backend: Any, *args: Any, **kwargs: Any
) -> Any:
    """A middleware for everything else; the backend may read something for it."""
    try:
        with counting(_layer() or _HERE):
            return await call(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("cashews"):
            hide_frame(error)
        raise


def run_in_executor(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """Threads of an executor do not know in whose name they are asked."""
    with faults.guarded("cashews"):
        asked_by = _layer()
        if asked_by is not None and args:
            args = (_asked_by, asked_by, *args)
    return wrapped(*args, **kwargs)


def _asked_by(layer_above: Any, call: Any, *args: Any) -> Any:
    try:
        with counting(layer_above):
            return call(*args)
    except BaseException as error:
        with faults.guarded("cashews"):
            hide_frame(error)
        raise
