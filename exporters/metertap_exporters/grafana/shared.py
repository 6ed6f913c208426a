"""What the dashboards have in common: variables, selectors, and the percentiles of two kinds."""

from __future__ import annotations

from metertap import catalogue
from metertap.alerts.thresholds import CacheThresholds, ToolThresholds
from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Colours, Query, Variable

_TARGET = 'job=~"$job", instance=~"$instance"'
IN_TOOL = f'{promql.TOOL}=~"$tool"'
IN_CACHE = f'{promql.CACHE}=~"$cache"'

# A store that gets OTLP has the service's name as the job and no label for it: any will do there.
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

# Where the alerts' defaults are.
SUCCESS = Colours("red", 1 - (ToolThresholds().error_rate or 0), "green")
HITS = Colours("red", CacheThresholds().hit_rate or 0, "green")
NONE_EXPECTED = Colours("green", 0.5, "red")  # what has just begun is less than 1 to Prometheus

ESTIMATED = (
    "Estimated from the histogram, so right over all instances together; as precise as the "
    "histogram's buckets are narrow."
)
EXACT = (
    "Exact, over the last calls of each process (METRICS_WINDOW_SIZE). Percentiles cannot be added "
    "up or averaged: one line for each instance, and never an aggregate of them."
)


def chosen(metric: str, *matchers: str) -> str:
    """The series of a metric that the variables choose."""
    return promql.selector(metric, _TARGET, *matchers)


def rate(metric: str, *matchers: str) -> str:
    """Per second."""
    return f"rate({chosen(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """Over the time that is shown."""
    return f"increase({chosen(metric, *matchers)}[$__range])"


def ratio(part: str, whole: str, by: str = "") -> str:
    """A share; no data where there is no whole. No part is a part of 0."""
    total = f"sum {by} ({whole})" if by else f"sum({whole})"
    some = f"sum {by} ({part})" if by else f"sum({part})"
    return f"({some} or 0 * {total}) / ({total} > 0)"


def quantile(share: float, buckets: str, by: str = "") -> str:
    """An estimate from buckets."""
    return f"histogram_quantile({share}, sum by ({by + ', ' if by else ''}le) ({buckets}))"


def percentiles(board: Board, tool: str, exact: tuple[float, ...], legend: str) -> None:
    """Both kinds, side by side: over all instances, and exact for each."""
    buckets = rate(f"{promql.DURATION}_bucket", tool, promql.COUNTED)
    board.series(
        "Percentiles over all instances (estimated)",
        ESTIMATED,
        "s",
        *(Query(quantile(share, buckets), percentile(share)) for share in (0.5, 0.95, 0.99)),
    )
    board.series(
        f"{', '.join(map(percentile, exact))} of each instance (exact, do not aggregate)",
        EXACT,
        "s",
        *(
            Query(
                chosen(catalogue.LATENCY_SUMMARY, tool, f'quantile="{share:g}"'),
                f"{percentile(share)} {legend} {{{{instance}}}}".replace("  ", " "),
            )
            for share in exact
        ),
    )


def percentile(share: float) -> str:
    """`p95`."""
    return f"p{share * 100:g}"
