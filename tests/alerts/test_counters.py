"""The counters that alerts are made of, read from the recorder of a real process."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import pytest

import metertap
from metertap import catalogue, faults, state
from metertap.alerts import counters, thresholds
from metertap.alerts.evaluator import Evaluator
from support.evaluated import BEGAN, EVERY, QUIET, Process


def test_counters_are_those_of_the_recorder() -> None:
    recorder = state.recorder()
    metertap.record_tool_call("search", True, 10.0)
    metertap.record_tool_call("search", False, 30.0, "ValueError")
    metertap.record_tool_call("search", False)
    metertap.record_cache_hit("prices")
    metertap.record_cache_miss("prices")
    found = counters.read(recorder)
    key = ("search", "manual")
    assert found.tools == {key: (3, 3, 2, 2)}
    assert found.caches == {("prices", "manual"): (1, 1)}
    assert (found.faults, found.overflown) == ({}, 0)
    assert found.newest(key, 1, 0.0) == [30.0]
    assert found.newest(key, 2, 29.0) == found.newest(key, 99, 0.0) == [10.0, 30.0]
    assert found.newest(key, 2, 30.0) == []
    assert found.newest(key, 0, 0.0) == found.newest(("nobody", "manual"), 5, 0.0) == []


def test_the_newest_latencies_are_right_wherever_the_ring_begins() -> None:
    with metertap.instrument(window_size=7, json_endpoint=False):
        recorder = state.recorder()
        for index in range(40):
            metertap.record_tool_call("search", True, float(index))
            for count in range(9):
                expected = [float(item) for item in range(index + 1)][-7:][-count or 99 :]
                found = recorder.newest_latencies(("search", "manual"), count)
                assert found == pytest.approx(expected if count else [])


def test_reset_metrics_changes_no_alert() -> None:
    recorder = state.recorder()
    table = {"success_objective": False, "for": "0s", "p95_seconds": 1}
    evaluator = Evaluator(thresholds.read(table), EVERY, 0.0, counters.read(recorder))
    for step in range(1, 5):
        for index in range(50):
            metertap.record_tool_call("search", index % 2 == 0, 2000.0)
            metertap.record_cache_miss("prices")
        alerts = evaluator.evaluate(step * EVERY, BEGAN, counters.read(recorder))
        metertap.reset_metrics()
    assert [alert.finding.summary for alert in alerts] == [
        "search fails: 50 % of 200 calls in 1 min, more than 5 %",
        "search is slow: 95 % of 50 calls in 1 min took up to 2 s, more than 1 s",
        "prices hardly helps: 0 % of 200 lookups in 1 min hit, less than 10 %",
    ]


def test_faults_and_names_past_a_limit_that_are_over_say_so() -> None:
    process = Process({**QUIET, "for": "0s"})
    process.fault()
    process.counters = replace(process.counters, overflown=2)
    process.run(EVERY)
    assert process.firing == {"MetertapMeterFaults", "MetertapSeriesOverflow"}
    process.counters = replace(process.counters, overflown=0)
    process.run(EVERY)
    told = {item.finding.summary: item.finding.value for item in process.alerts}
    assert told["no name is past a limit any more"] == 0
    process.run(1000)
    told = {item.finding.summary: item.finding.value for item in process.alerts}
    assert told["metertap itself has had no new fault at fold in 15 min"] == 0


@pytest.mark.faults
def test_what_a_program_passes_wrongly_is_no_fault_of_the_meter() -> None:
    recorder = state.recorder()
    table = {"overflow": False, "error_rate": False, "success_objective": False}
    evaluator = Evaluator(thresholds.read(table), EVERY, 0.0, counters.read(recorder))
    wrong: Any = 3
    metertap.record_tool_call("search", True, math.nan)
    metertap.record_tool_call("", True, 1.0)
    metertap.record_tool_call("search", False, 1.0, error_type=wrong)
    metertap.cache_meter("prices").evicted(-1)
    metertap.name_cache({}, "prices")
    assert evaluator.evaluate(EVERY, BEGAN, counters.read(recorder)) == ()
    faults.fault("here", "a fault of the test's")
    (alert,) = evaluator.evaluate(2 * EVERY, BEGAN, counters.read(recorder))
    assert (alert.finding.name, alert.state) == ("MetertapMeterFaults", "firing")


def test_names_past_the_limit_are_an_overflow_and_unknown_tools_are_not() -> None:
    with metertap.instrument(series_limit=2, json_endpoint=False):
        recorder = state.recorder()
        recorder.record_tool(recorder.other_tool("mcp:shop"), "caller_error")
        metertap.record_tool_call("one", True, 1.0)
        assert counters.read(recorder).overflown == 0
        for name in ("two", "three", "four"):
            metertap.record_tool_call(name, True, 1.0)
        assert counters.read(recorder).overflown == 1


@pytest.mark.parametrize(
    "metric",
    [
        catalogue.TOOL_FIRST_ITEM,
        catalogue.SERVER_DURATION,
        catalogue.CLIENT_DURATION,
        catalogue.SERVER_SESSION,
        catalogue.CLIENT_SESSION,
        *catalogue.OF_MODELS,
    ],
    ids=lambda metric: str(metric.name),
)
def test_a_metric_past_its_limit_is_an_overflow(metric: catalogue.Metric) -> None:
    with metertap.instrument(series_limit=2, json_endpoint=False):
        recorder = state.recorder()
        for number in range(2):
            recorder.record_operation(number, metric, {"made": str(number)}, 0.1)
        assert counters.read(recorder).overflown == 0
        recorder.record_operation(2, metric, {"made": "2"}, 0.1)
        assert counters.read(recorder).overflown == 1


def test_nothing_of_alerts_is_imported_where_none_are_configured() -> None:
    for name in [name for name in sys.modules if name.startswith("metertap.runtime.alert_watch")]:
        del sys.modules[name]
    with metertap.instrument() as tap:
        assert tap.watch is None
        assert tap.snapshot()["alerts"] is None
    assert "metertap.runtime.alert_watch" not in sys.modules
