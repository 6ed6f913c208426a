"""Alerts after restarts and resets, of few calls, and in windows of time; what resolved says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.alerts import counters, thresholds
from metertap.alerts.counters import STEPS, MonotonicCounts, SlidingIncrease
from metertap.alerts.evaluator import Evaluator
from support.evaluated import BEGAN, EVERY, QUIET, Process, failing, nothing


def test_after_a_restart_an_alert_is_the_same_and_has_to_hold_again() -> None:
    process = Process({**QUIET, "for": "2m"})
    process.run(300, failing(process, 50))
    before = process.only()
    process.restart()
    assert process.run(120, failing(process, 50)) == ["MetertapHighErrorRate pending"]
    process.run(60, failing(process, 50))
    assert process.only().key == before.key


def test_counting_that_begins_again_makes_no_negative_rate_and_loses_nothing() -> None:
    process = Process({**QUIET, "for": "0s"})
    process.run(150, failing(process, 50))
    process.counters = replace(process.counters, tools={})
    process.run(15, failing(process, 50))
    finding = process.only().finding
    assert finding.summary == "search fails: 50 % of 1100 calls in 2 min 45 s, more than 5 %"


def test_counters_that_grow_from_zero_again_go_on() -> None:
    growing: MonotonicCounts[str] = MonotonicCounts()
    seen = [growing.of({"a": counts})["a"] for counts in ((5, 1), (7, 1), (2, 0), (3, 3), (0, 0))]
    assert seen == [(5, 1), (7, 1), (9, 1), (10, 4), (10, 4)]


def test_a_window_holds_a_bounded_number_of_moments_and_is_as_long_as_it_says() -> None:
    for seconds, every in ((300.0, 15.0), (3600.0, 15.0), (60.0, 15.0), (1.0, 15.0), (300.0, 0.1)):
        window: SlidingIncrease[str] = SlidingIncrease(seconds, every, 0.0, {"a": (0,)})
        longest = 0
        for step in range(1, int(3 * seconds / every) + 10):
            window.move(step * every, {"a": (step,)})
            longest = max(longest, len(window))
        assert longest <= STEPS + 3
        grown = window.increase("a")
        assert grown is not None
        expected = max(1.0, seconds / every)
        assert expected <= grown[0] <= expected * (1 + 1.5 / STEPS) + 1, (seconds, every)


def test_a_window_that_has_just_begun_says_how_long_it_is() -> None:
    process = Process({**QUIET, "for": "0s"})
    process.run(60, failing(process, 50))
    assert "50 % of 400 calls in 1 min," in process.only().finding.summary


def test_the_percentile_is_of_calls_in_the_window_and_of_no_older_ones() -> None:
    process = Process({**QUIET, "p95_seconds": 1, "for": "1m"})
    process.run(300, lambda: process.calls(ok=50, ms=5000.0))
    assert process.firing == {"MetertapSlowTool"}
    process.run(450, lambda: process.calls(ok=5, ms=10.0))
    assert process.only().state == "resolved"


# Few calls


def few_calls(*latencies: float) -> list[str]:
    """What fires of a tool with these, which should take 50 ms at most."""
    recorder = state.recorder()
    table = {**QUIET, "for": "0s", "minimum_calls": 5, "p95_seconds": 0.05}
    evaluator = Evaluator(thresholds.read(table), EVERY, 0.0, counters.read(recorder))
    for latency in latencies:
        metertap.record_tool_call("q", True, latency)
    alerts = evaluator.evaluate(EVERY, BEGAN, counters.read(recorder))
    return [alert.finding.summary for alert in alerts if alert.state == "firing"]


def test_of_few_calls_no_latency_is_told_that_none_had() -> None:
    assert few_calls(10.0, 10.0, 10.0, 10.0, 45.5) == []
    shown = metertap.get_all_metrics()["tool_metrics"]["q"]
    assert shown["extrapolated"] == ["p95", "p99"]
    assert shown["p95_latency_ms"] > 50 > shown["max_latency_ms"]


def test_few_calls_that_are_slow_are_told_with_the_longest() -> None:
    assert few_calls(10.0, 10.0, 10.0, 10.0, 55.5) == [
        "q is slow: 95 % of 5 calls in 15 s took up to 55.5 ms, more than 50 ms"
    ]


# What resolved


@dataclass(frozen=True)
class Over:
    """What happens before each look until the alert fires, and then until it resolves."""

    fires: Callable[[Process], object]
    ends: Callable[[Process], object]
    value: float | None
    summary: str
    table: dict[str, Any] = field(default_factory=dict)


OVER = {
    "failing": Over(
        lambda it: it.calls(ok=50, failed=50),
        lambda it: it.calls(ok=99, failed=1),
        1.0,
        "search no longer fails too often: 1 % of 400 calls in 1 min",
    ),
    "failing, of few": Over(
        lambda it: it.calls(ok=50, failed=50),
        lambda it: it.calls(failed=1),
        100.0,
        "search: too few calls to tell whether it still fails, 4 calls in 1 min",
    ),
    "failing, of none": Over(
        lambda it: it.calls(ok=50, failed=50),
        nothing,
        None,
        "search: too few calls to tell whether it still fails, no calls in 1 min",
    ),
    "slow": Over(
        lambda it: it.calls(ok=20, ms=5000.0),
        lambda it: it.calls(ok=20, ms=12.0),
        12.0,
        "search is no longer slow: 95 % of 80 calls in 1 min took up to 12 ms",
        {"p95_seconds": 1},
    ),
    "slow, of none": Over(
        lambda it: it.calls(ok=20, ms=5000.0),
        nothing,
        None,
        "search: too few calls to tell whether it is still slow, no calls in 1 min",
        {"p95_seconds": 1},
    ),
    "a cache": Over(
        lambda it: it.lookups(1, 99),
        lambda it: it.lookups(80, 20),
        80.0,
        "prices helps: 80 % of 400 lookups in 1 min hit",
    ),
    "a cache that nobody asks": Over(
        lambda it: it.lookups(1, 99),
        nothing,
        None,
        "prices: too few lookups to tell whether it helps, no lookups in 1 min",
    ),
    "not called": Over(
        nothing,
        lambda it: it.calls(ok=1),
        0.0,
        "search is called again",
        {"tools": {"search": {"no_traffic": "1m"}}},
    ),
}


@pytest.mark.parametrize("case", OVER.values(), ids=OVER)
def test_what_resolved_says_what_is_so_now(case: Over) -> None:
    process = Process({**QUIET, "window": "1m", "for": "1m", **case.table})
    process.run(300, lambda: case.fires(process))
    fired = process.only()
    assert fired.state == "firing"
    while process.only().state == "firing":
        process.run(EVERY, lambda: case.ends(process))
    resolved = process.only()
    assert (resolved.finding.summary, resolved.finding.value) == (case.summary, case.value)
    assert (resolved.key, resolved.fired) == (fired.key, fired.fired)
    process.run(120, lambda: case.ends(process))
    assert process.only() == resolved  # it is of that moment


def test_an_error_budget_that_lasts_again_says_so_of_both_windows() -> None:
    process = Process({"error_rate": False, "success_objective": 0.99})
    process.run(900, failing(process, 50))
    assert process.firing == {"MetertapErrorBudgetBurn"}
    process.run(900, failing(process, 0))
    resolved = process.only()
    assert resolved.state == "resolved"
    assert resolved.finding.summary == (
        "search no longer spends its error budget too fast: "
        "38 % of 7900 calls in 19 min 45 s failed, and 2.5 % of 2000 in 5 min"
    )
