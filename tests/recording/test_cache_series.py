"""What is held for one cache name: lookups that are counted, statistics that are read, objects."""

from __future__ import annotations

import threading

import pytest

from metertap import faults
from metertap.recording import CacheSeries, Recorder, cache_series
from metertap.recording.cache_series import EVICTIONS, REJECTIONS, Count, Reading, Statistics


class Cache:
    """Counts itself, as `functools.lru_cache` does."""

    def __init__(self) -> None:
        self.is_there = True
        self.says = Statistics(0, 0)

    def read(self) -> Statistics | None:
        return self.says if self.is_there else None


def counted(series: CacheSeries) -> tuple[int | None, ...]:
    figures = series.figures()
    return figures.hits, figures.misses, figures.evictions, figures.rejections, figures.entries


def test_a_count_is_how_often_it_was_added_to() -> None:
    count = Count()
    assert count.value == 0
    for _ in range(3):
        count.add()
    assert count.value == 3


def test_lookups_are_counted_by_the_tool_they_are_made_for() -> None:
    recorder = Recorder()
    series = recorder.cache("prompts", "test")
    one, twin, other = (recorder.tool(*key) for key in (("a", "x"), ("a", "y"), ("b", "x")))
    for tool, hits, misses in ((None, 1, 2), (one, 3, 0), (twin, 2, 1), (other, 0, 4)):
        for hit, times in ((True, hits), (False, misses)):
            for _ in range(times):
                recorder.cache_looked_up(series, hit, tool)
    figures = series.figures()
    assert (figures.hits, figures.misses) == (6, 7)
    assert figures.by_tool == {"a": (5, 1), "b": (0, 4)}
    assert (figures.is_read, figures.objects, figures.entries) == (False, 0, None)


def test_what_a_cache_does_not_show_is_not_known() -> None:
    recorder = Recorder()
    series = recorder.cache("prompts", "test", frozenset({EVICTIONS}))
    recorder.cache_evicted(series, 3)
    recorder.cache_evicted(series, 2)
    recorder.cache_rejected(series)
    assert counted(series) == (0, 0, 5, None, None)
    other = recorder.cache("answers", "test", frozenset({REJECTIONS}))
    for _ in range(2):
        recorder.cache_rejected(other)
    assert counted(other) == (0, 0, None, 2, None)


def test_figures_of_a_name_are_those_of_all_its_objects() -> None:
    series = CacheSeries("prompts", "test")
    series.hits[None]()
    for entries, lookups in ((3, 2), (None, 1), (4, 0)):
        part = CacheSeries("part", "test")
        if entries is not None:
            part.entries = lambda entries=entries: entries
        for _ in range(lookups):
            part.hits[None]()
            part.misses[None]()
        part.evictions, part.rejections = 10, 20
        series.parts[part] = None
    series.evictions, series.rejections = 1, 2
    assert counted(series) == (4, 3, 31, 62, 7)
    assert series.figures().objects == 3


def test_an_object_that_is_gone_leaves_its_counts_and_no_entries() -> None:
    recorder = Recorder()
    tool = recorder.tool("search", "test")
    series = CacheSeries("prompts", "test")
    for number in range(2):
        part = CacheSeries("part", "test")
        part.entries = lambda: 5
        for _ in range(3):
            part.hits[tool]()
            part.misses[None]()
        part.misses[tool]()
        part.evictions, part.rejections = 4, 7
        series.parts[part] = None
        before = counted(series)
        assert before == (3 + 3 * number, 4 + 4 * number, 4 + 4 * number, 7 + 7 * number, 5)
        series.absorb(part)
        assert counted(series) == (*before[:4], None)
        series.absorb(part)  # it is not counted again
        assert counted(series) == (*before[:4], None)
    assert series.figures().by_tool == {"search": (6, 2)}


def test_an_object_that_goes_while_figures_are_made_is_absorbed_at_the_next_look() -> None:
    series = CacheSeries("prompts", "test")
    part = CacheSeries("part", "test")
    part.hits[None]()

    def goes() -> int:
        series.absorb(part)  # as a finaliser may do in this very thread
        return 5

    part.entries = goes
    series.parts[part] = None
    assert counted(series) == (1, 0, 0, 0, 5)
    assert list(series.parts) == [part]
    assert counted(series) == (1, 0, 0, 0, None)
    assert not series.parts


