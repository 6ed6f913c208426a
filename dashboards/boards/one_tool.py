"""The dashboard of one tool, in depth."""

from __future__ import annotations

from dashboards.boards.board import Board, Query, Variable
from dashboards.boards.panels import (
    COUNTS,
    SHARE,
    calls_by_outcome,
    calls_now,
    durations,
    failures_by_type,
    hit_ratio,
    weight,
)
from dashboards.boards.queries import (
    CALLS,
    PROCESS,
    TOOLS,
    failures_among,
    percentile,
    quantile,
    rate,
    summed,
)

from metertap import promql

_THIS = f'{promql.TOOL}="$tool"'


def board() -> Board:
    """Build the dashboard."""
    board = Board(
        "metertap-tool",
        "metertap: one tool",
        f"Everything about the tool that is chosen above. {COUNTS}",
        (*PROCESS, Variable("tool", "Tool", TOOLS, many=False)),
    )
    calls_now(board, _THIS, span=6)
    _calls(board)
    durations(board, _THIS, (0.5, 0.95, 0.99), "")
    _means_and_first_items(board)
    _caches(board)
    weight(board, _THIS, (promql.PART,))
    return board


def _calls(board: Board) -> None:
    board.row("Calls and errors")
    calls_by_outcome(board, _THIS, "Calls by outcome")
    failures_by_type(board, _THIS, (promql.ERROR_TYPE,))
    board.series(
        "Failed calls by instance",
        SHARE,
        "percentunit",
        Query(failures_among(rate, _THIS, "by (instance)"), "{{instance}}"),
        span=8,
        rare=True,
    )


def _means_and_first_items(board: Board) -> None:
    total = summed(rate(f"{promql.DURATION}_sum", _THIS, promql.COUNTED), promql.OUTCOME)
    counted = summed(rate(CALLS, _THIS, promql.COUNTED), promql.OUTCOME)
    board.series(
        "Mean by outcome",
        "Exact: seconds divided by calls.",
        "s",
        Query(f"{total.expr} / ({counted.expr} > 0)", total.legend),
        span=6,
    )
    board.series(
        "≈ Time to the first item (estimated)",
        "Of a tool that yields; others have none.",
        "s",
        *(
            Query(quantile(share, promql.FIRST_ITEM, _THIS), f"≈ {percentile(share)}")
            for share in (0.5, 0.95)
        ),
        span=6,
    )


def _caches(board: Board) -> None:
    board.row("Caches that it asks")
    hit_ratio(board, "Hit ratio", "Of lookups made during its calls.", _THIS)
    lookups = summed(rate(promql.CACHE_REQUESTS, _THIS), promql.CACHE)
    board.series("Lookups", "Made during its calls.", "reqps", lookups)
