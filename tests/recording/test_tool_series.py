"""One tool's series: what is counted, what waits, what is handed over and when."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from metertap import catalogue, outcomes
from metertap.recording import Recorder, ToolSeries
from support.kept_instruments import KeptInstruments

DURATION = catalogue.TOOL_DURATION.name


@pytest.fixture
def series(recorder: Recorder) -> ToolSeries:
    return recorder.tool("search", "test")


def call(series: ToolSeries, seconds: float, recorder: Recorder) -> None:
    recorder.started(series)
    series.append(seconds)


def fail(
    series: ToolSeries,
    recorder: Recorder,
    error_type: str | None = "KeyError",
    latency_ms: float | None = 5.0,
    ended: str = outcomes.EXCEPTION,
) -> None:
    recorder.record_tool(series, ended, error_type, latency_ms)


def test_calls_in_progress_are_those_that_began_and_did_not_end(
    series: ToolSeries, recorder: Recorder
) -> None:
    assert series.active == 0
    for _ in range(5):
        recorder.started(series)
    assert series.active == 5
    recorder.never_ended(series)
    assert series.active == 4
    for _ in range(2):
        series.left()
    assert series.active == 2
    series.append(0.1)
    assert (series.waiting, series.active) == (0, 1)
    series.append(0.1)
    assert (series.waiting, series.active) == (1, 0)
    series.append(0.1)  # one more than began
    assert series.active == 0


def test_lookups_tell_calls_apart_in_which_all_hit_from_those_in_which_one_missed(
    series: ToolSeries,
) -> None:
    assert series.figures().with_cache is None
    series.looked_up(False, False, 0.9)
    assert series.figures().with_cache is None
    series.looked_up(True, False, 0.001)
    series.looked_up(False, True, 0.01)
    series.looked_up(True, True, 0.02)
    found = series.figures().with_cache
    assert found is not None
    assert [(part.calls, part.total_ms) for part in found] == [(1, 1.0), (2, 30.0)]


def test_no_latencies_beside_the_tools_own_wait_after_a_fold(
    series: ToolSeries, recorder: Recorder
) -> None:
    """Where nobody looks at figures, they would take ever more memory."""
    for _ in range(2):
        call(series, 0.1, recorder)
        for missed in (False, True):
            series.looked_up(True, missed, 0.1)
        series.first_item(0.1)
    recorder.fold()
    assert series.looked_up_calls is not None
    assert series._first_items is not None
    assert [part._items for part in (*series.looked_up_calls, series._first_items)] == [[], [], []]


def test_where_nothing_stands_against_it_appending_is_the_lists_own(
    series: ToolSeries, recorder: Recorder
) -> None:
    call(series, 0.1, recorder)
    assert series.append == series._items.append
    recorder.trace_with(lambda: None)
    assert series.append != series._items.append


def test_first_items_are_figures_of_the_tool_and_a_metric_of_their_own(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    assert series.figures().first_item is None
    series.first_item(0.25)
    series.first_item(0.5)
    found = series.figures().first_item
    assert found is not None
    assert (found.calls, found.total_ms, found.percentiles.p50) == (2, 750.0, 375.0)
    recorder.fold()
    assert [(item.metric, item.durations) for item in instruments.handed] == [
        (catalogue.TOOL_FIRST_ITEM.name, [0.25]),
        (catalogue.TOOL_FIRST_ITEM.name, [0.5]),
    ]
    assert instruments.handed[0].attributes == {catalogue.TOOL_NAME: "search"}


def test_the_first_call_of_each_ending_is_handed_over_at_once_and_others_wait(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    call(series, 0.1, recorder)
    fail(series, recorder, latency_ms=5.0)
    assert instruments.durations == [0.1, 0.005]
    call(series, 0.2, recorder)
    fail(series, recorder, latency_ms=6.0)
    assert (series.waiting, instruments.durations) == (2, [0.1, 0.005])
    fail(series, recorder, "ValueError", latency_ms=7.0)
    assert series.waiting == 0
    assert instruments.durations == [0.1, 0.005, 0.2, 0.006, 0.007]


def test_a_series_whose_first_call_failed_sees_its_first_success_at_once(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    fail(series, recorder)
    call(series, 0.1, recorder)
    assert instruments.durations == [0.005, 0.1]
    call(series, 0.2, recorder)
    assert series.waiting == 1


def test_each_ending_is_a_series_with_one_dictionary_of_attributes_for_good(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    for seconds in (0.1, 0.2):
        call(series, seconds, recorder)
        fail(series, recorder, "KeyError")
        fail(series, recorder, None, ended=outcomes.CANCELLED)
        recorder.fold()
    ok = {catalogue.TOOL_NAME: "search", catalogue.OUTCOME: "ok"}
    failed = {
        catalogue.TOOL_NAME: "search",
        catalogue.OUTCOME: "exception",
        catalogue.ERROR_TYPE: "KeyError",
    }
    cancelled = {catalogue.TOOL_NAME: "search", catalogue.OUTCOME: "cancelled"}
    assert [item.attributes for item in instruments.handed] == [ok, failed, cancelled] * 2
    assert len({id(item.attributes) for item in instruments.handed}) == 3
    assert {item.metric for item in instruments.handed} == {DURATION}


def test_what_waits_together_is_counted_by_its_endings_and_sampled_in_order(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    call(series, 0.001, recorder)
    fail(series, recorder, latency_ms=2.0)
    fail(series, recorder, "Late", latency_ms=3.0, ended=outcomes.CANCELLED)
    instruments.handed.clear()
    call(series, 0.004, recorder)
    fail(series, recorder, latency_ms=5.0)
    fail(series, recorder, latency_ms=None)
    fail(series, recorder, "Late", latency_ms=6.0, ended=outcomes.CANCELLED)
    fail(series, recorder, "Late", latency_ms=7.0, ended=outcomes.CANCELLED)
    call(series, 0.008, recorder)
    assert series.waiting == 6
    figures = series.figures()
    counts = {ended: count for ended, count in figures.counts.items() if count}
    assert counts == {"ok": 3, "exception": 3, "cancelled": 3}
    assert (figures.succeeded, figures.failed) == (3, 3)
    assert figures.error_types == {"KeyError": 3, "Late": 3}
    assert figures.errors == {"exception KeyError": 3, "cancelled Late": 3}
    assert (figures.sampled, figures.total_ms) == (5, 20.0)
    assert (figures.minimum_ms, figures.maximum_ms) == (1.0, 8.0)
    assert (figures.unsampled, figures.unsampled_ms) == (3, 16.0)
    assert series.window.milliseconds() == [1.0, 2.0, 4.0, 5.0, 8.0]
    assert {item.attributes["metertap.outcome"]: item.durations for item in instruments.handed} == {
        "ok": [0.004, 0.008],
        "exception": [0.005],
        "cancelled": [0.006, 0.007],
    }


def test_where_nothing_is_sampled_the_window_stays_empty(
    series: ToolSeries, recorder: Recorder
) -> None:
    fail(series, recorder, None, latency_ms=6.0, ended=outcomes.INTERIM)
    figures = series.figures()
    assert (figures.sampled, figures.minimum_ms, figures.window_samples) == (0, None, 0)
    assert (figures.unsampled, figures.unsampled_ms) == (1, 6.0)


def test_samples_under_a_sampled_span_say_where_they_were_taken(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    call(series, 0.1, recorder)
    fail(series, recorder)
    instruments.handed.clear()
    spans = iter([None, "first", "second", None, "third"])
    recorder.trace_with(lambda: next(spans))
    for seconds in (0.2, 0.3):
        call(series, seconds, recorder)
    fail(series, recorder, latency_ms=6.0)
    fail(series, recorder, latency_ms=7.0)
    call(series, 0.4, recorder)
    before = time.time_ns()
    recorder.fold()
    of_ok, failed = instruments.handed
    assert of_ok.durations == [0.2, 0.3, 0.4]
    assert [(trace.position, trace.context) for trace in of_ok.traces] == [
        (1, "first"),
        (2, "third"),
    ]
    assert failed.durations == [0.006, 0.007]
    assert [(trace.position, trace.context) for trace in failed.traces] == [(0, "second")]
    assert before - 60e9 < of_ok.traces[0].time_ns <= before
    assert series.figures().total_ms == pytest.approx(1000 + 5 + 13)


def test_error_types_are_bounded_for_instruments_after_figures_began_again_too(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    for number in range(100):
        fail(series, recorder, f"Made{number}")
    fail(series, recorder, "One more")
    assert series.figures().error_types == {
        **{f"Made{number}": 1 for number in range(100)},
        catalogue.OTHER: 1,
    }
    recorder.start_over()
    fail(series, recorder, "Yet another")
    fail(series, recorder, "Made7")
    assert series.figures().error_types == {catalogue.OTHER: 1, "Made7": 1}
    recorder.fold()
    types = {item.attributes[catalogue.ERROR_TYPE] for item in instruments.handed}
    assert len(types) == 101


def test_an_error_type_is_bounded_in_its_length(series: ToolSeries, recorder: Recorder) -> None:
    fail(series, recorder, "E" * 500)
    fail(series, recorder, "E" * 500)
    assert series.figures().error_types == {"E" * 200: 2}


CHANGES: list[Callable[[ToolSeries, Recorder], None]] = [
    lambda series, recorder: recorder.started(series),
    lambda series, recorder: series.left(),
    lambda series, recorder: series.looked_up(True, False, 0.1),
    lambda series, recorder: series.looked_up(False, True, 0.1),
    lambda series, recorder: series.first_item(0.1),
    lambda series, recorder: series.append(0.1),
    lambda series, recorder: fail(series, recorder, latency_ms=None),
    lambda series, recorder: recorder.configure(window_size=1, series_limit=1),
    lambda series, recorder: recorder.start_over(),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("is_used", [False, True])
def test_figures_are_the_same_object_until_something_changes(
    series: ToolSeries,
    recorder: Recorder,
    change: Callable[[ToolSeries, Recorder], None],
    is_used: bool,
) -> None:
    for _ in range(2):
        recorder.started(series)
    if is_used:
        call(series, 0.2, recorder)
        series.looked_up(True, False, 0.2)
        series.looked_up(False, True, 0.2)
        series.first_item(0.2)
    before = series.figures()
    assert series.same_figures() is series.figures() is before
    change(series, recorder)
    assert series.same_figures() is not before
    assert series.figures() is not before


def test_figures_begin_again_without_calls_that_are_over(
    series: ToolSeries, recorder: Recorder
) -> None:
    call(series, 0.1, recorder)
    fail(series, recorder)
    fail(series, recorder, None, ended=outcomes.CANCELLED)
    series.looked_up(True, False, 0.1)
    series.first_item(0.1)
    recorder.started(series)
    recorder.start_over()
    figures = series.figures()
    assert not any(figures.counts.values())
    assert (figures.error_types, figures.sampled, figures.total_ms) == ({}, 0, 0.0)
    assert (figures.minimum_ms, figures.maximum_ms) == (None, None)
    assert (figures.unsampled, figures.unsampled_ms) == (0, 0.0)
    assert (figures.with_cache, figures.first_item, figures.last_call) == (None, None, None)
    assert (figures.window_samples, figures.active) == (0, 1)


def test_the_last_call_is_when_it_ended_by_the_clock_on_the_wall(
    series: ToolSeries, recorder: Recorder
) -> None:
    assert series.last_call is None
    fail(series, recorder)
    assert series.last_call == pytest.approx(time.time(), abs=60)
    series.ended = time.perf_counter() - 3000
    found = series.last_call
    assert found == pytest.approx(time.time() - 3000, abs=60)
    assert series.last_call == found  # computed once: it does not move with the clock
    series.ended = time.perf_counter() - 500
    assert series.last_call == pytest.approx(time.time() - 500, abs=60)


def test_a_reader_that_comes_later_sees_the_next_call_of_each_ending_at_once(
    series: ToolSeries, recorder: Recorder, instruments: KeptInstruments
) -> None:
    for _ in range(2):
        call(series, 0.1, recorder)
        fail(series, recorder)
    later = KeptInstruments()
    recorder.instruments = [instruments, later]
    assert (len(instruments.durations), later.durations) == (4, [])
    call(series, 0.3, recorder)
    assert later.durations == [0.3]
    fail(series, recorder, latency_ms=4.0)
    assert later.durations == [0.3, 0.004]
