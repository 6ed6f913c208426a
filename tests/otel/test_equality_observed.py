"""What observable instruments report, against the SDK's own counters told of each event.

A history of calls, lookups, sessions, collections and late readers is played three times: to our
recorder, which is observed; to counters of the plain API whose readers were all there from the
start, since what is observed is known to late readers, too; and, for calls, which are a histogram's
count, to a counter whose readers come when ours do. A counter that was never told of anything has
no data point where one that is observed has a zero. Times are not compared: those of a counter
begin with its first value.
"""

from __future__ import annotations

import random
import threading
from collections import Counter as Totals
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metertap import catalogue
from metertap.recording import CacheSeries
from support.played_twice import CACHES, COUNTERS, ENDINGS, KINDS, TOOLS, VIEWS, Play, values

pytestmark = pytest.mark.sdk

WHICH = st.integers(0, 3)
TOOL = st.sampled_from(TOOLS)
OF_TOOL = st.none() | TOOL
CACHE = st.sampled_from(CACHES)


def step(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*arguments))


STEPS = st.lists(
    st.one_of(
        step("start", TOOL),
        step("end", WHICH, st.sampled_from(ENDINGS)),
        step("never_ended", WHICH),
        step("look_up", CACHE, st.booleans(), OF_TOOL),
        step("evict", CACHE, st.integers(1, 5)),
        step("reject", CACHE),
        step("make_part", CACHE, st.booleans()),
        step("look_up_in_part", WHICH, st.booleans(), OF_TOOL),
        step("end_part", WHICH),
        step("make_read", CACHE),
        step("look_up_in_read", WHICH, st.integers(0, 3), st.integers(0, 3)),
        step("clear_read", WHICH),
        step("end_read", WHICH),
        step("open_session"),
        step("close_session"),
        step("start_over"),
        step("fold"),
        step("add_reader"),
        step("collect", WHICH),
        step("collect", WHICH),
    ),
    max_size=40,
)


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=2),
    later=st.lists(st.sampled_from(KINDS), max_size=2),
    view=st.sampled_from(list(VIEWS)),
    steps=STEPS,
)
@settings(max_examples=3 * settings().max_examples, suppress_health_check=list(HealthCheck))
def test_what_is_observed_is_what_counters_would_have_been_told(
    kinds: list[str], later: list[str], view: str, steps: list[Any]
) -> None:
    play = Play(kinds, later, view)
    everybody = [("collect", (index,)) for index in range(len(kinds) + len(later))]
    for name, arguments in [*steps, *everybody, *everybody]:
        getattr(play, name)(*arguments)


@pytest.mark.parametrize("kind", ["cumulative", "delta"])
def test_threads_that_look_up_while_a_reader_collects_lose_nothing(kind: str) -> None:
    """Counters never go back, nothing in progress is negative, and at the end it is all there."""
    threads, times = 4, 3000
    play = Play([kind], [], "none")
    recorder = play.recorder
    done = threading.Event()
    totals: Totals[Any] = Totals()

    def record(number: int) -> None:
        chosen = random.Random(number)
        for _ in range(times):
            tool, cache = recorder.tool(*chosen.choice(TOOLS)), recorder.cache(*CACHES[0])
            recorder.started(tool)
            part = CacheSeries("", CACHES[0][1])
            recorder.cache_looked_up(part, True, None)
            cache.parts[part] = None
            recorder.cache_looked_up(cache, False, tool)
            recorder.cache_evicted(cache, 2)
            cache.absorb(part)
            tool.append(0.01)

    def collect() -> None:
        while True:
            last = done.is_set()
            found = values(play.readers[0].get_metrics_data(), limited=False)
            for metric in COUNTERS:
                for key, value in found.get(metric.name, {}).items():
                    if kind == "delta":
                        assert value > 0
                        totals[metric.name, key] += value
                    else:
                        assert value >= totals[metric.name, key]
                        totals[metric.name, key] = value
            if kind == "cumulative":
                active = found.get(catalogue.TOOL_ACTIVE.name, {})
                # Tools of one name are read one after the other, and a thread may go on meanwhile.
                assert all(0 < value <= threads * len(TOOLS) for value in active.values())
            if last:
                assert not found.get(catalogue.TOOL_ACTIVE.name) or kind == "delta"
                return

    with ThreadPoolExecutor(threads + 1) as pool:
        collecting = pool.submit(collect)
        try:
            for recording in [pool.submit(record, number) for number in range(threads)]:
                recording.result()
        finally:
            done.set()
        collecting.result()

    def total(metric: catalogue.Metric, **labels: str) -> int:
        return sum(
            value
            for (name, key), value in totals.items()
            if name == metric.name and labels.items() <= dict(key[-1]).items()
        )

    of_type = catalogue.CACHE_REQUEST_TYPE
    assert total(catalogue.CACHE_REQUESTS, **{of_type: "hit"}) == threads * times
    assert total(catalogue.CACHE_REQUESTS, **{of_type: "miss"}) == threads * times
    assert total(catalogue.CACHE_EVICTIONS) == 2 * threads * times
