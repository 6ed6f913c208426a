"""Alerting rules: the table of alerts, filled in for each threshold that is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import TypeVar

from metertap import catalogue, promql
from metertap.alerts import definitions
from metertap.alerts.definitions import (
    BUDGET_SECONDS,
    COUNT,
    FAULTS_SECONDS,
    MILLISECONDS,
    PERCENT,
    SECONDS,
    USD,
    Definition,
)
from metertap.alerts.thresholds import WINDOWS, CacheThresholds, Thresholds, ToolThresholds
from metertap.promql import quoted, selector
from metertap.text import number, prometheus_duration
from metertap_exporters.rules import recording
from metertap_exporters.rules.model import AlertingRule, literal, only, variants

Limits = TypeVar("Limits", ToolThresholds, CacheThresholds)

SHORTEST_SECONDS = catalogue.TOOL_DURATION.buckets[0]
"""The lowest target of a 95th percentile that the histogram can distinguish."""

_LABELS = {
    "tool": promql.TOOL,
    "cache": promql.CACHE,
    "place": promql.PLACE,
    "job": "job",
    "instance": "instance",
}
_VALUES = {
    PERCENT: "{{ $value | humanizePercentage }}",
    MILLISECONDS: "{{ $value | humanizeDuration }}",
    SECONDS: "{{ $value | humanizeDuration }}",
    COUNT: "{{ $value }}",
    USD: "{{ $value | humanize }} USD",
}


def of_tools(thresholds: Thresholds) -> list[AlertingRule]:
    """Return the alerts of tools that fail, are slow or are not called."""
    window, tool, tools = thresholds.window_seconds, thresholds.tool, thresholds.tools
    found: list[AlertingRule] = []
    for definition, key, seconds in (
        (definitions.HIGH_ERROR_RATE, "error_rate", window),
        (definitions.SLOW_TOOL, "p95_seconds", window),
        (definitions.SLOWER_THAN_LAST_WEEK, "slower_than_last_week", recording.WEEK_WINDOW),
    ):
        found += _with_threshold(
            definition, promql.TOOL, tool, tools, (key, "minimum_calls"), seconds
        )
    for name, limits in tools.items():
        if limits.no_traffic_seconds is not None:
            variant = only(promql.TOOL, name)
            found.append(
                _rule(
                    definitions.NO_TRAFFIC,
                    limits.for_seconds,
                    variant.labels,
                    limits.no_traffic_seconds,
                    by=f"job, {promql.TOOL}",
                    called=f"{promql.DURATION}_count{variant.matchers}",
                )
            )
    return found


def of_error_budgets(thresholds: Thresholds) -> list[AlertingRule]:
    """Return multi-window burn-rate alerts, four for each objective.

    The long window tells that it matters, the short one that it still goes on.
    """
    same = attrgetter("success_objective", "minimum_calls")
    return [
        _rule(
            definitions.ERROR_BUDGET_BURN,
            pair.for_seconds,
            {
                **variant.labels,
                "long_window": prometheus_duration(pair.long),
                "short_window": prometheus_duration(pair.short),
            },
            pair.long,
            severity=pair.severity,
            of=variant.matchers,
            factor=number(pair.factor),
            budget=number(1 - tool.success_objective),
            percent=_percent(tool.success_objective),
            minimum=tool.minimum_calls,
            latest_failure_ratio=recording.names(pair.short)["failure_ratio"],
        )
        for variant, tool in variants(promql.TOOL, thresholds.tool, thresholds.tools, same)
        if tool.success_objective is not None
        for pair in WINDOWS
    ]


def of_caches(thresholds: Thresholds) -> list[AlertingRule]:
    """Return the alerts of caches that do not help."""
    keys = ("hit_rate", "minimum_lookups")
    default, own, seconds = thresholds.cache, thresholds.caches, thresholds.window_seconds
    return list(
        _with_threshold(definitions.LOW_HIT_RATE, promql.CACHE, default, own, keys, seconds)
    )


def of_processes(thresholds: Thresholds) -> list[AlertingRule]:
    """Return the alerts of processes: gone, past a limit of series, with faults of the meter."""
    hold = thresholds.tool.for_seconds
    found = []
    for job in thresholds.jobs:
        up = selector("up", f"job={quoted(job)}")
        for definition in (definitions.PROCESS_DOWN, definitions.PROCESS_ABSENT):
            found.append(_rule(definition, hold, {"job": literal(job)}, up=up))
    if thresholds.daily_budget is not None:
        budget = {"cost": promql.COST, "threshold": number(thresholds.daily_budget)}
        found.append(_rule(definitions.OVER_BUDGET, 0, {}, BUDGET_SECONDS, **budget))
    if thresholds.overflow:
        count, other = f"{promql.DURATION}_count", '="_OTHER"'
        found.append(
            _rule(
                definitions.SERIES_OVERFLOW,
                hold,
                {},
                overflown=selector("", promql.OVERFLOW, '__name__!~".+_(bucket|sum)"'),
                calls=selector(count, promql.TOOL + other, promql.COUNTED),
                lookups=selector(promql.CACHE_REQUESTS, promql.CACHE + other),
            )
        )
    if thresholds.meter_faults:
        by = f"job, instance, {promql.PLACE}"
        words = {"by": by, "faults": promql.FAULTS}
        found.append(_rule(definitions.METER_FAULTS, 0, {}, FAULTS_SECONDS, **words))
    return found


def _with_threshold(
    definition: Definition,
    label: str,
    default: Limits,
    own: Mapping[str, Limits],
    keys: tuple[str, str],
    seconds: int,
) -> Iterator[AlertingRule]:
    """Yield the default's rule and the exceptions'; `keys` name threshold and minimum."""
    for variant, limits in variants(label, default, own, attrgetter(*keys, "for_seconds")):
        threshold, minimum = attrgetter(*keys)(limits)
        if threshold is not None:
            if definition is definitions.SLOW_TOOL:
                # The histogram cannot distinguish shorter calls.
                threshold = max(threshold, SHORTEST_SECONDS)
            yield _rule(
                definition,
                limits.for_seconds,
                variant.labels,
                seconds,
                of=variant.matchers,
                threshold=number(threshold),
                percent=_percent(threshold),
                minimum=minimum,
            )


def _rule(
    definition: Definition,
    for_seconds: int,
    labels: Mapping[str, str],
    seconds: int = 0,
    *,
    severity: str = "",
    **words: object,
) -> AlertingRule:
    """Return a definition as a rule. `seconds` is the window of its figure."""
    known = {
        **{word: f"{{{{ $labels.{label} }}}}" for word, label in _LABELS.items()},
        **recording.names(seconds),
        "value": _VALUES[definition.unit],
        "window": prometheus_duration(seconds),
        "seconds": seconds,
        **words,
    }
    expr, summary, description = (
        template.format(**known)
        for template in (definition.expr, definition.summary, definition.description)
    )
    severity = severity or definition.severity
    return AlertingRule(definition.name, expr, for_seconds, severity, summary, description, labels)


def _percent(share: float) -> str:
    return f"{number(share * 100)}%"
