"""When what has gathered goes to the instruments, and to which."""

from __future__ import annotations

import threading

import pytest

from metertap import catalogue, faults
from metertap.recording import Recorder, ToolSeries
from metertap.recording.batch import Batch
from metertap.recording.buffer import CHUNK
from support.kept_instruments import KeptInstruments


class Broken(KeptInstruments):
    """Takes nothing."""

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        raise RuntimeError("broken")


class FindsOut(KeptInstruments):
    """Has to have each sample at once from its second batch on."""

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        super().record(metric, batch, attributes)
        self.in_order = len(self.handed) > 1


def call(recorder: Recorder, series: ToolSeries, seconds: float) -> None:
    recorder.started(series)
    series.append(seconds)


def is_free(recorder: Recorder) -> bool:
    """Whether another thread could take the recorder's lock."""
    found = []

    def take() -> None:
        taken = recorder.lock.acquire(blocking=False)
        found.append(taken)
        if taken:
            recorder.lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found == [True]


def test_what_waited_belongs_to_the_instruments_that_were_there_before() -> None:
    before, after = KeptInstruments(), KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [before]
    series = recorder.tool("search", "test")
    for seconds in (0.1, 0.2):
        call(recorder, series, seconds)
    recorder.instruments = [after]
    assert list(recorder.instruments) == [after]
    assert (before.durations, after.durations, series.waiting) == ([0.1, 0.2], [], 0)
    call(recorder, series, 0.3)
    assert (before.durations, after.durations) == ([0.1, 0.2], [0.3])
    call(recorder, series, 0.4)
    assert series.waiting == 1


def test_what_is_recorded_while_new_instruments_begin_is_theirs() -> None:
    """They are given what those before them had; nobody would give them what came after."""
    before, after = KeptInstruments(), KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [before]
    series = recorder.tool("search", "test")
    for seconds in (0.1, 0.2):
        call(recorder, series, seconds)
    given: list[float] = []

    def begin() -> None:
        given.extend(before.durations)
        call(recorder, series, 0.3)

    recorder.switch([after], begin)
    recorder.fold()
    assert (given, before.durations, after.durations) == ([0.1, 0.2], [0.1, 0.2], [0.3])


def test_where_one_of_the_instruments_wants_it_each_sample_comes_at_once() -> None:
    patient, other = KeptInstruments(), KeptInstruments(in_order=True)
    recorder = Recorder()
    series = recorder.tool("search", "test")
    recorder.instruments = [patient, other]
    for seconds in (0.1, 0.2, 0.3):
        call(recorder, series, seconds)
    recorder.record_tool(series, "exception", "KeyError", 400.0)
    recorder.record_tool(series, "exception", "KeyError", 500.0)
    assert patient.durations == other.durations == [0.1, 0.2, 0.3, 0.4, 0.5]
    recorder.instruments = [patient]
    for seconds in (0.6, 0.7):
        call(recorder, series, seconds)
    assert patient.durations == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_instruments_may_find_out_that_samples_have_to_come_at_once() -> None:
    found = FindsOut()
    recorder = Recorder()
    recorder.instruments = [found]
    one, other = recorder.tool("one", "test"), recorder.tool("other", "test")
    for series in (one, other):
        call(recorder, series, 0.1)
    assert recorder.in_order
    for series in (one, other):
        call(recorder, series, 0.2)
        assert series.waiting == 0
    assert found.durations == [0.1, 0.1, 0.2, 0.2]


@pytest.mark.parametrize("is_full", [False, True])
def test_before_a_series_begins_that_fills_a_limit_what_waits_elsewhere_goes_first(
    is_full: bool,
) -> None:
    """The newcomer shares a data point then, and sums depend on the order."""
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [instruments]
    series = recorder.tool("search", "test")
    for seconds in (0.1, 0.2):
        call(recorder, series, seconds)
    instruments.is_full = is_full
    call(recorder, recorder.tool("newcomer", "test"), 0.3)
    assert instruments.durations == ([0.1, 0.2, 0.3] if is_full else [0.1, 0.3])
    assert series.waiting == (0 if is_full else 1)


