"""The dashboard of caches: whether they help, and which tools."""

from __future__ import annotations

from dashboards.boards.board import Board, Query
from dashboards.boards.panels import HITS, hit_ratio
from dashboards.boards.queries import (
    CACHE,
    IN_CACHE,
    IN_TOOL,
    PROCESS,
    TOOL,
    chosen,
    hits_among,
    increase,
    rate,
    summed,
)

from metertap import catalogue, promql

_NAME = f"{{{{{promql.CACHE}}}}}"
_LOOKUPS = rate(promql.CACHE_REQUESTS, IN_CACHE)
_EVICTIONS = rate(promql.CACHE_EVICTIONS, IN_CACHE)
_ENTRIES = chosen(promql.CACHE_ENTRIES, IN_CACHE)
_EVICTED = "Entries that had to go for others."


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
    ratio = hits_among(rate, IN_CACHE)
    board.row("Now")
    board.stat("Hit ratio", "Hits among all lookups.", "percentunit", ratio, span=6, colours=HITS)
    for title, description, unit, expr in (
        ("Lookups", "Hits and misses.", "reqps", _LOOKUPS),
        ("Evictions", _EVICTED, "ops", _EVICTIONS),
        ("Entries", "Entries held now, of caches that tell.", "short", _ENTRIES),
    ):
        board.stat(title, description, unit, f"sum({expr})", span=6)


def _lookups(board: Board) -> None:
    board.row("Lookups")
    hit_ratio(
        board,
        "Hit ratio by cache",
        "Hits among the lookups of that moment, over all instances.",
        IN_CACHE,
    )
    board.series(
        "Hit ratio since the start (each instance, do not aggregate)",
        "Hits among all lookups of each process since it began.",
        "percentunit",
        Query(chosen(catalogue.HIT_RATIO, IN_CACHE), f"{_NAME} {{{{instance}}}}"),
    )
    by_cache, by_result = summed(_LOOKUPS, promql.CACHE), summed(_LOOKUPS, "cache_request_type")
    board.series("Lookups by cache", "Hits and misses.", "reqps", by_cache)
    board.series(
        "Lookups by result",
        "Hits and misses of all caches chosen.",
        "reqps",
        by_result,
        stacked=True,
    )


def _contents(board: Board) -> None:
    rejections = rate(promql.CACHE_REJECTIONS, IN_CACHE)
    board.row("Contents")
    for title, description, unit, expr in (
        ("Evictions by cache", _EVICTED, "ops", _EVICTIONS),
        ("Rejections by cache", "Entries refused because of their size.", "ops", rejections),
        ("Entries by cache", "Entries held, of caches that tell.", "short", _ENTRIES),
    ):
        board.series(title, description, unit, summed(expr, promql.CACHE), span=8)


def _by_tool(board: Board) -> None:
    both = f"by ({promql.CACHE}, {promql.TOOL})"
    ratio = hits_among(rate, IN_CACHE, IN_TOOL, f'{promql.TOOL}!=""', by=both)
    board.row("By tool")
    board.series(
        "Hit ratio by tool",
        "Lookups that were made during a call of the tool.",
        "percentunit",
        Query(ratio, f"{_NAME} in {{{{{promql.TOOL}}}}}"),
    )
    total = hits_among(increase, IN_CACHE, by=f"by ({promql.CACHE})")
    board.table(
        "Caches that help least",
        "Over the time shown.",
        {
            "Misses": ("percentunit", f"topk(10, 1 - {total})"),
            "Lookups": (
                "short",
                summed(increase(promql.CACHE_REQUESTS, IN_CACHE), promql.CACHE).expr,
            ),
        },
        {promql.CACHE: "Cache"},
    )
