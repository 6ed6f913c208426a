"""Alert states of a process that is only counters and a clock: when they fire, and when not."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

import metertap
from metertap import faults, state
from metertap.alerts import counters, thresholds
from metertap.alerts.counters import Counters
from metertap.alerts.definitions import ALERTS, LOW_HIT_RATE
from metertap.alerts.evaluator import Alert, Evaluator
from metertap.alerts.increase import STEPS, MonotonicCounts, SlidingIncrease
from metertap_exporters import rules
from metertap_exporters.rules.model import AlertingRule

EVERY = 15.0
BEGAN = 1_700_000_000.0


@dataclass
class Process:
    """A process as the evaluator sees it: what it counts each step, and the alerts that follow."""

    table: dict[str, Any] = field(default_factory=dict)
    every: float = EVERY
    time: float = 1000.0

    def __post_init__(self) -> None:
        self.counters = Counters(tools={}, caches={}, faults={}, newest=self._newest)
        self.samples: dict[tuple[str, str], list[float]] = {}
        self.alerts: tuple[Alert, ...] = ()
        self.restart()

    def restart(self) -> None:
        """The process ends and begins again."""
        self.counters = Counters(tools={}, caches={}, faults={}, newest=self._newest)
        self.samples.clear()
        self.evaluator = Evaluator(
            thresholds.read(self.table), self.every, self.time, self.counters
        )

    def _newest(self, key: tuple[str, str], count: int, above: float) -> list[float]:
        found = self.samples.get(key, [])[-count:] if count else []
        return found if found and max(found) > above else []

    def calls(
        self, ok: int = 0, failed: int = 0, name: str = "search", ms: float = 10.0, **other: int
    ) -> None:
        key = (name, other.pop("source", "manual"))  # type: ignore[arg-type]
        before = self.counters.tools.get(key, (0, 0, 0, 0))
        new = (ok + failed + sum(other.values()), ok + failed, failed, ok + failed)
        tools = {**self.counters.tools, key: tuple(map(sum, zip(before, new, strict=True)))}
        self.samples.setdefault(key, []).extend([ms] * (ok + failed))
        self.counters = replace(self.counters, tools=tools)

    def lookups(self, hits: int, misses: int, name: str = "prices") -> None:
        key = (name, "manual")
        before = self.counters.caches.get(key, (0, 0))
        caches = {**self.counters.caches, key: (before[0] + hits, before[1] + misses)}
        self.counters = replace(self.counters, caches=caches)

    def spend(self, dollars: float) -> None:
        spent = self.counters.spent + round(1_000_000 * dollars)
        self.counters = replace(self.counters, spent=spent)

    def fault(self, place: str = "fold") -> None:
        faults = {**self.counters.faults, place: (self.counters.faults.get(place, (0,))[0] + 1,)}
        self.counters = replace(self.counters, faults=faults)

    def run(self, seconds: float, each: Callable[[], object] = lambda: None) -> list[str]:
        """Let time pass; `each` happens before every look. The states on the way, once each."""
        seen: list[str] = []
        until = self.time + seconds
        while self.time < until:
            self.time += self.every
            each()
            self.alerts = self.evaluator.evaluate(self.time, BEGAN + self.time, self.counters)
            for seen_now in sorted(f"{alert.finding.name} {alert.state}" for alert in self.alerts):
                if not seen or seen_now not in seen[-len(self.alerts) :]:
                    seen.append(seen_now)
        return seen

    @property
    def firing(self) -> set[str]:
        return {alert.finding.name for alert in self.alerts if alert.state == "firing"}

    def only(self) -> Alert:
        (alert,) = self.alerts
        return alert


QUIET = {"success_objective": False}  # what is not looked at here


@dataclass(frozen=True)
class Case:
    """What happens before each look of ten minutes, and whether the alert fires then."""

    alert: str
    fires: bool
    each: Callable[[Process], object]
    table: dict[str, Any] = field(default_factory=dict)
    summary: str = ""


def nothing(_process: Process) -> None:
    """No traffic."""


CASES = {
    "failing": Case(
        "MetertapHighErrorRate",
        True,
        lambda process: process.calls(ok=88, failed=12),
        summary="search fails: 12 % of 2000 calls in 5 min, more than 5 %",
    ),
    "failing less": Case("MetertapHighErrorRate", False, lambda it: it.calls(ok=96, failed=4)),
    "failing at the threshold": Case(
        "MetertapHighErrorRate", False, lambda it: it.calls(ok=95, failed=5)
    ),
    "failing of few": Case(
        "MetertapHighErrorRate",
        False,
        lambda it: it.calls(failed=1) if int(it.time) % 60 == 40 else None,
    ),
    "failing, switched off": Case(
        "MetertapHighErrorRate", False, lambda it: it.calls(failed=9), {"error_rate": False}
    ),
    "failing, its own threshold is higher": Case(
        "MetertapHighErrorRate",
        False,
        lambda it: it.calls(ok=5, failed=5),
        {"tools": {"search": {"error_rate": 0.6}}},
    ),
    "failing, two sources together": Case(
        "MetertapHighErrorRate",
        True,
        lambda it: (it.calls(ok=88), it.calls(failed=12, source="mcp:shop")),  # type: ignore[arg-type]
        summary="search fails: 12 % of 2000 calls in 5 min, more than 5 %",
    ),
    "cancelled and wrong calls are no failures": Case(
        "MetertapHighErrorRate", False, lambda it: it.calls(ok=20, cancelled=50, caller_error=50)
    ),
    "slow": Case(
        "MetertapSlowTool",
        True,
        lambda it: (it.calls(ok=18), it.calls(ok=2, ms=2345.0)),
        {"p95_seconds": 2},
        "search is slow: 95 % of 400 calls in 5 min took up to 2.35 s, more than 2 s",
    ),
    "slow, but for a few": Case(
        "MetertapSlowTool",
        False,
        lambda it: (it.calls(ok=98), it.calls(ok=2, ms=2345.0)),
        {"p95_seconds": 2},
    ),
    "slow, one source of two": Case(
        "MetertapSlowTool",
        True,
        lambda it: (it.calls(ok=18), it.calls(ok=2, ms=2345.0, source="mcp:shop")),  # type: ignore[arg-type]
        {"p95_seconds": 2},
        "search is slow: 95 % of 400 calls in 5 min took up to 2.35 s, more than 2 s",
    ),
    "slow, one source of two, and few of all": Case(
        "MetertapSlowTool",
        False,
        lambda it: (it.calls(ok=98), it.calls(ok=2, ms=2345.0, source="mcp:shop")),  # type: ignore[arg-type]
        {"p95_seconds": 2},
    ),
    "slow without a target": Case(
        "MetertapSlowTool", False, lambda it: it.calls(ok=20, ms=60_000.0)
    ),
    "slow of few": Case(
        "MetertapSlowTool",
        False,
        lambda it: it.calls(ok=1, ms=5000.0) if int(it.time) % 60 == 40 else None,
        {"p95_seconds": 2},
    ),
    "a cache that hardly helps": Case(
        "MetertapLowHitRate",
        True,
        lambda it: it.lookups(1, 19),
        summary="prices hardly helps: 5 % of 400 lookups in 5 min hit, less than 10 %",
    ),
    "a cache that helps": Case("MetertapLowHitRate", False, lambda it: it.lookups(2, 8)),
    "a cache of few lookups": Case("MetertapLowHitRate", False, lambda it: it.lookups(0, 4)),
    "a cache, switched off": Case(
        "MetertapLowHitRate", False, lambda it: it.lookups(0, 40), {"hit_rate": False}
    ),
    "a cache with a threshold of its own": Case(
        "MetertapLowHitRate",
        True,
        lambda it: it.lookups(70, 30),
        {"caches": {"prices": {"hit_rate": 0.8}}},
    ),
    "not called": Case(
        "MetertapNoTraffic",
        True,
        lambda it: it.calls(ok=1, name="other"),
        {"tools": {"search": {"no_traffic": "4m"}}},
        "search is not called: no call of any outcome in 10 min",
    ),
    "called, however it ends": Case(
        "MetertapNoTraffic",
        False,
        lambda it: it.calls(cancelled=1),
        {"tools": {"search": {"no_traffic": "4m"}}},
    ),
    "not called, which nobody minds": Case(
        "MetertapNoTraffic", False, lambda it: it.calls(ok=1, name="other")
    ),
    "over budget": Case(
        "MetertapOverBudget",
        True,
        lambda it: it.spend(0.25),
        {"daily_budget": 5},
        "the tools spent $10.00 in 10 min, more than the budget of $5.00 a day",
    ),
    "within the budget": Case(
        "MetertapOverBudget", False, lambda it: it.spend(0.1), {"daily_budget": 5}
    ),
    "no budget": Case("MetertapOverBudget", False, lambda it: it.spend(100)),
    "faults of the meter": Case(
        "MetertapMeterFaults",
        True,
        lambda it: it.fault() if int(it.time) == 1015 else None,
        summary="metertap itself has faults: 1 at fold in 10 min; the program is not disturbed",
    ),
    "no faults": Case("MetertapMeterFaults", False, nothing),
    "faults, switched off": Case(
        "MetertapMeterFaults", False, lambda it: it.fault(), {"meter_faults": False}
    ),
    "overflow": Case(
        "MetertapSeriesOverflow",
        True,
        lambda it: setattr(it, "counters", replace(it.counters, overflown=2)),
        summary="names are past a limit: figures of 2 series stand under _OTHER instead of "
        "their own name",
    ),
    "no overflow": Case("MetertapSeriesOverflow", False, nothing),
    "overflow, switched off": Case(
        "MetertapSeriesOverflow",
        False,
        lambda it: setattr(it, "counters", replace(it.counters, overflown=2)),
        {"overflow": False},
    ),
    "the budget burns": Case(
        "MetertapErrorBudgetBurn",
        True,
        lambda it: it.calls(ok=8, failed=2),
        {"success_objective": 0.99},
        "search spends its error budget too fast: 20 % of 400 calls in 10 min failed, and it goes "
        "on; an objective of 99 % allows 14.4 % for so long",
    ),
    "the budget burns slowly": Case(
        "MetertapErrorBudgetBurn",
        False,
        lambda it: it.calls(ok=9, failed=1),
        {"success_objective": 0.99},
    ),
    "the budget burns no more": Case(
        "MetertapErrorBudgetBurn",
        False,
        lambda it: it.calls(failed=50) if it.time < 1060 else it.calls(ok=1),
        {"success_objective": 0.99},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_alert_fires_when_it_should_and_not_otherwise(case: Case) -> None:
    process = Process({**QUIET, **case.table})
    process.run(600, lambda: case.each(process))
    assert (case.alert in process.firing) is case.fires
    if case.summary:
        (alert,) = (alert for alert in process.alerts if alert.finding.name == case.alert)
        assert alert.finding.summary == case.summary


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    in_process = {definition.name for definition in ALERTS if definition.firing}
    for fires in (True, False):
        assert {case.alert for case in CASES.values() if case.fires is fires} == in_process
    # A process remembers no week, and the dead tell nothing.
    assert {definition.name for definition in ALERTS} - in_process == {
        "MetertapSlowerThanLastWeek",
        "MetertapProcessDown",
        "MetertapProcessAbsent",
    }


def test_prometheus_has_every_alert_with_the_severity_that_the_process_gives_it() -> None:
    table = {"p95_seconds": 1, "daily_budget": 5, "tools": {"search": {"no_traffic": "1h"}}}
    severities: dict[str, set[str]] = {}
    for group in rules.groups(thresholds.read(table)):
        for rule in group.rules:
            if isinstance(rule, AlertingRule):
                severities.setdefault(rule.name, set()).add(rule.severity)
    assert severities.keys() == {definition.name for definition in ALERTS}
    for definition in ALERTS:
        assert definition.severity in severities[definition.name]


# For, hysteresis, flapping


def failing(process: Process, share: int) -> Callable[[], None]:
    """So many of a hundred calls fail, each step."""
    return lambda: process.calls(ok=100 - share, failed=share)


def test_an_alert_waits_for_its_for_then_fires_then_resolves() -> None:
    process = Process({**QUIET, "for": "2m"})
    assert process.run(120, failing(process, 50)) == ["MetertapHighErrorRate pending"]
    pending = process.only()
    assert (pending.since, pending.fired) == (BEGAN + 1015, None)
    assert process.run(30, failing(process, 50)) == ["MetertapHighErrorRate firing"]
    fired = process.only()
    assert fired.since == fired.fired == BEGAN + 1135
    seen = process.run(600, failing(process, 0))
    assert seen == ["MetertapHighErrorRate firing", "MetertapHighErrorRate resolved"]
    resolved = process.only()
    assert resolved.fired == fired.fired
    assert resolved.since > fired.since
    # Shown for a while, then forgotten.
    process.run(600, failing(process, 0))
    assert process.only().state == "resolved"
    process.run(600, failing(process, 0))
    assert process.alerts == ()


def test_a_condition_that_ends_before_its_for_was_never_an_alert() -> None:
    process = Process({**QUIET, "for": "5m", "window": "1m"})
    for _ in range(5):
        process.run(180, failing(process, 50))
        assert process.only().state == "pending"
        process.run(120, failing(process, 0))
        assert process.alerts == ()


def test_an_alert_without_a_for_fires_at_once() -> None:
    process = Process({**QUIET, "for": "0s"})
    assert process.run(EVERY, failing(process, 50)) == ["MetertapHighErrorRate firing"]


def test_a_for_that_is_shorter_than_the_time_between_looks_takes_a_second_look() -> None:
    process = Process({**QUIET, "for": "1s"})
    assert process.run(EVERY, failing(process, 50)) == ["MetertapHighErrorRate pending"]
    assert process.run(EVERY, failing(process, 50)) == ["MetertapHighErrorRate firing"]


def test_an_alert_goes_on_while_its_value_is_close_to_the_threshold() -> None:
    process = Process({**QUIET, "error_rate": 0.5, "window": "30s", "for": "1m"})
    process.run(120, failing(process, 52))
    assert process.firing == {"MetertapHighErrorRate"}
    told = process.only().finding
    process.run(1200, failing(process, 48))
    assert process.only().state == "firing"
    assert process.only().finding == told  # what it says stays true
    process.run(120, failing(process, 44))
    assert process.only().state == "resolved"


BOUNDED: dict[str, tuple[dict[str, Any], Callable[[Process, bool], object]]] = {
    **{
        f"hit rate {threshold}": (
            {"hit_rate": threshold},
            lambda it, good: it.lookups(1000 if good else 0, 0 if good else 1000),
        )
        for threshold in (0.001, 0.5, 0.83, 0.91, 0.95, 0.99, 0.9999)
    },
    **{
        f"error rate {threshold}": (
            {"error_rate": threshold},
            lambda it, good: it.calls(ok=1000 if good else 0, failed=0 if good else 1000),
        )
        for threshold in (0.0001, 0.05, 0.5, 0.99, 0.9999)
    },
    **{
        f"success objective {objective}": (
            {"success_objective": objective, "error_rate": False},
            lambda it, good: it.calls(ok=1000 if good else 0, failed=0 if good else 1000),
        )
        for objective in (0.936, 0.99, 0.99999)
    },
    "the shortest target of p95": (
        {"p95_seconds": 0.000001},
        lambda it, good: it.calls(ok=20, ms=0.0 if good else 1.0),
    ),
}


@pytest.mark.parametrize(("table", "each"), BOUNDED.values(), ids=BOUNDED)
def test_the_best_value_that_there_is_resolves_an_alert_and_the_worst_one_fires_it(
    table: dict[str, Any], each: Callable[[Process, bool], object]
) -> None:
    process = Process({**QUIET, "window": "1m", "for": "1m", **table})
    process.run(600, lambda: each(process, False))
    assert process.only().state == "firing"
    process.run(4500, lambda: each(process, True))
    assert [alert.state for alert in process.alerts if alert.state != "resolved"] == []


@pytest.mark.parametrize(
    ("threshold", "relief"), [(10, 11), (50, 55), (80, 88), (90, 95), (95, 97.5), (99, 99.5)]
)
def test_a_hit_rate_has_to_be_better_by_a_tenth_or_half_of_what_is_left(
    threshold: float, relief: float
) -> None:
    assert LOW_HIT_RATE.relief(threshold) == pytest.approx(relief)


def test_close_to_a_threshold_is_not_past_it() -> None:
    process = Process({**QUIET, "error_rate": 0.5, "window": "30s", "for": "1m"})
    assert process.run(1200, failing(process, 48)) == []


def test_an_alert_that_flaps_fires_once() -> None:
    process = Process({**QUIET, "window": "15s", "for": "1m"})
    process.run(90, failing(process, 50))
    seen = []
    for _ in range(10):
        seen += process.run(30, failing(process, 0)) + process.run(15, failing(process, 50))
    assert set(seen) == {"MetertapHighErrorRate firing"}


def test_no_traffic_any_more_resolves_a_high_error_rate() -> None:
    process = Process({**QUIET, "for": "1m"})
    process.run(300, failing(process, 50))
    seen = process.run(450)
    assert seen[-1] == "MetertapHighErrorRate resolved"


def test_an_alert_that_resolved_has_to_hold_for_its_for_again() -> None:
    process = Process({**QUIET, "window": "15s", "for": "1m"})
    process.run(120, failing(process, 50))
    process.run(120, failing(process, 0))
    assert process.only().state == "resolved"
    first = process.only().fired
    seen = process.run(90, failing(process, 50))
    assert seen == ["MetertapHighErrorRate pending", "MetertapHighErrorRate firing"]
    assert first is not None
    assert (process.only().fired or 0) > first


def test_tools_have_alerts_of_their_own() -> None:
    process = Process({**QUIET, "for": "0s"})

    def each() -> None:
        for name, failed in (("one", 50), ("two", 0), ("three", 10)):
            process.calls(ok=100 - failed, failed=failed, name=name)

    process.run(60, each)
    assert [dict(alert.finding.labels)["tool"] for alert in process.alerts] == ["one", "three"]
    assert len({alert.key for alert in process.alerts}) == 2


# Restart, reset, windows


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


# What it reads


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


def test_nothing_of_alerts_is_imported_where_none_are_configured() -> None:
    for name in [name for name in sys.modules if name.startswith("metertap.runtime.alert_watch")]:
        del sys.modules[name]
    with metertap.instrument() as tap:
        assert tap.watch is None
        assert tap.snapshot()["alerts"] is None
    assert "metertap.runtime.alert_watch" not in sys.modules
