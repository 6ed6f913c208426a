"""However a lookup in a cache is recorded: JSON, Prometheus and OTLP say the same."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable

import pytest

import metertap
from metertap import catalogue
from support.every_view import Publish, points
from support.every_way import TIMES, kept
from support.exposition import key


def lookups_by_meter() -> None:
    meter = metertap.cache_meter("prompts")
    meter.miss()
    for _ in range(TIMES):
        meter.hit()


def lookups_by_functions() -> None:
    metertap.record_cache_miss("prompts")
    for _ in range(TIMES):
        metertap.record_cache_hit("prompts")


def lookups_by_collector() -> None:
    collector = metertap.get_collector()
    collector.record_cache_miss("prompts")
    for _ in range(TIMES):
        collector.record_cache_hit("prompts")


def lookups_by_adapter() -> None:
    cachetools = pytest.importorskip("cachetools")
    cache = cachetools.LRUCache(8)
    metertap.name_cache(cache, "prompts")
    cache.get("key")
    cache["key"] = "value"
    for _ in range(TIMES):
        assert cache["key"] == "value"


def lookups_by_configured_lines() -> None:
    find = importlib.import_module("everyway.shop").find
    find("a")
    for _ in range(TIMES):
        find("key")


def lookups_that_are_read() -> None:
    @functools.lru_cache(maxsize=8)
    def prompts(item: int) -> int:
        return item

    metertap.name_cache(prompts, "prompts")
    kept.append(prompts)
    for _ in range(1 + TIMES):
        prompts(1)


LOOKUPS = [
    lookups_by_meter,
    lookups_by_functions,
    lookups_by_collector,
    lookups_by_adapter,
    lookups_by_configured_lines,
    lookups_that_are_read,
]


def changes_by_meter() -> None:
    meter = metertap.cache_meter("prompts")
    meter.evicted(TIMES)
    meter.rejected()


def changes_by_functions() -> None:
    for _ in range(TIMES):
        metertap.record_cache_eviction("prompts")
    metertap.record_cache_size_rejection("prompts")


def changes_by_collector() -> None:
    collector = metertap.get_collector()
    for _ in range(TIMES):
        collector.record_cache_eviction("prompts")
    collector.record_cache_size_rejection("prompts")


def changes_by_adapter() -> None:
    cachetools = pytest.importorskip("cachetools")
    cache = cachetools.LRUCache(1)
    metertap.name_cache(cache, "prompts")
    for item in range(1 + TIMES):
        cache[item] = "value"


CHANGES = [changes_by_meter, changes_by_functions, changes_by_collector, changes_by_adapter]


@pytest.mark.parametrize("way", LOOKUPS, ids=lambda way: str(way.__name__))
def test_a_lookup_counts_the_same_in_every_view(
    way: Callable[[], None], published: Publish
) -> None:
    found = published(way)
    entry = found.document["cache_metrics"]["prompts"]
    assert (entry["hits"], entry["misses"], entry["total_requests"]) == (TIMES, 1, TIMES + 1)
    assert entry["hit_rate"] == 100 * TIMES / (TIMES + 1)
    labels = {"cache_name": "prompts", "cache_system": entry["system"]}
    assert found.scrape[key(catalogue.HIT_RATIO, **labels)] == TIMES / (TIMES + 1)
    for result, count in (("hit", TIMES), ("miss", 1)):
        of_result = {**labels, "cache_request_type": result}
        [point] = points(found.otlp, catalogue.CACHE_REQUESTS.name, "{request}", **of_result)
        assert point.as_int == count
        assert found.scrape[key("cache_requests_total", **of_result)] == count


@pytest.mark.parametrize("way", CHANGES, ids=lambda way: str(way.__name__))
def test_what_a_cache_gives_up_counts_the_same_in_every_view(
    way: Callable[[], None], published: Publish
) -> None:
    found = published(way)
    entry = found.document["cache_metrics"]["prompts"]
    labels = {"cache_name": "prompts", "cache_system": entry["system"]}
    counted = [(catalogue.CACHE_EVICTIONS, "{eviction}", "evictions", TIMES)]
    if way is not changes_by_adapter:
        counted.append((catalogue.CACHE_REJECTIONS, "{rejection}", "size_rejections", 1))
    for metric, unit, field, count in counted:
        [point] = points(found.otlp, metric.name, unit, **labels)
        name = metric.name.replace(".", "_") + "_total"
        assert point.as_int == found.scrape[key(name, **labels)] == entry[field] == count
