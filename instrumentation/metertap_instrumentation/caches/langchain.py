"""LangChain: every lookup in a cache of model answers, whatever backend keeps it.

`lookup` and `alookup` are each backend's own, so they are wrapped in every subclass of `BaseCache`,
those that are defined later, too. The default `alookup` calls `lookup` in a thread, that of
`InMemoryCache` calls it directly, and backends stand on redis or redisvl: whatever is asked inside
of a lookup is part of it. None is a miss.

Not seen: a cache that is no `BaseCache`; what a backend evicts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from metertap import faults
from metertap.caching.meters import ObjectMeters, counting, layer
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_layer = layer.get
meters = ObjectMeters("langchain", supports=frozenset())


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    wrappers = {"lookup": lookup, "alookup": alookup}
    return [SubclassesPatchSet("langchain_core.caches", "BaseCache", wrappers)]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.langchain"], _patch_sets)


def lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`cache.lookup(prompt, llm_string)`."""
    if instance is None or _layer() is not None:
        return wrapped(*args, **kwargs)
    try:
        with counting():
            answer = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("langchain"):
            hide_frame(error)
        raise
    _count(instance, answer)
    return answer


def alookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await cache.alookup(prompt, llm_string)`."""
    if instance is None:
        return wrapped(*args, **kwargs)
    return _counted(wrapped, instance, args, kwargs)


async def _counted(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    if _layer() is not None:  # asked where it runs: that may be another task
        answering: Awaitable[Any] = wrapped(*args, **kwargs)
        return await answering
    try:
        with counting():
            answer = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("langchain"):
            hide_frame(error)
        raise
    _count(instance, answer)
    return answer


def _count(instance: Any, answer: Any) -> None:
    try:
        meter = meters.of(instance)
        if answer is None:
            meter.miss()
        else:
            meter.hit()
    except Exception as fault:
        faults.fault("langchain", fault)
