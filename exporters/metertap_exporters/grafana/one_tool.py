"""The dashboard of one tool, in depth."""

from __future__ import annotations

from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query, Variable
from metertap_exporters.grafana.panels import (
    COUNTS,
    SHARE,
    calls_by_outcome,
    calls_now,
    durations,
    failures_by_type,
)
from metertap_exporters.grafana.queries import (
    CALLS,
    PROCESS,
    TOOLS,
    percentile,
    quantile,
    rate,
    ratio,
)

_THIS = f'{promql.TOOL}="$tool"'
_NAME = f"{{{{{promql.CACHE}}}}}"


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
    return board


def _calls(board: Board) -> None:
    counted, failed = rate(CALLS, _THIS, promql.COUNTED), rate(CALLS, _THIS, promql.FAILED)
    board.row("Calls and errors")
    calls_by_outcome(board, _THIS, "Calls by outcome")
    failures_by_type(board, _THIS, (promql.ERROR_TYPE,))
    board.series(
        "Failed calls by instance",
        SHARE,
        "percentunit",
        Query(ratio(failed, counted, "by (instance)"), "{{instance}}"),
        span=8,
        rare=True,
    )


def _means_and_first_items(board: Board) -> None:
    total = rate(f"{promql.DURATION}_sum", _THIS, promql.COUNTED)
    counted = rate(CALLS, _THIS, promql.COUNTED)
    board.series(
        "Mean by outcome",
        "Exact: seconds divided by calls.",
        "s",
        Query(
            f"sum by ({promql.OUTCOME}) ({total}) / (sum by ({promql.OUTCOME}) ({counted}) > 0)",
            f"{{{{{promql.OUTCOME}}}}}",
        ),
        span=6,
    )
    first = rate(f"{promql.FIRST_ITEM}_bucket", _THIS)
    board.series(
        "≈ Time to the first item (estimated)",
        "Of a tool that yields; others have none.",
        "s",
        *(Query(quantile(share, first), f"≈ {percentile(share)}") for share in (0.5, 0.95)),
        span=6,
    )


def _caches(board: Board) -> None:
    lookups = rate(promql.CACHE_REQUESTS, _THIS)
    hits = rate(promql.CACHE_REQUESTS, _THIS, promql.HIT)
    by_cache = f"by ({promql.CACHE})"
    board.row("Caches that it asks")
    board.series(
        "Hit ratio",
        "Of lookups made during its calls.",
        "percentunit",
        Query(ratio(hits, lookups, by_cache), _NAME),
    )
    board.series(
        "Lookups",
        "Made during its calls.",
        "reqps",
        Query(f"sum {by_cache} ({lookups})", _NAME),
    )