def test_a_newcomer_that_ended_otherwise_comes_after_what_waits_elsewhere() -> None:
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [instruments]
    series = recorder.tool("search", "test")
    for seconds in (0.1, 0.2):
        call(recorder, series, seconds)
    newcomer = recorder.tool("newcomer", "test")
    call(recorder, newcomer, 0.3)
    instruments.is_full = True
    call(recorder, newcomer, 0.4)
    recorder.record_tool(newcomer, "exception", "KeyError", 500.0)
    assert instruments.durations == [0.1, 0.3, 0.2, 0.4, 0.5]


@pytest.mark.faults
def test_instruments_that_raise_keep_nothing_from_the_others() -> None:
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [Broken(), instruments]
    series = recorder.tool("search", "test")
    for seconds in (0.1, 0.2):
        call(recorder, series, seconds)
    recorder.fold()
    assert instruments.durations == [0.1, 0.2]
    assert faults.fault_counts() == {"instruments": 2}
    assert series.figures().sampled == 2
    assert not recorder.folding


@pytest.mark.faults
def test_a_span_that_cannot_be_asked_for_is_a_fault_and_the_sample_has_none() -> None:
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [instruments]
    assert recorder.trace() is None
    recorder.trace_with(lambda: 1 / 0)
    call(recorder, recorder.tool("search", "test"), 0.1)
    assert (instruments.durations, instruments.handed[0].traces) == ([0.1], [])
    assert faults.fault_counts() == {"trace": 1}


def test_a_chunk_of_ticks_takes_in_what_has_gathered_and_leaves_the_lock_free() -> None:
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [instruments]
    series = recorder.tool("search", "test")
    for number in range(CHUNK):
        assert series.ticks == number
        call(recorder, series, 0.1)
    assert series.waiting == CHUNK - 1
    positions = {series.position}
    call(recorder, series, 0.1)
    assert (series.ticks, series.waiting) == (CHUNK + 1, 1)
    assert len(instruments.durations) == CHUNK
    assert series.position not in positions
    assert is_free(recorder)
    assert not recorder.folding


def test_a_chunk_that_ends_while_another_thread_holds_the_lock_waits_for_the_next() -> None:
    recorder = Recorder()
    series = recorder.tool("search", "test")
    call(recorder, series, 0.1)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with recorder.lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    for _ in range(CHUNK):
        call(recorder, series, 0.1)
    assert series.waiting == CHUNK
    done.set()
    thread.join()
    for _ in range(CHUNK):
        call(recorder, series, 0.1)
    assert series.waiting <= CHUNK
    assert series.figures().sampled == 2 * CHUNK + 1


def test_a_fold_that_comes_in_the_middle_of_another_does_nothing() -> None:
    """As a finaliser's may, in the same thread."""
    recorder = Recorder()
    series = recorder.tool("search", "test")

    class Again(KeptInstruments):
        def record(
            self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]
        ) -> None:
            super().record(metric, batch, attributes)
            series.append(0.9)
            recorder.fold()

    instruments = Again()
    recorder.instruments = [instruments]
    call(recorder, series, 0.1)
    assert (instruments.durations, series.waiting) == ([0.1], 1)
    recorder.fold()
    assert instruments.durations == [0.1, 0.9]


def test_a_fold_leaves_a_series_out_if_that_is_asked_for() -> None:
    recorder = Recorder()
    one, other = recorder.tool("one", "test"), recorder.tool("other", "test")
    for series in (one, other):
        for _ in range(2):
            call(recorder, series, 0.1)
    recorder.fold(but=one)
    assert (one.waiting, other.waiting) == (1, 0)
    recorder.fold()
    assert one.waiting == 0


def test_tracing_that_begins_later_holds_for_series_that_are_there() -> None:
    instruments = KeptInstruments()
    recorder = Recorder()
    recorder.instruments = [instruments]
    series = recorder.tool("search", "test")
    call(recorder, series, 0.1)
    recorder.trace_with(lambda: "span")
    call(recorder, series, 0.2)
    call(recorder, recorder.tool("later", "test"), 0.3)
    recorder.fold()
    contexts = [[trace.context for trace in item.traces] for item in instruments.handed]
    assert contexts == [[], ["span"], ["span"]]
