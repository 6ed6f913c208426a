"""A cache that is used while measuring begins and ends again and again."""

from __future__ import annotations

import time

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


def test_a_cache_that_ends_before_a_look_is_not_searched_for_among_all_that_wait() -> None:
    def seconds_of_ends() -> float:
        made = [cachetools.LRUCache[int, int](1) for _ in range(200)]
        assert not any(cache.get(1) for cache in made)
        started = time.thread_time()
        made.clear()
        return time.thread_time() - started

    with metertap.instrument(json_endpoint=False):
        alone = min(seconds_of_ends() for _ in range(7))
        others = [cachetools.LRUCache[int, int](1) for _ in range(10_000)]
        assert not any(cache.get(1) for cache in others)
        assert min(seconds_of_ends() for _ in range(7)) < 6 * alone
