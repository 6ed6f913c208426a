"""Tools: rate, errors and duration of them all, and which are worst."""

from __future__ import annotations

from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query
from metertap_exporters.grafana.shared import (
    ESTIMATED,
    IN_TOOL,
    NONE_EXPECTED,
    PROCESS,
    SUCCESS,
    TOOL,
    chosen,
    increase,
    percentiles,
    quantile,
    rate,
    ratio,
)

_CALLS = f"{promql.DURATION}_count"
_BUCKETS = f"{promql.DURATION}_bucket"
_BY_TOOL = f"by ({promql.TOOL})"
_NAME = f"{{{{{promql.TOOL}}}}}"
COUNTS = "Only calls that count are in rates and percentiles: those that ended ok or failed."


def board() -> Board:
    """The dashboard."""
    board = Board(
        "metertap-tools",
        "metertap: tools",
        f"Rate, errors and duration of every tool. {COUNTS}",
        (*PROCESS, TOOL),
    )
    _now(board)
    _rate_and_errors(board)
    board.row("Duration")
    percentiles(board, IN_TOOL, (0.95,), _NAME)
    board.heatmap(
        "Durations",
        "How many calls took how long.",
        f"sum by (le) ({increase_of_buckets(IN_TOOL)})",
    )
    board.series(
        "p95 by tool, over all instances (estimated)",
        ESTIMATED,
        "s",
        Query(quantile(0.95, rate(_BUCKETS, IN_TOOL, promql.COUNTED), promql.TOOL), _NAME),
    )
    _worst(board)
    _requests(board)
    _meter(board)
    return board


def increase_of_buckets(*matchers: str) -> str:
    """What a heatmap is made of."""
    buckets = chosen(_BUCKETS, *matchers, promql.COUNTED)
    return f"increase({buckets}[$__rate_interval])"


def _now(board: Board) -> None:
    counted = rate(_CALLS, IN_TOOL, promql.COUNTED)
    failed = rate(_CALLS, IN_TOOL, promql.FAILED)
    board.row("Now")
    board.stat("Calls", COUNTS, "reqps", f"sum({counted})")
    board.stat(
        "Success rate",
        "ok among ok and failed.",
        "percentunit",
        f"1 - {ratio(failed, counted)}",
        colours=SUCCESS,
    )
    board.stat(
        "p95 (estimated)",
        ESTIMATED,
        "s",
        quantile(0.95, rate(_BUCKETS, IN_TOOL, promql.COUNTED)),
    )
    board.stat(
        "In progress",
        "Calls that have begun and not ended.",
        "short",
        f"sum({chosen(promql.TOOL_ACTIVE, IN_TOOL)})",
    )
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
    counted = rate(_CALLS, IN_TOOL, promql.COUNTED)
    failed = rate(_CALLS, IN_TOOL, promql.FAILED)
    board.row("Rate")
    board.series("Calls by tool", COUNTS, "reqps", Query(f"sum {_BY_TOOL} ({counted})", _NAME))
    board.series(
        "Calls in progress",
        "Calls that have begun and not ended.",
        "short",
        Query(f"sum {_BY_TOOL} ({chosen(promql.TOOL_ACTIVE, IN_TOOL)})", _NAME),
    )
    board.row("Errors")
    board.series(
        "Failed calls by tool",
        "Share of the calls that count.",
        "percentunit",
        Query(ratio(failed, counted, _BY_TOOL), _NAME),
        span=8,
        rare=True,
    )
    board.series(
        "Failed calls by type of error",
        "What the tool raised, or tool_error where it said itself that it failed.",
        "reqps",
        Query(
            f"sum by ({promql.OUTCOME}, {promql.ERROR_TYPE}) ({failed})",
            f"{{{{{promql.OUTCOME}}}}}: {{{{{promql.ERROR_TYPE}}}}}",
        ),
        span=8,
        stacked=True,
    )
    board.series(
        "All calls by outcome",
        "cancelled, caller_error (unknown tool, invalid arguments) and interim are no failures "
        "and in no rate.",
        "reqps",
        Query(f"sum by ({promql.OUTCOME}) ({rate(_CALLS, IN_TOOL)})", f"{{{{{promql.OUTCOME}}}}}"),
        span=8,
        stacked=True,
    )


def _worst(board: Board) -> None:
    counted = increase(_CALLS, IN_TOOL, promql.COUNTED)
    failed = increase(_CALLS, IN_TOOL, promql.FAILED)
    buckets = increase(_BUCKETS, IN_TOOL, promql.COUNTED)
    # Without calls there is no percentile, which Prometheus calls NaN.
    slow = f"{quantile(0.95, buckets, promql.TOOL)} and sum {_BY_TOOL} ({counted}) > 0"
    calls = ("short", f"sum {_BY_TOOL} ({counted})")
    board.row("Worst, over the time shown")
    board.table(
        "Slowest tools",
        ESTIMATED,
        {"p95": ("s", f"topk(10, {slow})"), "Calls": calls},
        {promql.TOOL: "Tool"},
    )
    board.table(
        "Most failing tools",
        "Share of the calls that count.",
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
        "p95 by method (estimated)",
        ESTIMATED,
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
