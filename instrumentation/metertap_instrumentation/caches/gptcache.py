"""GPTCache: every question that was looked for, by what its report is told.

Adapters import `adapt` by name, so it cannot be wrapped where they call it; but all of them tell
the cache's `Report`, in this order: `search` (it was looked for: not so if the cache is skipped),
then `hint_cache` (a hit), or else `llm` or, of async models, only `save` (a miss). A search that
comes to neither (the model failed, `search_only`, a next cache was asked) is a miss that is counted
at the next search in the same thread or task. Data managers ask cachetools in turn; those lookups
are part of this one.

Not seen: what is evicted; a miss without an end that nothing follows in its thread or task.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from metertap import faults
from metertap.caching.meters import ObjectMeter, ObjectMeters, counting, layer
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.subclasses import instances
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version

_layer = layer.get
meters = ObjectMeters("gptcache", supports=frozenset())

_searched: ContextVar[ObjectMeter | None] = ContextVar("metertap_gptcache", default=None)
_caches: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    return [
        PatchSet(
            "gptcache.report",
            [
                Target("Report.search", search),
                Target("Report.hint_cache", hit),
                Target("Report.llm", missed),
                Target("Report.save", missed),
            ],
        ),
        PatchSet(
            "gptcache.manager.data_manager",
            [
                Target("MapDataManager.search", inside),
                Target("SSDataManager.search", inside),
                Target("SSDataManager.get_scalar_data", inside),
                Target("SSDataManager.hit_cache_callback", inside),
            ],
        ),
    ]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.gptcache"], _patch_sets)


def search(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """The cache was searched; what for, and with what result, will be seen."""
    result = wrapped(*args, **kwargs)
    with faults.guarded("gptcache"):
        before = _searched.get()
        if before is not None:
            before.miss()
        _searched.set(meters.of(_cache_of(instance)) if _layer() is None else None)
    return result


def hit(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """An answer was found."""
    result = wrapped(*args, **kwargs)
    with faults.guarded("gptcache"):
        meter = _searched.get()
        if meter is not None:
            _searched.set(None)
            meter.hit()
    return result


def missed(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
    """The model was asked, or its answer is kept: of whatever was searched, there was none."""
    result = wrapped(*args, **kwargs)
    with faults.guarded("gptcache"):
        meter = _searched.get()
        if meter is not None:
            _searched.set(None)
            meter.miss()
    return result


def inside(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """A data manager at work: the caches that it asks are no caches of the program's."""
    try:
        with counting():
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("gptcache"):
            hide_frame(error)
        raise


def _cache_of(report: Any) -> Any:
    """The `Cache` whose report this is: that one has a name. Looked for once."""
    reference = _caches.get(report)
    cache = None if reference is None else reference()
    if cache is None:
        kind = sys.modules["gptcache.core"].Cache
        cache = next((item for item in instances(kind) if item.report is report), report)
        _caches[report] = weakref.ref(cache)
    return cache
