"""Figures of operations and sessions: counts, errors and exact percentiles, by method and name."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from metertap import catalogue, faults
from metertap.recording import Recorder
from metertap.recording.figures import OperationFigures

pytestmark = pytest.mark.mcp


def record(
    recorder: Recorder,
    seconds: float,
    metric: catalogue.Metric = catalogue.SERVER_DURATION,
    **attributes: str,
) -> None:
    found = {key.replace("__", "."): value for key, value in attributes.items()}
    key = (metric.name, *sorted(found.items()))
    recorder.record_operation(key, metric, found, seconds)


def read(recorder: Recorder, seconds: float, **attributes: str) -> None:
    record(recorder, seconds, mcp__method__name="resources/read", **attributes)


def only(recorder: Recorder) -> OperationFigures:
    [figures] = recorder.figures().operations
    return figures


@pytest.mark.parametrize("calls", [1, 2, 60, 250, 3000])
def test_endings_share_one_window_in_completion_order(calls: int) -> None:
    recorder = Recorder(window_size=100)
    durations = [0.001 * (number * 7919 % 1009) for number in range(calls)]
    for number, seconds in enumerate(durations):
        if number % 3 == 1:
            read(recorder, seconds, error__type="KeyError")
        elif number % 3 == 2:
            read(recorder, seconds, network__transport="tcp")
        else:
            read(recorder, seconds)
    figures = only(recorder)
    failed = len(durations[1::3])
    assert (figures.side, figures.method, figures.name) == ("server", "resources/read", None)
    assert (figures.calls, figures.failed) == (calls, failed)
    assert figures.error_types == ({"KeyError": failed} if failed else {})
    assert figures.total_ms == pytest.approx(sum(durations) * 1000)
    assert figures.minimum_ms == min(durations) * 1000
    assert figures.maximum_ms == max(durations) * 1000
    window = [seconds * 1000 for seconds in durations[-100:]]
    assert figures.window_samples == len(window)
    found = (figures.percentiles.p50, figures.percentiles.p95, figures.percentiles.p99)
    if calls < 2:
        assert found == (None, None, None)
    else:
        exact = statistics.quantiles(window, n=100)
        assert found == (exact[49], exact[94], exact[98])


def test_methods_names_and_sides_stand_apart_and_first_items_nowhere() -> None:
    recorder = Recorder()
    call: dict[str, Any] = {"mcp__method__name": "tools/call"}
    record(recorder, 0.1, gen_ai__tool__name="a", **call)
    record(recorder, 0.2, gen_ai__tool__name="b", **call)
    record(recorder, 0.3, catalogue.CLIENT_DURATION, gen_ai__tool__name="a", **call)
    record(recorder, 0.4, mcp__method__name="prompts/get", gen_ai__prompt__name="a")
    record(recorder, 0.5, catalogue.TOOL_FIRST_ITEM, gen_ai__tool__name="a")
    record(recorder, 60.0, catalogue.CLIENT_SESSION)
    figures = recorder.figures()
    assert [(item.side, item.method, item.name, item.total_ms) for item in figures.operations] == [
        ("server", "tools/call", "a", 100),
        ("server", "tools/call", "b", 200),
        ("client", "tools/call", "a", 300),
        ("server", "prompts/get", "a", 400),
    ]
    [session] = figures.sessions
    assert (session.side, session.method, session.calls, session.total_ms) == (
        "client",
        "",
        1,
        60_000,
    )


def test_any_number_is_a_duration_and_what_is_none_is_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder()
    for metric in (catalogue.SERVER_DURATION, catalogue.SERVER_SESSION):
        for seconds in (2, 0.5, 1):
            record(recorder, seconds, metric)
        record(recorder, 3, metric, error__type="KeyError")
        for wrong in (-1, math.nan, math.inf, True, None, "2", 10**400):
            record(recorder, wrong, metric)  # type: ignore[arg-type]
        recorder.operation((metric.name,), metric, {}).record(4)
    figures = recorder.figures()
    for found in (*figures.operations, *figures.sessions):
        assert (found.calls, found.failed, found.total_ms) == (5, 1, 10500.0)
    assert faults.fault_counts() == {}
    [warning] = [item for item in caplog.messages if "duration" in item]
    assert warning == "metertap: -1 is not a duration in s; it is dropped"


def test_figures_are_the_same_object_until_something_changes() -> None:
    recorder = Recorder()
    read(recorder, 0.1)
    before = only(recorder)
    assert only(recorder) is before
    read(recorder, 0.1)
    assert only(recorder).calls == 2


def test_figures_begin_again_and_what_waited_before_is_not_in_them() -> None:
    recorder = Recorder()
    for _ in range(3):
        read(recorder, 0.1, error__type="KeyError")
        read(recorder, 0.1)
    recorder.start_over()
    assert recorder.figures().operations == ()
    read(recorder, 0.2)
    figures = only(recorder)
    assert (figures.calls, figures.failed, figures.error_types) == (1, 0, {})
    assert figures.minimum_ms == 200


def test_a_window_of_another_size_keeps_the_newest() -> None:
    recorder = Recorder(window_size=10)
    for number in range(10):
        read(recorder, number / 1000)
    recorder.configure(window_size=4, series_limit=2000)
    assert only(recorder).window_samples == 4
    assert only(recorder).percentiles.p50 == 7.5


def test_error_types_are_bounded() -> None:
    recorder = Recorder()
    for number in range(300):
        read(recorder, 0.1, error__type=f"Made{number}")
    figures = only(recorder)
    assert figures.failed == 300
    assert len(figures.error_types) <= 101
    assert figures.error_types[catalogue.OTHER] >= 200


def test_past_the_series_limit_of_a_metric_figures_stay_exact() -> None:
    recorder = Recorder(series_limit=2)
    for number in range(5):
        record(recorder, 0.1, mcp__method__name=f"made/{number}")
        record(recorder, 0.1, catalogue.CLIENT_DURATION, mcp__method__name=f"made/{number % 2}")
    assert recorder.overflown() == [catalogue.SERVER_DURATION.name]
    servers = [item for item in recorder.figures().operations if item.side == "server"]
    assert [(item.method, item.calls) for item in servers] == [
        (f"made/{number}", 1) for number in range(5)
    ]


@pytest.mark.parametrize(
    "metric",
    [
        catalogue.SERVER_DURATION,
        catalogue.CLIENT_DURATION,
        catalogue.SERVER_SESSION,
        catalogue.CLIENT_SESSION,
    ],
    ids=lambda metric: str(metric.name),
)
def test_an_operation_is_activity(metric: catalogue.Metric) -> None:
    recorder, seen = Recorder(), []
    recorder.on_activity(lambda: seen.append("seen"))
    record(recorder, 0.1, metric)
    record(recorder, 0.1, metric)
    assert seen == ["seen"]


def test_an_open_session_is_activity() -> None:
    recorder, seen = Recorder(), []
    recorder.on_activity(lambda: seen.append("seen"))
    recorder.session_closed(recorder.session_opened())
    assert seen == ["seen"]
