"""One kind of operation: data points that share a buffer, and when they are handed over."""

from __future__ import annotations

import time

import pytest

from metertap import catalogue
from metertap.recording import Recorder
from metertap.recording.buffer import CHUNK
from metertap.recording.operation_series import OperationSeries
from support.kept_instruments import KeptInstruments

METRIC = catalogue.SERVER_DURATION


def record(recorder: Recorder, seconds: float, key: str = "", error: str | None = None) -> None:
    attributes = {catalogue.MCP_METHOD: "tools/list"}
    if key:
        attributes[catalogue.NETWORK_TRANSPORT] = key
    if error is not None:
        attributes[catalogue.ERROR_TYPE] = error
    recorder.record_operation((key, error), METRIC, attributes, seconds)


def only(recorder: Recorder) -> OperationSeries:
    point = recorder.find_operation(("", None))
    assert point is not None
    return point.series


def test_the_first_of_each_data_point_is_handed_over_at_once_and_others_wait(
    recorder: Recorder, instruments: KeptInstruments
) -> None:
    record(recorder, 0.1)
    record(recorder, 0.2, "tcp")
    record(recorder, 0.3, error="KeyError")
    assert instruments.durations == [0.1, 0.2, 0.3]
    for seconds in (0.4, 0.5):
        record(recorder, seconds)
    record(recorder, 0.6, "tcp")
    record(recorder, 0.7, error="KeyError")
    assert instruments.durations == [0.1, 0.2, 0.3]
    recorder.fold()
    assert [item.durations for item in instruments.handed[3:]] == [[0.4, 0.5], [0.6], [0.7]]
    assert {item.metric for item in instruments.handed} == {METRIC.name}
    assert len({id(item.attributes) for item in instruments.handed}) == 3


def test_only_the_usual_ones_go_together(recorder: Recorder, instruments: KeptInstruments) -> None:
    for seconds in (0.1, 0.2, 0.3):
        record(recorder, seconds)
    recorder.fold()
    assert [item.durations for item in instruments.handed] == [[0.1], [0.2, 0.3]]
    [figures] = recorder.figures().operations
    assert (figures.calls, figures.failed, figures.total_ms) == (3, 0, pytest.approx(600))


def test_where_the_first_one_failed_the_usual_ones_are_those_that_go_well(
    recorder: Recorder, instruments: KeptInstruments
) -> None:
    record(recorder, 0.1, error="KeyError")
    record(recorder, 0.2)
    record(recorder, 0.3)
    assert instruments.durations == [0.1, 0.2]
    usual = only(recorder).usual
    assert usual is recorder.find_operation(("", None))
    [figures] = recorder.figures().operations
    assert (figures.calls, figures.failed, figures.error_types) == (3, 1, {"KeyError": 1})


def test_a_reader_that_comes_later_sees_the_next_of_each_at_once(
    recorder: Recorder, instruments: KeptInstruments
) -> None:
    for _ in range(2):
        record(recorder, 0.1)
        record(recorder, 0.2, "tcp")
    later = KeptInstruments()
    recorder.instruments = [later]
    assert len(instruments.durations) == 4
    record(recorder, 0.3, "tcp")
    assert later.durations == [0.3]
    record(recorder, 0.4)
    assert later.durations == [0.3, 0.4]
    record(recorder, 0.5, "tcp")
    record(recorder, 0.6)
    assert later.durations == [0.3, 0.4]


def test_operations_that_nobody_looks_at_are_taken_in_by_chunks(
    recorder: Recorder, instruments: KeptInstruments
) -> None:
    for number in range(2 * CHUNK + 2):
        record(recorder, 0.1, "tcp" if number % 2 else "")
        assert only(recorder).waiting <= CHUNK
    assert len(instruments.durations) >= 2 * CHUNK


def test_operations_under_a_sampled_span_say_where_they_were_taken(
    recorder: Recorder, instruments: KeptInstruments
) -> None:
    record(recorder, 0.1)
    record(recorder, 0.2, "tcp")
    instruments.handed.clear()
    spans = iter([None, "first", None, "second"])
    recorder.trace_with(lambda: next(spans))
    for seconds in (0.3, 0.4):
        record(recorder, seconds)
    for seconds in (0.5, 0.6):
        record(recorder, seconds, "tcp")
    recorder.fold()
    usual, other = instruments.handed
    assert (usual.durations, other.durations) == ([0.3, 0.4], [0.5, 0.6])
    assert [(trace.position, trace.context) for trace in usual.traces] == [(1, "first")]
    assert [(trace.position, trace.context) for trace in other.traces] == [(1, "second")]
    [figures] = recorder.figures().operations
    assert figures.total_ms == pytest.approx(2100)


def test_the_last_operation_is_when_it_ended(recorder: Recorder) -> None:
    record(recorder, 5.0, "tcp")
    [figures] = recorder.figures().operations
    assert figures.last_call == pytest.approx(time.time(), abs=60)


def test_past_the_limit_new_kinds_share_attributes_and_a_data_point_by_error_type(
    instruments: KeptInstruments,
) -> None:
    recorder = Recorder(series_limit=1)
    recorder.instruments = [instruments]
    record(recorder, 0.1)
    for transport in ("tcp", "pipe"):
        record(recorder, 0.2, transport)
        record(recorder, 0.3, transport, "KeyError")
    recorder.fold()
    shared = [item.attributes for item in instruments.handed[1:]]
    assert shared[0] == {"otel.metric.overflow": True}
    assert len({id(attributes) for attributes in shared}) == 1
    assert len(only(recorder).points) == 3
    [figures] = recorder.figures().operations
    assert (figures.calls, figures.failed) == (5, 2)


def test_a_session_is_counted_from_its_opening_to_its_end(recorder: Recorder) -> None:
    opened = [recorder.session_opened() for _ in range(3)]
    assert recorder.active_sessions() == 3
    recorder.session_closed(opened[0])
    recorder.session_closed()
    assert recorder.active_sessions() == 1
    recorder.sessions_by_hand = 7
    assert recorder.active_sessions() == 7
    recorder.reset()
    assert recorder.active_sessions() == 0
    recorder.session_opened()
    recorder.session_closed(opened[1])  # of before
    assert recorder.active_sessions() == 1
    for _ in range(3):
        recorder.session_closed()
    assert recorder.active_sessions() == 0
    recorder.session_opened()
    assert recorder.active_sessions() == 1
