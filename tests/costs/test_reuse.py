"""The size at which a cache has nine hits in ten, held against a real LRU cache of that size."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import pytest

import metertap
from metertap.costs.reuse import ReuseDistances, distances

cachetools = pytest.importorskip("cachetools")


@pytest.fixture
def looked_for() -> Iterator[Any]:
    with metertap.instrument(json_endpoint=False, cost_repeats=True) as tap:
        yield tap


def zipf(count: int, keys: int, skew: float) -> list[int]:
    """Keys of which the n-th most wanted is asked for in proportion to 1 / n ** skew."""
    weights = list(accumulate(1 / rank**skew for rank in range(1, keys + 1)))
    return random.Random(7).choices(range(keys), cum_weights=weights, k=count)


def hit_rate(cache: Any, asked: list[int]) -> float:
    hits = 0
    for key in asked:
        if cache.get(key) is None:
            cache[key] = key + 1
        else:
            hits += 1
    return hits / len(asked)


def advice(name: str) -> str:
    metertap.record_usage(provider="x", model="own", input_tokens=1)
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    (one,) = (item for item in found["recommendations"] if item["cache"] == name)
    return str(one["arithmetic"])


@pytest.mark.parametrize(("keys", "skew"), [(500, 0.8), (4000, 1.0)])
def test_a_cache_of_the_size_that_is_named_has_nine_hits_in_ten(
    keys: int, skew: float, looked_for: Any
) -> None:
    asked = zipf(60_000, keys, skew)
    small = cachetools.LRUCache(50)
    metertap.name_cache(small, "answers")
    assert hit_rate(small, asked) < 0.7
    named = re.search(r"an LRU cache of ≈(\d+) entries would have had 90% hits", advice("answers"))
    assert named is not None
    size = int(named[1])
    assert 50 < size < keys
    metertap.uninstrument()
    assert hit_rate(cachetools.LRUCache(size), asked) == pytest.approx(0.9, abs=0.03)


def test_every_way_to_look_up_is_one_lookup_of_a_key(looked_for: Any) -> None:
    cache = cachetools.TTLCache(2, 600)
    metertap.name_cache(cache, "answers")
    looked_up = cachetools.cached(cache)(lambda key: key)
    for key in "abcabc":
        cache.get(key)
        cache.setdefault(key, 1)
        assert cache[key]
        assert cache.get(key)
        looked_up(key)
    found: Any = metertap.get_all_metrics()["cache_metrics"]["answers"]
    total = found["total_requests"]
    assert total == 6 * 5
    sample = distances("answers", "cachetools", total)
    assert sample is not None
    assert sample.lookups == total


def test_a_cache_whose_keys_do_not_come_again_has_no_such_size(looked_for: Any) -> None:
    cache = cachetools.LRUCache(10)
    metertap.name_cache(cache, "answers")
    squared = cachetools.cached(cache)(lambda number: number * number)
    for number in range(100):
        assert squared(number) == squared(number) == number * number
    assert "no size reaches 90%: 50.0% of lookups were of keys that came again" in advice("answers")


def test_memory_is_bounded_and_a_sample_is_near_the_truth() -> None:
    whole, few = ReuseDistances(), ReuseDistances()
    for key in zipf(60_000, 20_000, 0.9):
        few.saw(key)
    assert len(few._last) == len(few._times) <= 1000
    for key in range(10):
        for _ in range(2):
            whole.saw(key)
    assert whole.size_for(0.5) == (1, 0.5)
    assert whole.size_for(0.51)[0] is None


def test_nothing_is_taken_unless_it_is_asked_for() -> None:
    with metertap.instrument(json_endpoint=False):
        cache = cachetools.LRUCache(5)
        metertap.name_cache(cache, "answers")
        for number in range(100):
            cache.get(number)
            cache[number] = 1
        assert "90% need 90 hits more, and at most that room" in advice("answers")
        assert distances("answers", "cachetools", 100) is None
