"""Alert states of a process that is only counters and a clock: when they fire, and when not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from metertap.alerts import thresholds
from metertap.alerts.definitions import ALERTS, LOW_HIT_RATE
from metertap_exporters import rules
from metertap_exporters.rules.model import AlertingRule
from support.evaluated import BEGAN, EVERY, QUIET, Process, failing, nothing


@dataclass(frozen=True)
class Case:
    """What happens before each look of ten minutes, and whether the alert fires then."""

    alert: str
    fires: bool
    each: Callable[[Process], object]
    table: dict[str, Any] = field(default_factory=dict)
    summary: str = ""


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