def test_figures_may_be_asked_for_in_the_middle_of_figures() -> None:
    """As a signal handler, or a cache that is asked how much it holds, may do."""
    series = CacheSeries("prices", "test")
    series.hits[None]()
    series.parts[CacheSeries("prices", "test")] = None
    found: list[int] = []
    asks = iter([True])

    def entries() -> int:
        if next(asks, False):
            found.append(series.figures().hits)
            series.absorb(next(iter(series.parts)))  # which waits: it is being counted
        return 3

    series.entries = entries
    thread = threading.Thread(target=lambda: found.append(series.figures().hits), daemon=True)
    thread.start()
    thread.join(60)
    assert found == [1, 1]
    assert series.figures().entries == 3
    assert not series.parts


@pytest.mark.faults
def test_the_entries_of_a_cache_that_raises_are_not_known() -> None:
    series = CacheSeries("prompts", "test")
    series.entries = lambda: 1 // 0
    assert counted(series) == (0, 0, 0, 0, None)
    assert faults.fault_counts() == {"cache.entries": 1}
    series.entries = lambda: 0
    assert counted(series) == (0, 0, 0, 0, 0)


def test_statistics_are_read_and_never_go_back() -> None:
    cache = Cache()
    series = CacheSeries("prompts", "test")
    series.readings[Reading(cache.read)] = None
    cache.says = Statistics(5, 3, 2, 1, entries=4)
    assert counted(series) == (5, 3, 2, 1, 4)
    for says in (Statistics(5, 3, 2, 1), Statistics(1, 0, 0, 0), Statistics(2, 2, 1, 1, 7)):
        cache.says = says
        found = counted(series)
    assert found == (7, 5, 3, 2, 7)
    figures = series.figures()
    assert (figures.is_read, figures.by_tool, figures.objects) == (True, None, 1)


@pytest.mark.parametrize("cleared", range(4))
def test_a_cache_of_which_one_number_goes_back_was_cleared(cleared: int) -> None:
    cache = Cache()
    series = CacheSeries("prompts", "test")
    series.readings[Reading(cache.read)] = None
    cache.says = Statistics(5, 5, 5, 5)
    assert counted(series)[:4] == (5, 5, 5, 5)
    again = [6, 6, 6, 6]
    again[cleared] = 4
    cache.says = Statistics(*again)
    assert counted(series)[:4] == tuple(5 + number for number in again)


def test_what_a_cache_counts_while_it_is_paused_is_left_out() -> None:
    cache = Cache()
    series = CacheSeries("prompts", "test")
    reading = Reading(cache.read)
    series.readings[reading] = None
    cache.says = Statistics(5, 4, 3, 2, entries=1)
    reading.pause()
    cache.says = Statistics(50, 40, 30, 20, entries=10)
    assert counted(series)[:4] == (5, 4, 3, 2)
    reading.resume()
    assert counted(series)[:4] == (5, 4, 3, 2)
    cache.says = Statistics(51, 42, 33, 24, entries=10)
    assert counted(series)[:4] == (6, 6, 6, 6)
    reading.pause()
    cache.says = Statistics(1, 0)  # cleared meanwhile
    reading.resume()
    cache.says = Statistics(2, 0)
    assert counted(series)[:4] == (7, 6, 6, 6)
    reading.pause()
    reading.forget()
    reading.resume()
    assert counted(series)[:4] == (0, 0, 0, 0)


def test_what_a_cache_does_not_say_is_nothing() -> None:
    cache = Cache()
    series = CacheSeries("prompts", "test")
    series.readings[Reading(cache.read)] = None
    cache.says = Statistics(1, 2)
    assert counted(series) == (1, 2, 0, 0, None)


def test_caches_of_one_name_are_read_together_and_stay_counted_when_they_are_gone() -> None:
    caches = [Cache(), Cache(), Cache()]
    series = CacheSeries("prompts", "test")
    for number, cache in enumerate(caches, 1):
        cache.says = Statistics(number, 10 * number, 100 * number, 1000 * number, entries=number)
        series.readings[Reading(cache.read)] = None
    assert counted(series) == (6, 60, 600, 6000, 6)
    assert series.figures().objects == 3
    for cache in caches[:2]:
        cache.is_there = False
    for _ in range(2):
        assert counted(series) == (6, 60, 600, 6000, 3)
    assert series.figures().objects == 1
    caches[2].is_there = False
    for _ in range(2):
        assert counted(series) == (6, 60, 600, 6000, None)
    assert (series.figures().objects, series.figures().is_read) == (0, True)


