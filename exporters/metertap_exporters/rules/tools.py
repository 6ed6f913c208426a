"""Alerts of tools: failing, slow, slower than a week ago, not called at all."""

from __future__ import annotations

from metertap.alerts.thresholds import WARNING, Thresholds
from metertap.text import number, prometheus_duration
from metertap_exporters import promql
from metertap_exporters.rules import recording
from metertap_exporters.rules.model import Alert, only, percent, variants

_TOOL = f"{{{{ $labels.{promql.TOOL} }}}} of {{{{ $labels.job }}}}"


def alerts(thresholds: Thresholds) -> list[Alert]:
    """Every alert of this kind."""
    return [
        *_failing(thresholds),
        *_slow(thresholds),
        *_slower_than_last_week(thresholds),
        *_not_called(thresholds),
    ]


def enough_calls(window: int, matchers: str, minimum: int) -> str:
    """Only where there were so many calls."""
    return f"and {recording.calls(window)}{matchers} * {window} >= {minimum}"


def _failing(thresholds: Thresholds) -> list[Alert]:
    window = thresholds.window_seconds
    return [
        Alert(
            "MetertapHighErrorRate",
            f"{recording.failure_ratio(window)}{variant.matchers} > {number(tool.error_rate)}\n"
            f"{enough_calls(window, variant.matchers, tool.minimum_calls)}",
            tool.for_seconds,
            WARNING,
            f"Tool {_TOOL} fails too often",
            f"{{{{ $value | humanizePercentage }}}} of its calls in the last "
            f"{prometheus_duration(window)} failed; the threshold is {percent(tool.error_rate)}.",
            variant.labels,
        )
        for variant, tool in variants(
            promql.TOOL,
            thresholds.tool,
            thresholds.tools,
            lambda tool: (tool.error_rate, tool.minimum_calls, tool.for_seconds),
        )
        if tool.error_rate is not None
    ]


def _slow(thresholds: Thresholds) -> list[Alert]:
    window = thresholds.window_seconds
    return [
        Alert(
            "MetertapSlowTool",
            f"{recording.p95(window)}{variant.matchers} > {number(tool.p95_seconds)}\n"
            f"{enough_calls(window, variant.matchers, tool.minimum_calls)}",
            tool.for_seconds,
            WARNING,
            f"Tool {_TOOL} is slower than its target",
            "Its 95th percentile, estimated from the histogram, is "
            f"{{{{ $value | humanizeDuration }}}} over the last {prometheus_duration(window)}; "
            f"the target is {number(tool.p95_seconds)}s.",
            variant.labels,
        )
        for variant, tool in variants(
            promql.TOOL,
            thresholds.tool,
            thresholds.tools,
            lambda tool: (tool.p95_seconds, tool.minimum_calls, tool.for_seconds),
        )
        if tool.p95_seconds is not None
    ]


def _slower_than_last_week(thresholds: Thresholds) -> list[Alert]:
    window = recording.WEEK_WINDOW
    now = recording.p95(window)
    return [
        Alert(
            "MetertapSlowerThanLastWeek",
            f"{now}{variant.matchers} > {number(tool.slower_than_last_week)}"
            f" * {now}{variant.matchers} offset 1w\n"
            f"{enough_calls(window, variant.matchers, tool.minimum_calls)}\n"
            f"and {recording.calls(window)}{variant.matchers} offset 1w * {window}"
            f" >= {tool.minimum_calls}",
            tool.for_seconds,
            WARNING,
            f"Tool {_TOOL} is slower than a week ago",
            "Its 95th percentile, estimated from the histogram, is "
            f"{{{{ $value | humanizeDuration }}}} over the last {prometheus_duration(window)}: "
            f"more than {number(tool.slower_than_last_week)} times that of the same time "
            "a week ago.",
            variant.labels,
        )
        for variant, tool in variants(
            promql.TOOL,
            thresholds.tool,
            thresholds.tools,
            lambda tool: (tool.slower_than_last_week, tool.minimum_calls, tool.for_seconds),
        )
        if tool.slower_than_last_week is not None
    ]


def _not_called(thresholds: Thresholds) -> list[Alert]:
    made = []
    for name, tool in thresholds.tools.items():
        if tool.no_traffic_seconds is None:
            continue
        variant = only(promql.TOOL, name)
        quiet = prometheus_duration(tool.no_traffic_seconds)
        count = f"{promql.DURATION}_count{variant.matchers}"
        total = f"sum by (job, {promql.TOOL})"
        # Compared with itself, not by increase(): that misses the first call of a new series.
        made.append(
            Alert(
                "MetertapNoTraffic",
                f"{total} ({count}) == {total} ({count} offset {quiet})\n"
                f"or absent_over_time({count}[{quiet}])",
                tool.for_seconds,
                WARNING,
                f"Tool {{{{ $labels.{promql.TOOL} }}}} is not called",
                f"There was no call of any outcome in the last {quiet}.",
                variant.labels,
            )
        )
    return made
