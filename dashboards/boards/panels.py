"""Panels that several dashboards have, and the texts and colours of their panels."""

from __future__ import annotations

from collections.abc import Sequence

from dashboards.boards.board import Board, Colours, Query
from dashboards.boards.queries import (
    BUCKETS,
    CALLS,
    chosen,
    failures_among,
    hits_among,
    percentile,
    quantile,
    quantile_of_calls,
    rate,
    summed,
)

from metertap import catalogue, promql
from metertap.alerts.thresholds import CacheThresholds, ToolThresholds

# Figures change their colour where the alerts' defaults are.
SUCCESS = Colours("red", 1 - (ToolThresholds().error_rate or 0), "green")
HITS = Colours("red", CacheThresholds().hit_rate or 0, "green")
# A count that has just begun is less than 1 to Prometheus.
NONE_EXPECTED = Colours("green", 0.5, "red")

ESTIMATED = (
    "≈ Estimated over all instances together, and never more than the longest call. From scraped "
    "buckets, which double, it may be twice the exact figure or half of it; from exponential "
    "histograms over OTLP it is within 1 %."
)
REQUESTS_ESTIMATED = (
    "≈ Estimated. From scraped buckets, each up to three times the one before, it may be three "
    "times the exact figure or a third of it; from exponential histograms it is within 1 %."
)
EXACT = (
    "Exact, over the last calls of each process (METRICS_WINDOW_SIZE). Percentiles cannot be added "
    "up or averaged: one line for each instance, and never an aggregate of them. With fewer than "
    "19 calls (p95) or 99 (p99) it is ≈: the longest call."
)


COUNTS = "Only calls that count are in rates and percentiles: those that ended ok or failed."
SHARE = "Share of the calls that count."
IN_PROGRESS = "Calls that have begun and not ended."


def calls_now(board: Board, tool: str, span: int) -> None:
    """Show how the chosen tools do at this moment: rate, success, p95, calls in progress."""
    board.row("Now")
    board.stat("Calls", COUNTS, "reqps", f"sum({rate(CALLS, tool, promql.COUNTED)})", span=span)
    success = f"1 - {failures_among(rate, tool)}"
    said = "ok among ok and failed."
    board.stat("Success rate", said, "percentunit", success, span=span, colours=SUCCESS)
    board.stat("≈ p95 (estimated)", ESTIMATED, "s", quantile_of_calls(0.95, tool), span=span)
    active = f"sum({chosen(promql.TOOL_ACTIVE, tool)})"
    board.stat("In progress", IN_PROGRESS, "short", active, span=span)


def hit_ratio(board: Board, title: str, description: str, *matchers: str) -> None:
    """Show the hit ratio of each cache."""
    ratio = hits_among(rate, *matchers, by=f"by ({promql.CACHE})")
    board.series(title, description, "percentunit", Query(ratio, f"{{{{{promql.CACHE}}}}}"))


def calls_by_outcome(board: Board, tool: str, title: str) -> None:
    """Show every call, those too that are in no rate."""
    board.series(
        title,
        "cancelled, caller_error (unknown tool, invalid arguments) and interim are no failures "
        "and in no rate.",
        "reqps",
        summed(rate(CALLS, tool), promql.OUTCOME),
        span=8,
        stacked=True,
    )


def failures_by_type(board: Board, tool: str, by: Sequence[str]) -> None:
    """Show what failed calls raised, under a legend of the labels in `by`."""
    board.series(
        "Failed calls by type of error",
        "What the tool raised, or tool_error where it said itself that it failed.",
        "reqps",
        summed(rate(CALLS, tool, promql.FAILED), *by),
        span=8,
        stacked=True,
    )


def durations(board: Board, tool: str, exact: tuple[float, ...], legend: str) -> None:
    """Show percentiles over all instances, exact ones of each, and a heatmap."""
    board.row("Duration")
    board.series(
        "Percentiles over all instances (estimated)",
        ESTIMATED,
        "s",
        *(
            Query(quantile_of_calls(share, tool), f"≈ {percentile(share)}")
            for share in (0.5, 0.95, 0.99)
        ),
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


def weight(board: Board, tool: str, by: Sequence[str]) -> None:
    """Show the bytes of definitions, and those that results send into contexts."""
    sizes = chosen(promql.DEFINITION_SIZE, tool, promql.SERVED)
    # Workers of one server have the same definitions.
    defined = f"max by ({promql.TOOL}, {promql.PART}) ({sizes})"
    board.row("Weight in context")
    board.series(
        "Definitions",
        "Bytes that every session begins with, by what clients get.",
        "bytes",
        summed(defined, *by),
        span=8,
        stacked=True,
    )
    board.series(
        "≈ Result size, p95 (estimated)",
        "Estimated from the histogram, so as precise as its buckets are narrow.",
        "bytes",
        Query(
            quantile(0.95, promql.RESULT_SIZE, tool, promql.SERVED, by=promql.TOOL),
            f"{{{{{promql.TOOL}}}}}",
        ),
        span=8,
    )
    board.series(
        "Bytes of results",
        "What results send into the contexts of models.",
        "Bps",
        summed(rate(f"{promql.RESULT_SIZE}_sum", tool, promql.SERVED), promql.TOOL),
        span=8,
        stacked=True,
    )
