"""Costs: tokens and money, of models and of tools.

The metrics are those of OpenTelemetry's GenAI conventions for clients, and metertap's cost of
tools; a process has them where its costs are tracked.
"""

from __future__ import annotations

from metertap_exporters import promql
from metertap_exporters.grafana.board import Board, Query
from metertap_exporters.grafana.shared import (
    IN_TOOL,
    PROCESS,
    TOOL,
    chosen,
    increase,
    quantile,
    rate,
)

_TOKENS = "gen_ai_client_token_usage"
_COST = "metertap_tool_cost_USD_total"
_MODEL, _KIND = "gen_ai_request_model", "gen_ai_token_type"
_USD = "currencyUSD"


def board() -> Board:
    """The dashboard."""
    board = Board(
        "metertap-costs",
        "metertap: costs",
        "Needs cost tracking: processes that record gen_ai.client.token.usage and "
        "metertap.tool.cost. Without it every panel is empty.",
        (*PROCESS, TOOL),
    )
    _money(board)
    _tokens(board)
    return board


def _money(board: Board) -> None:
    spent = increase(_COST, IN_TOOL)
    calls = increase(f"{promql.DURATION}_count", IN_TOOL)
    by_tool = f"by ({promql.TOOL})"
    board.row("Money")
    board.stat("Spent", "Over the time shown.", _USD, f"sum({spent})", span=8)
    board.stat(
        "Per hour", "At the pace of now.", _USD, f"3600 * sum({rate(_COST, IN_TOOL)})", span=8
    )
    board.stat(
        "Since the start",
        "Of the processes that run now.",
        _USD,
        f"sum({chosen(_COST, IN_TOOL)})",
        span=8,
    )
    board.series(
        "Cost per hour by tool",
        "At the pace of that moment.",
        _USD,
        Query(f"3600 * sum {by_tool} ({rate(_COST, IN_TOOL)})", f"{{{{{promql.TOOL}}}}}"),
        stacked=True,
    )
    board.table(
        "Most expensive tools",
        "Over the time shown. A call is one of any outcome.",
        {
            "Cost": (_USD, f"topk(10, sum {by_tool} ({spent}))"),
            "Cost of a call": (_USD, f"sum {by_tool} ({spent}) / (sum {by_tool} ({calls}) > 0)"),
        },
        {promql.TOOL: "Tool"},
    )


def _tokens(board: Board) -> None:
    used = rate(f"{_TOKENS}_sum")
    board.row("Tokens")
    board.series(
        "Tokens by type",
        "Per second.",
        "short",
        Query(f"sum by ({_KIND}) ({used})", f"{{{{{_KIND}}}}}"),
        span=8,
        stacked=True,
    )
    board.series(
        "Tokens by model",
        "Per second.",
        "short",
        Query(f"sum by ({_MODEL}, {_KIND}) ({used})", f"{{{{{_MODEL}}}}} {{{{{_KIND}}}}}"),
        span=8,
    )
    board.series(
        "Tokens of a request, p95 (estimated)",
        "By type, over all models.",
        "short",
        Query(quantile(0.95, rate(f"{_TOKENS}_bucket"), _KIND), f"{{{{{_KIND}}}}}"),
        span=8,
    )
