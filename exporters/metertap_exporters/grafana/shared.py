"""What the dashboards have in common: variables, selectors, and the percentiles of two kinds."""

from __future__ import annotations

from collections.abc import Sequence

from metertap import catalogue
from metertap.alerts.thresholds import CacheThresholds, ToolThresholds
from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Colours, Query, Variable

CALLS = f"{promql.DURATION}_count"
BUCKETS = f"{promql.DURATION}_bucket"
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


COUNTS = "Only calls that count are in rates and percentiles: those that ended ok or failed."
SHARE = "Share of the calls that count."
IN_PROGRESS = "Calls that have begun and not ended."


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


def percentile(share: float) -> str:
    """Name a percentile: `p95`."""
    return f"p{share * 100:g}"


def calls_now(board: Board, tool: str, span: int) -> None:
    """Show how the chosen tools do at this moment: rate, success, p95, calls in progress."""
    counted, failed = rate(CALLS, tool, promql.COUNTED), rate(CALLS, tool, promql.FAILED)
    board.row("Now")
    board.stat("Calls", COUNTS, "reqps", f"sum({counted})", span=span)
    board.stat(
        "Success rate",
        "ok among ok and failed.",
        "percentunit",
        f"1 - {ratio(failed, counted)}",
        span=span,
        colours=SUCCESS,
    )
    buckets = rate(BUCKETS, tool, promql.COUNTED)
    board.stat("p95 (estimated)", ESTIMATED, "s", quantile(0.95, buckets), span=span)
    active = f"sum({chosen(promql.TOOL_ACTIVE, tool)})"
    board.stat("In progress", IN_PROGRESS, "short", active, span=span)


def calls_by_outcome(board: Board, tool: str, title: str) -> None:
    """Show every call, those too that are in no rate."""
    board.series(
        title,
        "cancelled, caller_error (unknown tool, invalid arguments) and interim are no failures "
        "and in no rate.",
        "reqps",
        Query(f"sum by ({promql.OUTCOME}) ({rate(CALLS, tool)})", f"{{{{{promql.OUTCOME}}}}}"),
        span=8,
        stacked=True,
    )


def failures_by_type(board: Board, tool: str, by: Sequence[str]) -> None:
    """Show what failed calls raised, under a legend of the labels in `by`."""
    board.series(
        "Failed calls by type of error",
        "What the tool raised, or tool_error where it said itself that it failed.",
        "reqps",
        Query(
            f"sum by ({', '.join(by)}) ({rate(CALLS, tool, promql.FAILED)})",
            ": ".join(f"{{{{{label}}}}}" for label in by),
        ),
        span=8,
        stacked=True,
    )


def durations(board: Board, tool: str, exact: tuple[float, ...], legend: str) -> None:
    """Show percentiles over all instances, exact ones of each, and a heatmap."""
    buckets = rate(BUCKETS, tool, promql.COUNTED)
    board.row("Duration")
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
    increase_of_buckets = f"increase({chosen(BUCKETS, tool, promql.COUNTED)}[$__rate_interval])"
    board.heatmap(
        "Durations", "How many calls took how long.", f"sum by (le) ({increase_of_buckets})"
    )
