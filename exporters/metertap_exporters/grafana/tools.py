"""The dashboard of all tools: rate, errors and duration, and which are worst."""

from __future__ import annotations

from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query
from metertap_exporters.grafana.panels import (
    COUNTS,
    ESTIMATED,
    IN_PROGRESS,
    NONE_EXPECTED,
    REQUESTS_ESTIMATED,
    SHARE,
    calls_by_outcome,
    calls_now,
    durations,
    failures_by_type,
)
from metertap_exporters.grafana.queries import (
    CALLS,
    IN_TOOL,
    PROCESS,
    TOOL,
    chosen,
    increase,
    quantile,
    quantile_of_calls,
    rate,
    ratio,
)

_BY_TOOL = f"by ({promql.TOOL})"
_NAME = f"{{{{{promql.TOOL}}}}}"


def board() -> Board:
    """Build the dashboard."""
    board = Board(
        "metertap-tools",
        "metertap: tools",
        f"Rate, errors and duration of every tool. {COUNTS}",
        (*PROCESS, TOOL),
    )
    _now(board)
    _rate_and_errors(board)
    durations(board, IN_TOOL, (0.95,), _NAME)
    board.series(
        "≈ p95 by tool, over all instances (estimated)",
        ESTIMATED,
        "s",
        Query(quantile_of_calls(0.95, IN_TOOL, promql.TOOL), _NAME),
    )
    _worst(board)
    _requests(board)
    _meter(board)
    return board


def _now(board: Board) -> None:
    calls_now(board, IN_TOOL, span=4)
    board.stat(
        "Sessions",
        "MCP sessions that are open.",
        "short",
        f"sum({chosen(promql.SESSION_ACTIVE)})",
    )
    board.stat(
        "Processes",
        "Measured processes that Prometheus scrapes.",
        "short",
        f"count(group by (job, instance) ({chosen(promql.TOOL_ACTIVE)}))",
    )


def _rate_and_errors(board: Board) -> None:
    counted = rate(CALLS, IN_TOOL, promql.COUNTED)
    failed = rate(CALLS, IN_TOOL, promql.FAILED)
    board.row("Rate")
    board.series("Calls by tool", COUNTS, "reqps", Query(f"sum {_BY_TOOL} ({counted})", _NAME))
    active = f"sum {_BY_TOOL} ({chosen(promql.TOOL_ACTIVE, IN_TOOL)})"
    board.series("Calls in progress", IN_PROGRESS, "short", Query(active, _NAME))
    board.row("Errors")
    board.series(
        "Failed calls by tool",
        SHARE,
        "percentunit",
        Query(ratio(failed, counted, _BY_TOOL), _NAME),
        span=8,
        rare=True,
    )
    failures_by_type(board, IN_TOOL, (promql.OUTCOME, promql.ERROR_TYPE))
    calls_by_outcome(board, IN_TOOL, "All calls by outcome")


def _worst(board: Board) -> None:
    counted = increase(CALLS, IN_TOOL, promql.COUNTED)
    failed = increase(CALLS, IN_TOOL, promql.FAILED)
    p95 = quantile_of_calls(0.95, IN_TOOL, promql.TOOL, "$__range")
    # Without calls there is no percentile, which Prometheus calls NaN.
    slow = f"{p95} and sum {_BY_TOOL} ({counted}) > 0"
    calls = ("short", f"sum {_BY_TOOL} ({counted})")
    board.row("Worst, over the time shown")
    board.table(
        "Slowest tools",
        ESTIMATED,
        {"≈ p95": ("s", f"topk(10, {slow})"), "Calls": calls},
        {promql.TOOL: "Tool"},
    )
    board.table(
        "Most failing tools",
        SHARE,
        {
            "Failed": ("percentunit", f"topk(10, {ratio(failed, counted, _BY_TOOL)} > 0)"),
            "Calls": calls,
        },
        {promql.TOOL: "Tool"},
    )


def _requests(board: Board) -> None:
    count, buckets = f"{promql.REQUEST_DURATION}_count", f"{promql.REQUEST_DURATION}_bucket"
    name = f"{{{{{promql.METHOD}}}}}"
    board.row("MCP requests")
    board.series(
        "Requests by method",
        "Every request that an MCP server got, tools/call among them.",
        "reqps",
        Query(f"sum by ({promql.METHOD}) ({rate(count)})", name),
    )
    board.series(
        "≈ p95 by method (estimated)",
        REQUESTS_ESTIMATED,
        "s",
        Query(quantile(0.95, rate(buckets), promql.METHOD), name),
    )


def _meter(board: Board) -> None:
    board.row("The meter itself")
    board.stat(
        "Faults",
        "Faults of metertap's own that it swallowed, over the time shown.",
        "short",
        f"sum({increase(promql.FAULTS)}) or vector(0)",
        span=12,
        colours=NONE_EXPECTED,
    )
    board.stat(
        "Series past a limit",
        "Series that hold what is past a metric's limit (otel_metric_overflow).",
        "short",
        f"count({chosen('', promql.OVERFLOW)}) or vector(0)",
        span=12,
        colours=NONE_EXPECTED,
    )