@pytest.mark.faults
def test_a_cache_that_raises_when_it_is_read_keeps_what_it_had_counted() -> None:
    series = CacheSeries("prompts", "test")
    cache = Cache()
    series.readings[Reading(cache.read)] = None
    cache.says = Statistics(5, 3, entries=2)
    assert counted(series) == (5, 3, 0, 0, 2)
    next(iter(series.readings)).read = lambda: Statistics(1 // 0, 0)
    assert counted(series) == (5, 3, 0, 0, None)
    assert faults.fault_counts() == {"cache.statistics": 1}


def test_lookups_that_are_read_and_counted_ones_are_told_by_tool() -> None:
    recorder = Recorder()
    series = recorder.cache("prompts", "test")
    cache = Cache()
    cache.says = Statistics(5, 3)
    series.readings[Reading(cache.read)] = None
    recorder.cache_looked_up(series, True, recorder.tool("search", "test"))
    assert counted(series)[:2] == (6, 3)
    assert series.figures().by_tool == {"search": (1, 0)}


def test_a_forked_child_counts_the_same_objects_from_zero() -> None:
    cache = Cache()
    series = CacheSeries("prompts", "test", frozenset({EVICTIONS}))
    series.readings[Reading(cache.read)] = None
    series.entries = lambda: 2
    series.hits[None]()
    series.evictions = 3
    cache.says = Statistics(5, 4, 3, 2)
    assert counted(series)[:3] == (6, 4, 6)
    cache.says = Statistics(9, 8, 7, 6)  # nobody has seen that before the fork
    child = series.forked()
    assert (child.name, child.system, child.supports) == ("prompts", "test", {EVICTIONS})
    assert counted(child) == (0, 0, 0, None, 2)
    cache.says = Statistics(10, 10, 10, 10)
    assert counted(child)[:3] == (1, 2, 3)
    cache.says = Statistics(1, 1, 1, 1)  # cleared
    assert counted(child)[:3] == (2, 3, 4)


def test_a_cache_may_be_found_while_others_are_read_in_a_forked_child() -> None:
    series = CacheSeries("prompts", "test")
    found = Reading(lambda: Statistics(5, 4))

    def read() -> Statistics:
        series.readings[found] = None
        return Statistics(1, 1)

    series.readings[Reading(read)] = None
    assert found in series.forked().readings


def test_what_two_objects_of_a_name_evicted_is_added() -> None:
    series = CacheSeries("prompts", "test", frozenset({EVICTIONS}))
    caches = [Cache(), Cache()]
    series.readings = dict.fromkeys(Reading(cache.read) for cache in caches)
    for cache, says in zip(caches, (Statistics(5, 4, 3, 2), Statistics(1, 1, 1, 1)), strict=True):
        cache.says = says
    assert counted(series)[:3] == (6, 5, 4)


def test_all_counts_of_two_statistics_are_added() -> None:
    assert cache_series._sum((1, 2, 3, 4), (10, 20, 30, 40)) == (11, 22, 33, 44)


class Compared:
    """An object that tells how many others it was compared with."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Compared.compared += 1
        return self is other

    __hash__ = object.__hash__


class ComparedSeries(Compared, CacheSeries):
    pass


class ComparedReading(Compared, Reading):
    pass


def test_the_end_of_one_of_many_caches_of_a_name_costs_no_more_than_that_of_a_few() -> None:
    series = CacheSeries("prompts", "test")
    parts = [ComparedSeries("prompts", "test") for _ in range(500)]
    series.parts = dict.fromkeys(parts)
    caches = [Cache() for _ in range(500)]
    series.readings = dict.fromkeys(ComparedReading(cache.read) for cache in caches)
    Compared.compared = 0
    for part in reversed(parts[1:]):
        part.misses[None]()
        series.absorb(part)
    for cache in caches[1:]:
        cache.is_there = False
    assert counted(series)[:2] == (0, 499)
    assert series.figures().objects == 2
    assert Compared.compared <= 500
