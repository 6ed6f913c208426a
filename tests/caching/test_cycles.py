"""A cache that is used while measuring begins and ends again and again."""

from __future__ import annotations

import cachetools

import metertap
from metertap import state


def test_what_a_cache_counted_before_measuring_began_again_stays_and_is_one_object() -> None:
    cache = cachetools.LRUCache[int, int](5)
    cache[1] = 1
    metertap.name_cache(cache, "answers")
    for _ in range(4):
        with metertap.instrument(json_endpoint=False) as tap:
            assert cache.get(1) == 1
            assert cache.get(2) is None
            tap.snapshot()
    (found,) = state.recorder().cache_figures()
    assert (found.hits, found.misses, found.objects) == (4, 4, 1)
    assert [len(series.parts) for series in state.recorder()._caches.values()] == [1]
