"""The dashboard of caches: whether they help, and which tools."""

from __future__ import annotations

from metertap import catalogue
from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query
from metertap_exporters.grafana.panels import HITS
from metertap_exporters.grafana.queries import (
    CACHE,
    IN_CACHE,
    IN_TOOL,
    PROCESS,
    TOOL,
    chosen,
    increase,
    rate,
    ratio,
)

_BY_CACHE = f"by ({promql.CACHE})"
_NAME = f"{{{{{promql.CACHE}}}}}"
_OF_TOOLS = f'{promql.TOOL}!=""'


def board() -> Board:
    """Build the dashboard."""
    board = Board(
        "metertap-caches",
        "metertap: caches",
        "Hits and misses of every cache, and which tools they help. The list of tools applies to "
        "the last row only.",
        (*PROCESS, CACHE, TOOL),
    )
    _now(board)
    _lookups(board)
    _contents(board)
    _by_tool(board)
    return board


def _now(board: Board) -> None:
    lookups = rate(promql.CACHE_REQUESTS, IN_CACHE)
    hits = rate(promql.CACHE_REQUESTS, IN_CACHE, promql.HIT)
    board.row("Now")
    board.stat(
        "Hit ratio",
        "Hits among all lookups.",
        "percentunit",
        ratio(hits, lookups),
        span=6,
        colours=HITS,
    )
    board.stat("Lookups", "Hits and misses.", "reqps", f"sum({lookups})", span=6)
    board.stat(
        "Evictions",
        "Entries that had to go for others.",
        "ops",
        f"sum({rate(promql.CACHE_EVICTIONS, IN_CACHE)})",
        span=6,
    )
    board.stat(
        "Entries",
        "Entries held now, of caches that tell.",
        "short",
        f"sum({chosen(promql.CACHE_ENTRIES, IN_CACHE)})",
        span=6,
    )


def _lookups(board: Board) -> None:
    lookups = rate(promql.CACHE_REQUESTS, IN_CACHE)
    hits = rate(promql.CACHE_REQUESTS, IN_CACHE, promql.HIT)
    result = "cache_request_type"
    board.row("Lookups")
    board.series(
        "Hit ratio by cache",
        "Hits among the lookups of that moment, over all instances.",
        "percentunit",
        Query(ratio(hits, lookups, _BY_CACHE), _NAME),
    )
    board.series(
        "Hit ratio since the start (each instance, do not aggregate)",
        "Hits among all lookups of each process since it began.",
        "percentunit",
        Query(chosen(catalogue.HIT_RATIO, IN_CACHE), f"{_NAME} {{{{instance}}}}"),
    )
    board.series(
        "Lookups by cache",
        "Hits and misses.",
        "reqps",
        Query(f"sum {_BY_CACHE} ({lookups})", _NAME),
    )
    board.series(
        "Lookups by result",
        "Hits and misses of all caches chosen.",
        "reqps",
        Query(f"sum by ({result}) ({lookups})", f"{{{{{result}}}}}"),
        stacked=True,
    )


def _contents(board: Board) -> None:
    board.row("Contents")
    for title, description, unit, expr in (
        (
            "Evictions by cache",
            "Entries that had to go for others.",
            "ops",
            rate(promql.CACHE_EVICTIONS, IN_CACHE),
        ),
        (
            "Rejections by cache",
            "Entries refused because of their size.",
            "ops",
            rate(promql.CACHE_REJECTIONS, IN_CACHE),
        ),
        (
            "Entries by cache",
            "Entries held, of caches that tell.",
            "short",
            chosen(promql.CACHE_ENTRIES, IN_CACHE),
        ),
    ):
        board.series(title, description, unit, Query(f"sum {_BY_CACHE} ({expr})", _NAME), span=8)


def _by_tool(board: Board) -> None:
    looked_up = rate(promql.CACHE_REQUESTS, IN_CACHE, IN_TOOL, _OF_TOOLS)
    hits = rate(promql.CACHE_REQUESTS, IN_CACHE, IN_TOOL, _OF_TOOLS, promql.HIT)
    total = increase(promql.CACHE_REQUESTS, IN_CACHE)
    total_hits = increase(promql.CACHE_REQUESTS, IN_CACHE, promql.HIT)
    both = f"by ({promql.CACHE}, {promql.TOOL})"
    board.row("By tool")
    board.series(
        "Hit ratio by tool",
        "Lookups that were made during a call of the tool.",
        "percentunit",
        Query(ratio(hits, looked_up, both), f"{_NAME} in {{{{{promql.TOOL}}}}}"),
    )
    board.table(
        "Caches that help least",
        "Over the time shown.",
        {
            "Misses": ("percentunit", f"topk(10, 1 - {ratio(total_hits, total, _BY_CACHE)})"),
            "Lookups": ("short", f"sum {_BY_CACHE} ({total})"),
        },
        {promql.CACHE: "Cache"},
    )
