"""Figures of before and after a new beginning, added and taken away."""

from __future__ import annotations

import time
from typing import Any

import pytest

from metertap import outcomes
from metertap.recording import CacheFigures, Percentiles, ToolFigures
from metertap.recording.baseline import Past

NONE = dict.fromkeys(outcomes.ALL, 0)
BEFORE = ToolFigures(
    name="search",
    source="test",
    counts={**NONE, "ok": 5, "exception": 2},
    error_types={"KeyError": 2, "Old": 1},
    sampled=7,
    total_ms=70.0,
    minimum_ms=2.0,
    maximum_ms=30.0,
    percentiles=Percentiles(1.0, 2.0, 3.0),
    window_samples=7,
    active=9,
    last_call=100.0,
    with_cache=None,
    first_item=None,
    unsampled=4,
    unsampled_ms=44.0,
    errors={"exception KeyError": 2, "timeout Old": 1},
)
SINCE = BEFORE._replace(
    counts={**NONE, "ok": 1, "cancelled": 1},
    error_types={"KeyError": 1, "New": 1},
    sampled=1,
    total_ms=8.0,
    minimum_ms=1.0,
    maximum_ms=8.0,
    percentiles=Percentiles(4.0, 5.0, 6.0),
    window_samples=1,
    active=1,
    last_call=200.0,
    unsampled=1,
    unsampled_ms=3.0,
    errors={"exception KeyError": 1, "cancelled New": 1},
)
CACHE = CacheFigures(
    name="prompts",
    system="test",
    hits=10,
    misses=6,
    evictions=4,
    rejections=2,
    by_tool={"search": (3, 2), "quiet": (1, 1)},
    entries=5,
    is_read=False,
    objects=2,
)


def test_a_tool_has_what_it_counted_before_and_since() -> None:
    assert Past(1.0, [BEFORE]).added_to(SINCE) == SINCE._replace(
        counts={**NONE, "ok": 6, "exception": 2, "cancelled": 1},
        error_types={"KeyError": 3, "Old": 1, "New": 1},
        sampled=8,
        total_ms=78.0,
        minimum_ms=1.0,
        maximum_ms=30.0,
        unsampled=5,
        unsampled_ms=47.0,
        errors={"exception KeyError": 3, "timeout Old": 1, "cancelled New": 1},
    )


@pytest.mark.parametrize("changed", [{"name": "other"}, {"source": "other"}])
def test_a_tool_that_was_not_there_before_has_what_it_counted(changed: dict[str, Any]) -> None:
    other = SINCE._replace(**changed)
    past = Past(1.0, [BEFORE])
    assert past.added_to(other) is other
    assert past.counts_with((other.name, other.source), {"ok": 3}, 4) == ({"ok": 3}, 4)


def test_a_tool_without_a_call_since_keeps_extremes_and_the_last_call() -> None:
    quiet = SINCE._replace(
        minimum_ms=None, maximum_ms=None, last_call=None, total_ms=0.0, sampled=0
    )
    found = Past(1.0, [BEFORE]).added_to(quiet)
    assert (found.minimum_ms, found.maximum_ms, found.last_call) == (2.0, 30.0, 100.0)
    assert (found.total_ms, found.sampled) == (70.0, 7)
    both = Past(1.0, [quiet]).added_to(quiet)
    assert (both.minimum_ms, both.maximum_ms, both.last_call) == (None, None, None)


def test_a_tools_counts_alone_are_the_same() -> None:
    past = Past(1.0, [BEFORE])
    found = past.counts_with(("search", "test"), {"ok": 1, "cancelled": 2}, 3)
    assert found == ({**NONE, "ok": 6, "exception": 2, "cancelled": 2}, 10)


def test_a_cache_has_what_it_counted_since() -> None:
    now = CACHE._replace(
        hits=15,
        misses=9,
        evictions=6,
        rejections=3,
        by_tool={"search": (5, 2), "quiet": (1, 1), "new": (2, 1)},
        entries=8,
    )
    found = Past(1.0, caches=[CACHE]).left_out_of(now)
    assert found == now._replace(
        hits=5, misses=3, evictions=2, rejections=1, by_tool={"search": (2, 0), "new": (2, 1)}
    )


@pytest.mark.parametrize("changed", [{"name": "other"}, {"system": "other"}])
def test_a_cache_that_was_not_there_before_has_what_it_counted(changed: dict[str, Any]) -> None:
    other = CACHE._replace(**changed)
    assert Past(1.0, caches=[CACHE]).left_out_of(other) is other


def test_what_a_cache_does_not_know_stays_unknown() -> None:
    now = CACHE._replace(evictions=None, rejections=None, by_tool=None)
    found = Past(1.0, caches=[CACHE]).left_out_of(now)
    assert (found.evictions, found.rejections, found.by_tool) == (None, None, None)
    unknown = Past(1.0, caches=[CACHE._replace(evictions=None, by_tool=None)])
    known = unknown.left_out_of(CACHE)
    assert (known.evictions, known.by_tool) == (4, {"search": (3, 2), "quiet": (1, 1)})


@pytest.mark.parametrize(("is_read", "by_tool"), [(False, {}), (True, None)])
def test_a_cache_that_is_read_does_not_know_for_which_tools(
    is_read: bool, by_tool: dict[str, tuple[int, int]] | None
) -> None:
    now = CACHE._replace(is_read=is_read)
    assert Past(1.0, caches=[CACHE]).left_out_of(now).by_tool == by_tool


def test_a_beginning_is_known_by_both_clocks() -> None:
    before = time.monotonic()
    past = Past(7.0)
    assert past.until == 7.0
    assert before <= past.until_monotonic <= time.monotonic()
