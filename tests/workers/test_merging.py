"""Figures of several workers are those of one that had measured everything."""

from __future__ import annotations

import dataclasses
import statistics
from array import array
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap import catalogue, outcomes
from metertap.recording import OperationFigures, Percentiles, Recorder, WeightFigures
from metertap.recording.figures import Whole
from metertap.recording.percentiles import percentiles
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import run_of
from metertap.weight.definitions import Definition
from metertap.workers import merging, records
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap.workers.rows import Part
from metertap.workers.sections import figures_of, of_recorder
from metertap.workers.together import Windows
from support.told import LATENCIES, ledger_of, merged, over_the_wire, sections

ENDED = st.tuples(st.sampled_from(outcomes.ALL), st.none() | LATENCIES)
CALLS = st.lists(st.lists(ENDED, max_size=60), min_size=1, max_size=4)
"""Outcomes and latencies in ms, by worker."""


@given(CALLS)
def test_percentiles_are_of_all_windows_together(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    window = 30
    ledgers = [ledger_of(calls, window) for calls in by_worker]
    tools = ledgers[0].sections["tools"]
    found = Merged().of(tools, [over_the_wire(ledger) for ledger in ledgers])
    figures = found["search", "library"].figures
    sampled = [
        [ms for ended, ms in calls if ms is not None and ended in outcomes.SAMPLED]
        for calls in by_worker
    ]
    samples = [ms for each in sampled for ms in each[-window:]]
    everything = [call for calls in by_worker for call in calls]
    assert figures.window_samples == len(samples)
    percentiles = figures.percentiles
    if len(samples) < 2:
        assert (percentiles.p50, percentiles.p95, percentiles.p99) == (None, None, None)
    else:
        exact = statistics.quantiles(samples, n=100)
        assert percentiles.p50 == exact[49]
        assert percentiles.p95 == exact[94]
        assert percentiles.p99 == exact[98]
    assert figures.counts == {
        name: sum(ended == name for ended, _ in everything) for name in outcomes.ALL
    }
    flat = [ms for each in sampled for ms in each]
    assert (figures.minimum_ms, figures.maximum_ms) == (
        min(flat, default=None),
        max(flat, default=None),
    )
    assert figures.sampled == len(flat)
    assert figures.total_ms == pytest.approx(sum(flat))
    assert figures.unsampled == sum(
        ms is not None and ended not in outcomes.SAMPLED for ended, ms in everything
    )


def test_one_worker_apart_has_the_percentiles_of_its_window() -> None:
    ledger = ledger_of([(outcomes.OK, 1.0), (outcomes.OK, 3.0), (outcomes.EXCEPTION, 40.0)])
    sheet = over_the_wire(ledger)
    own = figures_of(ledger.now(ledger.sections)).tools[0]
    assert own.percentiles.p50 == 3.0
    assert figures_of(sheet).tools == (own,)
    (alone,) = Merged().of(ledger.sections["tools"], [sheet]).values()
    assert alone.figures == own


@given(CALLS)
def test_totals_of_ended_workers_are_all_but_what_was_so_at_one_moment(
    by_worker: list[list[tuple[str, float | None]]],
) -> None:
    ledgers = [ledger_of(calls) for calls in by_worker]
    known = ledgers[0].sections
    kept = records.together(known, [over_the_wire(ledger) for ledger in ledgers])
    new = {name: (items, 1.0) for name, items in kept.items()}
    record = records.read(records.written(records.Head(ended=3), known, new, {}), known)
    assert record.head == records.Head(ended=3)
    assert record.at == dict.fromkeys(known, 1.0)
    figures = figures_of(record.sheet).tools[0]
    assert sum(figures.counts.values()) == sum(map(len, by_worker))
    assert (figures.window_samples, figures.active, figures.percentiles.p50) == (0, 0, None)


@pytest.mark.faults
def test_after_a_fault_an_item_is_merged_when_it_is_asked_for_again() -> None:
    ledgers = [ledger_of([(outcomes.OK, 1.0)]), ledger_of([(outcomes.OK, 3.0)])]
    tools, merged = ledgers[0].sections["tools"], Merged()
    sheets = [ledger.now(["tools"]) for ledger in ledgers]
    breaks = [True]

    def merge(*given: Any) -> Any:
        if breaks:
            raise ValueError(breaks.pop())
        return tools.merge(*given)

    wrong = dataclasses.replace(tools, merge=merge)
    assert merged.of(wrong, sheets) == {}
    assert merged.of(wrong, sheets)["search", "library"].figures.sampled == 2


def test_percentiles_of_parts_and_of_operations_are_exact_too() -> None:
    hit_ms, miss_ms = [[1.0, 3.0], [2.0, 40.0]], [[50.0], [60.0]]
    first_ms, request_ms = [[7.0, 9.0], [8.0, 9.0]], [[4.0], [6.0]]
    sheets = []
    for hits, misses, firsts, requests in zip(hit_ms, miss_ms, first_ms, request_ms, strict=True):
        recorder = Recorder()
        series = recorder.tool("search", "library")
        for ms in hits:
            series.looked_up(True, False, ms / 1000)
        for ms in misses:
            series.looked_up(True, True, ms / 1000)
        for ms in firsts:
            series.first_item(ms / 1000)
        for ms in requests:
            attributes = {catalogue.MCP_METHOD: "tools/list"}
            recorder.record_operation("key", catalogue.SERVER_DURATION, attributes, ms / 1000)
        sheets.append(over_the_wire(Ledger(recorder, sections(recorder))))
    known = {section.name: section for section in of_recorder(Recorder())}
    tool = Merged().of(known["tools"], sheets)["search", "library"].figures
    assert tool.with_cache[0].calls == 4
    both_ms = [*hit_ms[0], *hit_ms[1]]
    assert tool.with_cache[0].percentiles.p95 == statistics.quantiles(both_ms, n=100)[94]
    assert (tool.with_cache[1].calls, tool.with_cache[1].percentiles.p50) == (2, 55.0)
    assert tool.first_item.percentiles.p50 == 8.5
    (operation,) = Merged().of(known["operations"], sheets).values()
    assert (operation.figures.calls, operation.figures.percentiles.p50) == (2, 5.0)
    (first,) = Merged().of(known["operations"], sheets)
    assert first == ("server", "tools/list", None)


def test_operations_and_weights_keep_their_totals_without_a_window() -> None:
    requests = OperationFigures(
        *("server", "tools/list", None, 2, 1, {"E": 1}, 12.0, 5.0, 7.0),
        percentiles=Percentiles(6.0, 7.0, 7.0),
        window_samples=2,
        last_call=9.0,
    )
    run = run_of(array("d", [5.0, 7.0]), 1.0)
    one = Part(requests, (run,))
    other = merging.settled_part(one)
    assert (other.figures.window_samples, other.figures.percentiles) == (0, Percentiles())
    both = merged(merging.operations, other, one).figures
    assert (both.calls, both.failed, both.error_types, both.total_ms) == (4, 2, {"E": 2}, 24.0)
    assert (both.window_samples, both.percentiles.p50) == (2, 6.0)
    others = Part(requests._replace(error_types={"T": 2, "U": 0}))
    assert merged(merging.operations, one, others).figures.error_types == {
        "E": 1,
        "T": 2,
        "U": 0,
    }

    weighed = WeightFigures(
        *("search", "mcp:shop", "server", Definition(90, 20, 30), 2, 1, 3, False, 12, 7),
        percentiles=Percentiles(6.0, 7.0, 7.0),
        window_samples=2,
    )
    part = Part(weighed, (run,))
    bare = merging.settled_part(part)
    assert (bare.figures.window_samples, bare.figures.percentiles) == (0, Percentiles())
    sampled = bare._replace(figures=bare.figures._replace(definition=None, is_sampled=True))
    assert merged(merging.weights, sampled, part).figures == weighed._replace(
        results=4,
        unknown=2,
        skipped=6,
        is_sampled=True,
        total=24,
        percentiles=percentiles(run.samples),
        window_samples=2,
    )


def test_only_windows_of_what_was_measured_are_put_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    percentiles_of = Windows.percentiles

    def asks(self: Windows, place: int = 0) -> tuple[list[Percentiles], list[int]]:
        asked.append(place)
        return percentiles_of(self, place)

    monkeypatch.setattr(Windows, "percentiles", asks)
    ledgers = [ledger_of([(outcomes.OK, 1.0)]) for _ in range(2)]
    found = Merged().of(ledgers[0].sections["tools"], [ledger.now(["tools"]) for ledger in ledgers])
    assert found["search", "library"].figures.with_cache is None
    assert asked == [0]


def test_what_an_ended_worker_counted_with_its_caches_stays_apart() -> None:
    recorder = Recorder()
    series = recorder.tool("search", "library")
    for missed in (False, True, True):
        series.looked_up(True, missed, 0.005)
    (figures,) = recorder.figures().tools
    hit, missed = merging.settled_tool(Part(figures)).figures.with_cache
    assert (hit.calls, missed.calls) == (1, 2)
    assert hit.percentiles == missed.percentiles == Percentiles()


def test_usage_of_workers_is_added() -> None:
    one, other = (UsageSeries("search", "x", "own", calls=calls) for calls in (1, 2))
    assert merging.usage([one, other]).calls == 3


def test_usage_of_another_worker_is_what_it_was() -> None:
    recorder = Recorder()
    series = recorder.usage("search", "x", "own")
    series.calls, series.seconds, series.spent = 3, 1.5, Decimal("0.00125")
    (found,) = over_the_wire(Ledger(recorder, sections(recorder)))["usage"].values()
    assert found == series


def test_caches_are_added_and_what_is_not_known_is_not() -> None:
    recorders = [Recorder(), Recorder()]
    for number, recorder in enumerate(recorders):
        known = recorder.cache("prices", "manual", frozenset({"evictions"}))
        tool = recorder.tool("search", "library")
        for _ in range(3 + number):
            recorder.cache_looked_up(known, True, tool)
        recorder.cache_looked_up(known, False, None)
        recorder.cache_evicted(known, 2)
        known.entries = lambda: 5
    figures = [recorder.cache_figures()[0] for recorder in recorders]
    found = merging.caches(figures)
    assert (found.hits, found.misses, found.evictions, found.rejections) == (7, 2, 4, None)
    assert (found.by_tool, found.entries) == ({"search": (7, 0)}, 10)
    assert merging.settled_cache(found).entries is None
    unknown = [item._replace(by_tool=None) for item in figures]
    assert merging.caches(unknown).by_tool is None
    assert merging.caches([figures[0], unknown[1]]).by_tool == figures[0].by_tool


def test_wholes_begin_with_the_first_and_their_collections_are_added() -> None:
    one = Whole(10.0, 1, 2, 0.5, 100, 3, ((1, 2, 3), (4, 5, 6)))
    other = Whole(5.0, 2, 0, 1.0, None, 4, ((1, 1, 1), (1, 1, 1)))
    assert merging.wholes([one, other]) == Whole(5.0, 3, 2, 1.5, 100, 7, ((2, 3, 4), (5, 6, 7)))
    assert merging.wholes([one, merging.settled_whole(other)]) == Whole(
        5.0, 1, 2, 1.5, 100, 3, ((1, 2, 3), (4, 5, 6))
    )
    assert merging.wholes([merging.settled_whole(one)] * 2).gc is None
    fewer = other._replace(gc=((1, 1, 1),))  # of another Python
    assert merging.wholes([one, fewer]).gc == ((2, 3, 4),)
