"""Recording rules: calls, failures and percentiles per tool; lookups and hits per cache.

They include only calls that count: ok and failed. Without traffic there is no value, which is
neither good nor bad.
"""

from __future__ import annotations

from metertap import catalogue, promql
from metertap.alerts.thresholds import ALL_WINDOWS, Thresholds
from metertap.promql import selector
from metertap.text import prometheus_duration
from metertap_exporters.rules.model import RecordingRule

WEEK_WINDOW = 3600
"""The seconds of the windows for today's and last week's percentile."""

_BY_TOOL = f"by (job, {promql.TOOL})"
_BY_CACHE = f"by (job, {promql.CACHE}, {promql.SYSTEM})"


_RECORDED = {
    "calls": "job_tool:metertap_calls:rate",
    "failure_ratio": "job_tool:metertap_failure_ratio:rate",
    "p95": "job_tool:metertap_duration_seconds:p95_",
    "lookups": "job_cache:metertap_lookups:rate",
    "hit_ratio": "job_cache:metertap_hit_ratio:rate",
}


def names(seconds: int) -> dict[str, str]:
    """Return the names of the recorded series of a window: calls and lookups are per second."""
    return {figure: f"{name}{prometheus_duration(seconds)}" for figure, name in _RECORDED.items()}


def of_tools(thresholds: Thresholds) -> list[RecordingRule]:
    """Return the recording rules that the alerts of tools use."""
    everyone = (thresholds.tool, *thresholds.tools.values())
    windows = {thresholds.window_seconds}
    percentiles = {thresholds.window_seconds}
    if any(tool.success_objective is not None for tool in everyone):
        windows |= ALL_WINDOWS
    if any(tool.slower_than_last_week is not None for tool in everyone):
        windows.add(WEEK_WINDOW)
        percentiles.add(WEEK_WINDOW)
    rules = []
    for window in sorted(windows):
        recorded = names(window)
        calls = recorded["calls"]
        failed = _rate(_BY_TOOL, f"{promql.DURATION}_count", promql.FAILED, window)
        counted = _rate(_BY_TOOL, f"{promql.DURATION}_count", promql.COUNTED, window)
        rules += [
            RecordingRule(calls, counted),
            RecordingRule(recorded["failure_ratio"], _share(failed, calls)),
        ]
    for window in sorted(percentiles):
        recorded = names(window)
        # Without calls the percentile would be NaN.
        expr = f"{_p95(f'[{prometheus_duration(window)}]')}\nand {recorded['calls']} > 0"
        rules.append(RecordingRule(recorded["p95"], expr))
    return rules


def _p95(over: str) -> str:
    estimate = promql.quantile(
        0.95,
        promql.DURATION,
        lambda name: f"rate({selector(name, promql.COUNTED)}{over})",
        f"job, {promql.TOOL}",
    )
    longest = f"max {_BY_TOOL} (max_over_time({catalogue.LATENCY_MAX}{over}))"
    return promql.at_most(estimate, longest)


def of_caches(thresholds: Thresholds) -> list[RecordingRule]:
    """Return the recording rules that the alerts of caches use."""
    if all(cache.hit_rate is None for cache in (thresholds.cache, *thresholds.caches.values())):
        return []
    window = thresholds.window_seconds
    hits = _rate(_BY_CACHE, promql.CACHE_REQUESTS, promql.HIT, window)
    recorded = names(window)
    lookups = recorded["lookups"]
    return [
        RecordingRule(lookups, _rate(_BY_CACHE, promql.CACHE_REQUESTS, "", window)),
        RecordingRule(recorded["hit_ratio"], _share(hits, lookups)),
    ]


def _rate(by: str, metric: str, matcher: str, window: int) -> str:
    series = selector(metric, *([matcher] if matcher else []))
    return f"sum {by} (rate({series}[{prometheus_duration(window)}]))"


def _share(part: str, whole: str) -> str:
    # A series begins with its first failure: until then there is none, which is 0 failures.
    return f"({part} or 0 * {whole})\n/ ({whole} > 0)"
