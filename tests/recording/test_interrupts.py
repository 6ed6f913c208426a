"""An interrupt (Ctrl-C, a handler that raises) leaves no lock taken, and every call is counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from metertap import catalogue
from metertap.history.gathering import Gathering
from metertap.otel.histograms import Histograms
from metertap.otel.replay import Journal
from metertap.recording import Recorder, buffer
from metertap.recording.batch import Batch
from metertap.recording.buffer import Buffer
from metertap.recording.cache_series import CacheSeries
from metertap.recording.window import Latencies
from support.interrupting import everywhere
from support.kept_instruments import KeptInstruments
from support.metric_data import points

pytestmark = pytest.mark.interpreter

CALLS = 40
SECONDS = [number / 64 for number in range(1, CALLS)]


def is_free(lock: Any) -> bool:
    """Return whether another thread gets it."""
    found: list[bool] = []

    def take() -> None:
        found.append(lock.acquire(timeout=1))
        if found == [True]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return found == [True]


def recorder_with(*instruments: Any) -> Recorder:
    recorder = Recorder()
    recorder.instruments = instruments
    return recorder


def tool(recorder: Recorder) -> Buffer:
    series = recorder.tool("search", "library")
    series.append(1.0)
    return series


def failing_tool(recorder: Recorder) -> Buffer:
    series = recorder.tool("search", "library")
    for _ in range(2):
        series.end("exception", "KeyError", 1000.0, 1.0)
    series.append(1.0)
    return series


def operation(recorder: Recorder) -> Buffer:
    attributes = {catalogue.MCP_METHOD: "ping"}
    for error in (None, "timeout"):
        if error:
            attributes = {**attributes, catalogue.ERROR_TYPE: error}
        point = recorder.operation(("ping", error), catalogue.CLIENT_DURATION, attributes)
        point.record(1.0)
    point.record(1.0)
    return point.series


def weight(recorder: Recorder) -> Buffer:
    series = recorder.weight("search", "library")
    for size in (1, 1, -1, -2):
        series.record(size)
    return series


@pytest.mark.parametrize("begun", [tool, failing_tool, operation, weight])
def test_what_waits_is_counted_once_wherever_its_fold_is_interrupted(
    begun: Callable[[Recorder], Buffer],
) -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        kept = KeptInstruments()
        recorder = recorder_with(kept)
        gathering = Gathering(recorder, lambda: None)
        gathering.start()
        series: Any = begun(recorder)
        series.fold()
        before, handed, heard = series.latencies.count, len(kept.durations), heard_by(gathering)
        items = [*SECONDS] if begun is not weight else [*range(1, CALLS)]
        if begun is failing_tool:
            series.end("exception", "KeyError", 1000.0, 1.0)
            items.append(1.0)
        elif begun is operation:
            series.points[1].record(1.0)
            items.append(1.0)
        series._items.extend(items[: CALLS - 1])

        def fold() -> None:
            with recorder.lock:
                series.fold()

        def check(number: int) -> None:
            assert is_free(recorder.lock), number
            fold()
            assert series.waiting == 0, number
            assert series.latencies.count - before == len(items), number
            assert len(series.window) == series.latencies.count, number
            assert len(kept.durations) - handed == len(items), number
            assert heard_by(gathering) - heard == len(items), number
            if begun is failing_tool:
                assert series.counts["exception"] == 3, number
            elif begun is operation:
                assert (series._failed, series.error_types) == (3, {"timeout": 3}), number
            elif begun is weight:
                assert (series.unknown, series.skipped) == (1, 1), number

        return fold, check

    assert everywhere(prepare) > 20


def heard_by(gathering: Gathering) -> int:
    return sum(len(items) for _, items in gathering._folded)


@pytest.mark.parametrize("problem", [None, "value by value"])
def test_what_the_sdk_is_given_is_given_once_wherever_it_is_interrupted(
    problem: str | None,
) -> None:
    metric = catalogue.TOOL_DURATION
    attributes = {catalogue.TOOL_NAME: "search"}
    seconds = SECONDS[:3] if problem else SECONDS

    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], Resource({}), shutdown_on_exit=False)
        histogram = provider.get_meter("test").create_histogram(metric.name)
        instruments = Histograms(provider, {metric.name: histogram}, problem)
        instruments.record(metric, Batch([1.0]), attributes)
        batch = Batch(seconds)

        def record() -> None:
            instruments.record(metric, batch, attributes)

        def check(number: int) -> None:
            record()
            (point,) = points(reader, metric.name)
            # Value by value it is the SDK that is interrupted, in the middle of one.
            more = point.count - 1 - len(seconds)
            assert more in ({0, 1} if problem else {0}), number
            assert point.count == sum(point.bucket_counts), number
            if not problem:
                assert point.sum == sum([1.0, *seconds]), number

        return record, check

    assert everywhere(prepare) > 20


def test_what_is_kept_for_a_provider_is_kept_once_wherever_that_is_interrupted() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        journal, kept, batch = Journal(), KeptInstruments(), Batch(SECONDS)

        def record() -> None:
            journal.record(catalogue.TOOL_DURATION, batch, {})

        def check(number: int) -> None:
            record()
            journal.replay(kept)
            assert (kept.durations, journal.count) == (SECONDS, len(SECONDS)), number

        return record, check

    assert everywhere(prepare) > 3


def test_latencies_beside_a_tools_own_are_counted_once_wherever_their_fold_is_interrupted() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        latencies = Latencies(1000)
        for seconds in SECONDS:
            latencies.append(seconds)

        def check(number: int) -> None:
            assert latencies.totals() == (len(SECONDS), sum(SECONDS) * 1000.0), number
            assert [*latencies.run().samples] == SECONDS, number

        return latencies.fold, check

    assert everywhere(prepare) > 10


def test_a_window_that_goes_round_keeps_each_sample_once_wherever_it_is_interrupted() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        latencies = Latencies(300)
        first = [number / 64 for number in range(300)]
        for seconds in first:
            latencies.append(seconds)
        for seconds in (0.5, 0.25):  # looked at twice, it keeps them in order
            latencies.figures()
            latencies.append(seconds)
        latencies.figures()
        for seconds in SECONDS:
            latencies.append(seconds)

        def check(number: int) -> None:
            latencies.fold()
            expected = [*first, 0.5, 0.25, *SECONDS][-300:]
            assert [*latencies.run().samples] == expected, number
            fresh = Latencies(300)
            for seconds in expected:
                fresh.append(seconds)
            assert latencies.figures().percentiles == fresh.figures().percentiles, number

        return latencies.fold, check

    assert everywhere(prepare) > 10


def test_a_round_of_ticks_that_is_interrupted_as_it_begins_counts_the_call_or_does_not() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        recorder = recorder_with(KeptInstruments())
        series = recorder.tool("search", "library")
        series.append(1.0)
        series._items.append(1.0)
        before = series.ticks - series._settled

        def began() -> None:
            series.due()
            recorder.began = True  # type: ignore[attr-defined]

        def check(number: int) -> None:
            assert is_free(recorder.lock), number
            series.fold()
            is_begun = getattr(recorder, "began", False)
            assert series.ticks - series._settled == before - 1 + is_begun, number
            for _ in range(buffer.CHUNK):
                recorder.started(series)
            assert series.ticks - series._settled == before - 1 + is_begun + buffer.CHUNK, number

        return began, check

    assert everywhere(prepare) > 10


def test_a_cache_whose_end_is_interrupted_leaves_its_lock_free() -> None:
    def prepare() -> tuple[Callable[[], object], Callable[[int], None]]:
        series, part = (CacheSeries("answers", "library") for _ in range(2))
        series.parts[part] = None

        def check(number: int) -> None:
            assert is_free(series._lock), number

        return lambda: series.absorb(part), check

    assert everywhere(prepare) > 5
