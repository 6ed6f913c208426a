"""The dashboard of all tools: rate, errors and duration, and which are worst."""

from __future__ import annotations

from dashboards.boards.board import Board, Query
from dashboards.boards.panels import (
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
    weight,
)
from dashboards.boards.queries import (
    CALLS,
    IN_TOOL,
    PROCESS,
    TOOL,
    chosen,
    failures_among,
    increase,
    quantile,
    quantile_of_calls,
    rate,
    summed,
)

from metertap import promql

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
    weight(board, IN_TOOL, (promql.TOOL,))
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
    calls = summed(rate(CALLS, IN_TOOL, promql.COUNTED), promql.TOOL)
    active = summed(chosen(promql.TOOL_ACTIVE, IN_TOOL), promql.TOOL)
    board.row("Rate")
    board.series("Calls by tool", COUNTS, "reqps", calls)
    board.series("Calls in progress", IN_PROGRESS, "short", active)
    board.row("Errors")
    board.series(
        "Failed calls by tool",
        SHARE,
        "percentunit",
        Query(failures_among(rate, IN_TOOL, _BY_TOOL), _NAME),
        span=8,
        rare=True,
    )
    failures_by_type(board, IN_TOOL, (promql.OUTCOME, promql.ERROR_TYPE))
    calls_by_outcome(board, IN_TOOL, "All calls by outcome")


def _worst(board: Board) -> None:
    calls = summed(increase(CALLS, IN_TOOL, promql.COUNTED), promql.TOOL).expr
    p95 = quantile_of_calls(0.95, IN_TOOL, promql.TOOL, "$__range")
    failing = failures_among(increase, IN_TOOL, _BY_TOOL)
    board.row("Worst, over the time shown")
    for title, description, column, unit, worst in (
        # Without calls there is no percentile, which Prometheus calls NaN.
        ("Slowest tools", ESTIMATED, "≈ p95", "s", f"{p95} and {calls} > 0"),
        ("Most failing tools", SHARE, "Failed", "percentunit", f"{failing} > 0"),
    ):
        columns = {column: (unit, f"topk(10, {worst})"), "Calls": ("short", calls)}
        board.table(title, description, columns, {promql.TOOL: "Tool"})


def _requests(board: Board) -> None:
    board.row("MCP requests")
    board.series(
        "Requests by method",
        "Every request that an MCP server got, tools/call among them.",
        "reqps",
        summed(rate(f"{promql.REQUEST_DURATION}_count"), promql.METHOD),
    )
    board.series(
        "≈ p95 by method (estimated)",
        REQUESTS_ESTIMATED,
        "s",
        Query(
            quantile(0.95, promql.REQUEST_DURATION, by=promql.METHOD), f"{{{{{promql.METHOD}}}}}"
        ),
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
