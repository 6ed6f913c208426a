"""Cases for the rules: what is scraped, and which alerts then fire or do not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ODD = 'a"} or vector(1) #'
TABLE: dict[str, Any] = {
    "p95_seconds": 1,
    "tools": {
        "search": {"error_rate": 0.5, "p95_seconds": 5, "slower_than_last_week": 8},
        "report": {"p95_seconds": 15},
        "ping": {"p95_seconds": 0.002},
        "nightly": {"no_traffic": "30m", "success_objective": False},
        ODD: {"error_rate": 0.5, "success_objective": False, "no_traffic": "1h"},
        "{{ .Secret }}": {"error_rate": 0.6, "success_objective": False},
    },
    "caches": {"prices": {"hit_rate": 0.5}, ODD: {"hit_rate": 0.9}},
    "jobs": ["metertap", "we're {{ here }}"],
}


@dataclass(frozen=True)
class Case:
    """What is scraped, minute after minute, and which alerts then fire."""

    alert: str
    fires: bool
    series: Mapping[str, str]
    at: str = "30m"
    labels: Mapping[str, str] = field(default_factory=dict)
    """Some labels of the alert that fires or does not; the others are not looked at."""
    step: str = "1m"
    told: str = ""
    """Part of what people read."""


def calls(tool: str, outcome: str, values: str, **more: str) -> dict[str, str]:
    """Calls of a tool by one outcome, counted up."""
    return {series("gen_ai_execute_tool_duration_seconds_count", tool, outcome, **more): values}


def durations(
    tool: str, fast: str, everything: str, longest: float | None = None, least: str = "0x20400"
) -> dict[str, str]:
    """Calls of which those of `fast` took 0.08 s at most, and the others below 20.48 s.

    Those of `least` took 0.01 s at most; `longest` is that of the longest call, if published.
    """
    name = "gen_ai_execute_tool_duration_seconds_bucket"
    bounds = {
        "0.01": least,
        "0.04": least,
        "0.08": fast,
        "10.24": fast,
        "20.48": everything,
        "+Inf": everything,
    }
    found = {series(name, tool, "ok", le=le): values for le, values in bounds.items()}
    if longest is not None:
        labels = f'job="shop", instance="one:9108", source="manual", gen_ai_tool_name="{tool}"'
        found[f"metertap_tool_latency_max_seconds{{{labels}}}"] = f"{longest}x20400"
    return {**found, **calls(tool, "ok", everything)}


def series(name: str, tool: str, outcome: str, **more: str) -> str:
    labels = {
        "job": "shop",
        "instance": "one:9108",
        "gen_ai_tool_name": tool,
        "metertap_outcome": outcome,
        **more,
    }
    return f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in labels.items())}}}"


def lookups(cache: str, hits: str, misses: str) -> dict[str, str]:
    labels = (
        f'job="shop", instance="one:9108", cache_system="manual", cache_name={json.dumps(cache)}'
    )
    return {
        f'cache_requests_total{{{labels}, cache_request_type="hit"}}': hits,
        f'cache_requests_total{{{labels}, cache_request_type="miss"}}': misses,
    }


def tool(name: str) -> dict[str, str]:
    return {"gen_ai_tool_name": name}


def burn(long: str) -> dict[str, str]:
    return {"gen_ai_tool_name": "order", "long_window": long}


HIGH, SLOW, WEEK = "MetertapHighErrorRate", "MetertapSlowTool", "MetertapSlowerThanLastWeek"
BURN, QUIET, LOW = "MetertapErrorBudgetBurn", "MetertapNoTraffic", "MetertapLowHitRate"
DOWN, ABSENT = "MetertapProcessDown", "MetertapProcessAbsent"
OVERFLOW, FAULTS = "MetertapSeriesOverflow", "MetertapMeterFaults"

CASES = [
    # error rate: above and below the default, and a tool's own
    Case(
        HIGH,
        True,
        {**calls("order", "ok", "0+90x60"), **calls("order", "exception", "0+10x60")},
        labels=tool("order"),
        told="10% of its calls in the last 5m failed; the threshold is 5%.",
    ),
    Case(HIGH, True, calls("order", "timeout", "0+10x60"), labels=tool("order")),
    Case(HIGH, True, calls("order", "tool_error", "0+10x60"), labels=tool("order")),
    Case(HIGH, False, {**calls("order", "ok", "0+96x60"), **calls("order", "exception", "0+4x60")}),
    Case(
        HIGH, False, {**calls("order", "ok", "0+9x60"), **calls("order", "caller_error", "0+90x60")}
    ),
    Case(HIGH, False, {**calls("order", "ok", "0+9x60"), **calls("order", "cancelled", "0+90x60")}),
    Case(HIGH, False, {**calls("order", "ok", "0+9x60"), **calls("order", "interim", "0+90x60")}),
    # caller errors do not hide failures either
    Case(
        HIGH,
        True,
        {
            **calls("order", "ok", "0+90x60"),
            **calls("order", "exception", "0+10x60"),
            **calls("order", "caller_error", "0+9000x60"),
        },
    ),
    Case(HIGH, False, calls("order", "exception", "0+1x60")),
    Case(
        HIGH,
        False,
        {**calls("order", "ok", "0+9x60"), **calls("order", "exception", "0+9x27")},
        at="3m",
    ),
    Case(
        HIGH, False, {**calls("search", "ok", "0+60x60"), **calls("search", "exception", "0+40x60")}
    ),
    Case(
        HIGH,
        True,
        {**calls("search", "ok", "0+40x60"), **calls("search", "exception", "0+60x60")},
        labels=tool("search"),
    ),
    Case(HIGH, True, calls(ODD, "exception", "0+60x60"), labels=tool(ODD)),
    Case(HIGH, False, {**calls(ODD, "ok", "0+60x60"), **calls(ODD, "exception", "0+40x60")}),
    Case(HIGH, True, calls("{{ .Secret }}", "exception", "0+60x60"), labels=tool("{{ .Secret }}")),
    # p95 against its own target
    Case(
        SLOW,
        True,
        durations("order", "0+80x60", "0+100x60"),
        labels=tool("order"),
        told="is 17.92s over the last 5m; the target is 1s.",
    ),
    Case(SLOW, False, durations("order", "0+96x60", "0+100x60")),
    Case(SLOW, False, durations("order", "0+0x60", "0+1x60")),
    Case(SLOW, True, durations("search", "0+80x60", "0+100x60"), labels=tool("search")),
    Case(SLOW, False, durations("search", "0+100x60", "0+100x60")),
    # an estimate is held down to the longest call, which was on the same side of the target
    Case(SLOW, True, durations("report", "0+80x60", "0+100x60"), labels=tool("report")),
    Case(SLOW, False, durations("report", "0+80x60", "0+100x60", 11.5), labels=tool("report")),
    Case(
        SLOW,
        True,
        durations("report", "0+80x60", "0+100x60", 16.5),
        labels=tool("report"),
        told="is 16.5s over the last 5m; the target is 15s.",
    ),
    # shorter than the first bucket ends, the histogram cannot tell
    Case(SLOW, False, durations("ping", "0+100x60", "0+100x60", None, "0+100x60")),
    Case(SLOW, True, durations("ping", "0+100x60", "0+100x60"), labels=tool("ping")),
    # p95 against last week: the first series are a week of fast calls, then slow ones
    Case(
        WEEK,
        True,
        durations("order", "0+500x350 175000x20", "0+500x370"),
        at="10620m",
        step="30m",
        labels=tool("order"),
        told="more than 2 times that of the same time a week ago.",
    ),
    Case(WEEK, False, durations("order", "0x370", "0+500x370"), at="10620m", step="30m"),
    Case(WEEK, False, durations("order", "0x20", "0+500x20"), at="540m", step="30m"),
    # burn rates: how much fails, and since when
    Case(BURN, True, calls("order", "exception", "0+10x90"), at="80m", labels=burn("1h")),
    Case(
        BURN,
        True,
        {**calls("order", "ok", "0+80x90"), **calls("order", "exception", "0+20x90")},
        at="80m",
        labels={**burn("1h"), "severity": "critical"},
        told="20% of its calls in the last 1h failed, and it goes on: "
        "14.4 times what an objective of 99% allows, or more.",
    ),
    Case(
        BURN,
        False,
        {**calls("order", "ok", "0+90x90"), **calls("order", "exception", "0+10x90")},
        at="80m",
        labels=burn("1h"),
    ),
    Case(
        BURN,
        False,
        {**calls("order", "ok", "0+100x90"), **calls("order", "exception", "0+100x60 6000x30")},
        at="80m",
        labels=burn("1h"),
    ),
    Case(
        BURN,
        True,
        {**calls("order", "ok", "0+460x120"), **calls("order", "exception", "0+40x120")},
        at="420m",
        step="5m",
        labels={**burn("6h"), "severity": "critical"},
    ),
    Case(
        BURN,
        False,
        {**calls("order", "ok", "0+475x120"), **calls("order", "exception", "0+25x120")},
        at="420m",
        step="5m",
        labels=burn("6h"),
    ),
    Case(
        BURN,
        True,
        {**calls("order", "ok", "0+480x70"), **calls("order", "exception", "0+20x70")},
        at="1800m",
        step="30m",
        labels={**burn("1d"), "severity": "warning"},
    ),
    Case(
        BURN,
        False,
        {**calls("order", "ok", "0+490x70"), **calls("order", "exception", "0+10x70")},
        at="1800m",
        step="30m",
        labels=burn("1d"),
    ),
    Case(
        BURN,
        True,
        {**calls("order", "ok", "0+490x200"), **calls("order", "exception", "0+10x200")},
        at="5400m",
        step="30m",
        labels={**burn("3d"), "severity": "warning"},
    ),
    Case(
        BURN,
        False,
        {**calls("order", "ok", "0+496x200"), **calls("order", "exception", "0+4x200")},
        at="5400m",
        step="30m",
        labels=burn("3d"),
    ),
    Case(BURN, False, calls("nightly", "exception", "0+100x90"), at="80m"),
    Case(BURN, False, calls("order", "caller_error", "0+100x90"), at="80m"),
    # no traffic: only where it was asked for
    Case(
        QUIET,
        True,
        calls("nightly", "ok", "0+1x10 10x90"),
        at="60m",
        labels=tool("nightly"),
        told="There was no call of any outcome in the last 30m.",
    ),
    Case(QUIET, True, {}, at="60m", labels=tool("nightly")),
    Case(QUIET, True, {}, at="90m", labels=tool(ODD)),
    Case(QUIET, False, calls("nightly", "ok", "0+1x100"), at="60m", labels=tool("nightly")),
    Case(QUIET, False, calls("nightly", "ok", "_x40 1x60"), at="60m", labels=tool("nightly")),
    Case(QUIET, False, calls("order", "ok", "10x100"), at="90m", labels=tool("order")),
    # caches
    Case(
        LOW,
        True,
        lookups("pages", "0+5x60", "0+95x60"),
        labels={"cache_name": "pages"},
        told="5% of its lookups in the last 5m hit; the threshold is 10%.",
    ),
    Case(LOW, True, lookups("prices", "0+40x60", "0+60x60"), labels={"cache_name": "prices"}),
    Case(LOW, True, lookups(ODD, "0+60x60", "0+40x60"), labels={"cache_name": ODD}),
    Case(LOW, False, lookups("pages", "0+40x60", "0+60x60")),
    Case(LOW, False, lookups("prices", "0+60x60", "0+40x60")),
    Case(LOW, False, lookups("pages", "0+0x60", "0+10x60")),
    Case(LOW, False, lookups("pages", "0x60", "50x60")),
    # processes
    Case(
        DOWN,
        True,
        {'up{job="metertap", instance="one:9108"}': "1x5 0x60"},
        told="Process one:9108 of metertap does not answer",
    ),
    Case(DOWN, True, {'up{job="we\'re {{ here }}", instance="one:9108"}': "0x60"}),
    Case(DOWN, False, {'up{job="metertap", instance="one:9108"}': "1x20 0x2 1x60"}),
    Case(DOWN, False, {'up{job="another", instance="one:9108"}': "0x60"}),
    Case(
        ABSENT, True, {'up{job="another", instance="one:9108"}': "1x60"}, labels={"job": "metertap"}
    ),
    Case(
        ABSENT,
        True,
        {},
        labels={"job": "we're {{ here }}"},
        told="No process of we're {{ here }} is there",
    ),
    Case(
        ABSENT,
        False,
        {'up{job="metertap", instance="one:9108"}': "0x60"},
        labels={"job": "metertap"},
    ),
    # the meter itself
    Case(
        OVERFLOW,
        True,
        {'cache_requests_total{job="shop", instance="one", otel_metric_overflow="true"}': "3x60"},
        labels={"job": "shop", "instance": "one"},
        told="Figures of 1 series stand under otel_metric_overflow or _OTHER",
    ),
    Case(OVERFLOW, True, calls("_OTHER", "ok", "0+1x60"), labels={"job": "shop"}),
    Case(OVERFLOW, True, lookups("_OTHER", "0x60", "0+1x60")),
    Case(OVERFLOW, False, calls("_OTHER", "caller_error", "0+1x60")),
    Case(
        OVERFLOW, False, {**calls("order", "ok", "0+1x60"), **lookups("pages", "0+1x60", "0+1x60")}
    ),
    Case(
        FAULTS,
        True,
        {'metertap_errors_total{job="shop", instance="one", metertap_place="fold"}': "_x25 1x60"},
        labels={"metertap_place": "fold"},
        told="1 in the last 15m at fold.",
    ),
    Case(
        FAULTS,
        False,
        {'metertap_errors_total{job="shop", instance="one", metertap_place="fold"}': "7x60"},
    ),
]
