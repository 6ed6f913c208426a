"""One tool in depth."""

from __future__ import annotations

from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query, Variable
from metertap_exporters.grafana.shared import (
    ESTIMATED,
    PROCESS,
    SUCCESS,
    TOOLS,
    chosen,
    percentile,
    percentiles,
    quantile,
    rate,
    ratio,
)
from metertap_exporters.grafana.tools import COUNTS, increase_of_buckets

_THIS = f'{promql.TOOL}="$tool"'
_CALLS = f"{promql.DURATION}_count"
_NAME = f"{{{{{promql.CACHE}}}}}"


def board() -> Board:
    """The dashboard."""
    board = Board(
        "metertap-tool",
        "metertap: one tool",
        f"Everything about the tool that is chosen above. {COUNTS}",
        (*PROCESS, Variable("tool", "Tool", TOOLS, many=False)),
    )
    _now(board)
    _calls(board)
    _duration(board)
    _caches(board)
    return board


def _now(board: Board) -> None:
    counted, failed = rate(_CALLS, _THIS, promql.COUNTED), rate(_CALLS, _THIS, promql.FAILED)
    buckets = rate(f"{promql.DURATION}_bucket", _THIS, promql.COUNTED)
    board.row("Now")
    board.stat("Calls", COUNTS, "reqps", f"sum({counted})", span=6)
    board.stat(
        "Success rate",
        "ok among ok and failed.",
        "percentunit",
        f"1 - {ratio(failed, counted)}",
        span=6,
        colours=SUCCESS,
    )
    board.stat("p95 (estimated)", ESTIMATED, "s", quantile(0.95, buckets), span=6)
    board.stat(
        "In progress",
        "Calls that have begun and not ended.",
        "short",
        f"sum({chosen(promql.TOOL_ACTIVE, _THIS)})",
        span=6,
    )


def _calls(board: Board) -> None:
    counted, failed = rate(_CALLS, _THIS, promql.COUNTED), rate(_CALLS, _THIS, promql.FAILED)
    board.row("Calls and errors")
    board.series(
        "Calls by outcome",
        "cancelled, caller_error (unknown tool, invalid arguments) and interim are no failures "
        "and in no rate.",
        "reqps",
        Query(f"sum by ({promql.OUTCOME}) ({rate(_CALLS, _THIS)})", f"{{{{{promql.OUTCOME}}}}}"),
        span=8,
        stacked=True,
    )
    board.series(
        "Failed calls by type of error",
        "What the tool raised, or tool_error where it said itself that it failed.",
        "reqps",
        Query(f"sum by ({promql.ERROR_TYPE}) ({failed})", f"{{{{{promql.ERROR_TYPE}}}}}"),
        span=8,
        stacked=True,
    )
    board.series(
        "Failed calls by instance",
        "Share of the calls that count.",
        "percentunit",
        Query(ratio(failed, counted, "by (instance)"), "{{instance}}"),
        span=8,
        rare=True,
    )


def _duration(board: Board) -> None:
    total = rate(f"{promql.DURATION}_sum", _THIS, promql.COUNTED)
    counted = rate(_CALLS, _THIS, promql.COUNTED)
    board.row("Duration")
    percentiles(board, _THIS, (0.5, 0.95, 0.99), "")
    board.heatmap(
        "Durations",
        "How many calls took how long.",
        f"sum by (le) ({increase_of_buckets(_THIS)})",
    )
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
        "Time to the first item (estimated)",
        "Of a tool that yields; others have none.",
        "s",
        *(Query(quantile(share, first), percentile(share)) for share in (0.5, 0.95)),
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
