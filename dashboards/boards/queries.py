"""Queries of the dashboards: variables, and PromQL for the series that they choose."""

from __future__ import annotations

from collections.abc import Callable

from dashboards.boards.board import Query, Variable

from metertap import catalogue, promql

CALLS = f"{promql.DURATION}_count"
BUCKETS = f"{promql.DURATION}_bucket"
_TARGET = 'job=~"$job", instance=~"$instance"'
IN_TOOL = f'{promql.TOOL}=~"$tool"'
IN_CACHE = f'{promql.CACHE}=~"$cache"'

# A store that is fed over OTLP has the service's name as the job, and no label for the service:
# there, every value has to match.
PROCESS = (
    Variable("service", "Service", "label_values(target_info, service_name)", all_value=".*"),
    Variable("job", "Job", 'label_values(target_info{service_name=~"$service"}, job)'),
    Variable(
        "instance",
        "Instance",
        'label_values(target_info{service_name=~"$service", job=~"$job"}, instance)',
    ),
)
TOOLS = f"label_values({promql.DURATION}_count{{{_TARGET}}}, {promql.TOOL})"
TOOL = Variable("tool", "Tool", TOOLS, all_value=".*")
CACHE = Variable(
    "cache",
    "Cache",
    f"label_values({promql.CACHE_REQUESTS}{{{_TARGET}}}, {promql.CACHE})",
    all_value=".*",
)


def chosen(metric: str, *matchers: str) -> str:
    """Select the series of a metric that the variables choose."""
    return promql.selector(metric, _TARGET, *matchers)


def rate(metric: str, *matchers: str) -> str:
    """Count per second."""
    return f"rate({chosen(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """Count over the time that is shown."""
    return f"increase({chosen(metric, *matchers)}[$__range])"


def summed(expr: str, *labels: str) -> Query:
    """Sum up by `labels`, which are the legend too."""
    legend = ": ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(f"sum by ({', '.join(labels)}) ({expr})", legend)


def hits_among(lookups: Callable[..., str], *matchers: str, by: str = "") -> str:
    """Divide hits by lookups, both as `lookups` (`rate` or `increase`) counts them."""
    every, hit = (lookups(promql.CACHE_REQUESTS, *matchers, *more) for more in ((), (promql.HIT,)))
    return ratio(hit, every, by)


def failures_among(calls: Callable[..., str], tool: str, by: str = "") -> str:
    """Divide failed calls by those that count, both as `calls` (`rate` or `increase`) counts."""
    failed, counted = (calls(CALLS, tool, which) for which in (promql.FAILED, promql.COUNTED))
    return ratio(failed, counted, by)


def ratio(part: str, whole: str, by: str = "") -> str:
    """Divide a part by the whole: no data where there is no whole, 0 where there is no part."""
    total = f"sum {by} ({whole})" if by else f"sum({whole})"
    some = f"sum {by} ({part})" if by else f"sum({part})"
    return f"({some} or 0 * {total}) / ({total} > 0)"


def quantile(share: float, metric: str, *matchers: str, by: str = "") -> str:
    """Estimate a percentile of a histogram, from native buckets where there are any."""
    return promql.quantile(share, metric, lambda name: rate(name, *matchers), by)


def quantile_of_calls(share: float, tool: str, by: str = "", over: str = "$__rate_interval") -> str:
    """Estimate a percentile of the calls that count, and hold it down to the longest call."""
    estimate = promql.quantile(
        share,
        promql.DURATION,
        lambda name: f"rate({chosen(name, tool, promql.COUNTED)}[{over}])",
        by,
    )
    longest = f"max_over_time({chosen(catalogue.LATENCY_MAX, tool)}[{over}])"
    longest = f"max by ({by}) ({longest})" if by else f"max({longest})"
    return promql.at_most(estimate, longest)


def percentile(share: float) -> str:
    """Name a percentile: `p95`."""
    return f"p{share * 100:g}"
