"""GPTCache: every question that is looked up, by what the cache's report is told.

Adapters import `adapt` by name, so it cannot be wrapped where they call it. But all of them tell
the cache's `Report`, in this order: `search` (a lookup: not if the cache is skipped), then
`hint_cache` (a hit), or else `llm`, or with async models only `save` (a miss). A search without any
of these (the model failed, `search_only`, a next cache was asked) is a miss, counted at the next
search in the same thread or task. Data managers ask cachetools in turn; those lookups are part of
this one.

Not seen: evictions; a miss without an end that is not followed by another search.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from metertap.caching.adapter import after, stand_ins, within
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import instances
from metertap.patching.targets import Make
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_layer = layer.get
meters = ObjectMeters("gptcache", supports=frozenset())

_searched: ContextVar[list[ObjectMeter] | None] = ContextVar("metertap_gptcache", default=None)
"""The meter of a search without an end, in a list that tasks which begin meanwhile share."""
_caches: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()


def _searched_for(report: Any, _result: Any, _args: Any, _kwargs: Any) -> None:
    before = _taken()
    if before is not None:
        before.miss()
    _searched.set(None if _layer() else [meters.of(_cache_of(report))])


def _taken() -> ObjectMeter | None:
    waiting = _searched.get()
    return waiting.pop() if waiting else None


def _ended(count: Callable[[ObjectMeter], None]) -> Make:
    def note(_report: Any, _result: Any, _args: Any, _kwargs: Any) -> None:
        meter = _taken()
        if meter is not None:
            count(meter)

    return after("gptcache", note)


search = after("gptcache", _searched_for)
"""Notes a search; a later call tells whether it found an answer."""
hit = _ended(ObjectMeter.hit)
"""Counts a hit of the last search."""
missed = _ended(ObjectMeter.miss)
"""Counts a miss of the last search, when the model is asked or its answer is stored."""


def _cache_of(report: Any) -> Any:
    """Return the `Cache` with this report, found once: the cache has a name, a report has none."""
    reference = _caches.get(report)
    cache = None if reference is None else reference()
    if cache is None:
        kind = sys.modules["gptcache.core"].Cache
        cache = next((item for item in instances(kind) if item.report is report), report)
        _caches[report] = weakref.ref(cache)
    return cache


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.gptcache"],
    [
        PatchSet(
            "gptcache.report",
            stand_ins("Report", search=search, hint_cache=hit, llm=missed, save=missed),
        ),
        PatchSet(
            "gptcache.manager.data_manager",
            [
                *stand_ins("MapDataManager", search=within()),
                *stand_ins(
                    "SSDataManager",
                    search=within(),
                    get_scalar_data=within(),
                    hit_cache_callback=within(),
                ),
            ],
        ),
    ],
)
