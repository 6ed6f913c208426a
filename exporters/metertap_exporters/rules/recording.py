"""Recording rules: calls, failures and percentiles per tool; lookups and hits per cache.

Only calls that count are in them: ok and failed. Where nothing happened there is no value: no
traffic is neither good nor bad.
"""

from __future__ import annotations

from metertap.alerts.burn_windows import ALL_WINDOWS
from metertap.alerts.thresholds import Thresholds
from metertap.text import prometheus_duration
from metertap_exporters import promql
from metertap_exporters.promql import selector
from metertap_exporters.rules.model import Recording

WEEK_WINDOW = 3600
"""What today's and last week's percentile are taken over."""

_BY_TOOL = f"by (job, {promql.TOOL})"
_BY_CACHE = f"by (job, {promql.CACHE}, {promql.SYSTEM})"


def calls(seconds: int) -> str:
    """Name of the calls per second of a tool."""
    return f"job_tool:metertap_calls:rate{prometheus_duration(seconds)}"


def failure_ratio(seconds: int) -> str:
    """Name of the share of a tool's calls that failed."""
    return f"job_tool:metertap_failure_ratio:rate{prometheus_duration(seconds)}"


def p95(seconds: int) -> str:
    """Name of a tool's 95th percentile."""
    return f"job_tool:metertap_duration_seconds:p95_{prometheus_duration(seconds)}"


def lookups(seconds: int) -> str:
    """Name of the lookups per second of a cache."""
    return f"job_cache:metertap_lookups:rate{prometheus_duration(seconds)}"


def hit_ratio(seconds: int) -> str:
    """Name of the share of a cache's lookups that hit."""
    return f"job_cache:metertap_hit_ratio:rate{prometheus_duration(seconds)}"


def of_tools(thresholds: Thresholds) -> list[Recording]:
    """What the alerts of tools read, and no more."""
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
        failed = _rate(_BY_TOOL, f"{promql.DURATION}_count", promql.FAILED, window)
        rules += [
            Recording(
                calls(window), _rate(_BY_TOOL, f"{promql.DURATION}_count", promql.COUNTED, window)
            ),
            Recording(failure_ratio(window), _share(failed, calls(window))),
        ]
    for window in sorted(percentiles):
        by_bucket = f"by (job, {promql.TOOL}, le)"
        buckets = _rate(by_bucket, f"{promql.DURATION}_bucket", promql.COUNTED, window)
        # No call, no percentile: what there is none of would be NaN.
        quantile = f"histogram_quantile(0.95, {buckets})\nand {calls(window)} > 0"
        rules.append(Recording(p95(window), quantile))
    return rules


def of_caches(thresholds: Thresholds) -> list[Recording]:
    """What the alerts of caches read."""
    if all(cache.hit_rate is None for cache in (thresholds.cache, *thresholds.caches.values())):
        return []
    window = thresholds.window_seconds
    hits = _rate(_BY_CACHE, promql.CACHE_REQUESTS, promql.HIT, window)
    return [
        Recording(lookups(window), _rate(_BY_CACHE, promql.CACHE_REQUESTS, "", window)),
        Recording(hit_ratio(window), _share(hits, lookups(window))),
    ]


def _rate(by: str, metric: str, matcher: str, window: int) -> str:
    series = selector(metric, *([matcher] if matcher else []))
    return f"sum {by} (rate({series}[{prometheus_duration(window)}]))"


def _share(part: str, whole: str) -> str:
    # A series begins with its first failure: until then there is none, which is 0 failures.
    return f"({part} or 0 * {whole})\n/ ({whole} > 0)"
