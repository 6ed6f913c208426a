"""The dashboard of costs: which tools and models spend, how much, and on what."""

from __future__ import annotations

from dashboards.boards.board import Board, Query
from dashboards.boards.queries import (
    CALLS,
    IN_TOOL,
    PROCESS,
    TOOL,
    increase,
    rate,
    summed,
)

from metertap import promql

_HOUR = 3600
_DAY = 24 * _HOUR
_COST = rate(promql.COST, IN_TOOL)
_OF_MODELS = f'{promql.TOOL}=~"$tool|"'
"""Model calls that no tool makes have no such label."""


def board() -> Board:
    """Build the dashboard."""
    board = Board(
        "metertap-costs",
        "metertap: costs",
        "What tools spend on models and fees, in USD, as far as prices are known.",
        (*PROCESS, TOOL),
    )
    _now(board)
    _spending(board)
    _models(board)
    return board


def _now(board: Board) -> None:
    spent = increase(promql.COST, IN_TOOL)
    ok = increase(CALLS, IN_TOOL, f'{promql.OUTCOME}="ok"')
    tokens = increase(f"{promql.TOKENS}_sum", _OF_MODELS)
    board.row("Over the time shown")
    for title, description, unit, expr in (
        ("Spent", "By models and fees.", "currencyUSD", f"sum({spent})"),
        (
            "A day at this rate",
            "What is spent now, over a whole day.",
            "currencyUSD",
            f"{_DAY} * sum({_COST})",
        ),
        (
            "A successful call",
            "All that was spent, divided by the calls that went well.",
            "currencyUSD",
            f"sum({spent}) / (sum({ok}) > 0)",
        ),
        ("Tokens", "Input and output.", "short", f"sum({tokens})"),
    ):
        board.stat(title, description, unit, expr, span=6)


def _spending(board: Board) -> None:
    board.row("Spending")
    for title, label in (("by tool", promql.TOOL), ("by model", promql.MODEL)):
        board.series(
            f"USD an hour {title}",
            "What is spent now, over an hour.",
            "currencyUSD",
            summed(f"{_HOUR} * {_COST}", label),
            stacked=True,
        )
    by_tool = summed(increase(promql.COST, IN_TOOL), promql.TOOL).expr
    ok = summed(increase(CALLS, IN_TOOL, f'{promql.OUTCOME}="ok"'), promql.TOOL).expr
    failed = summed(increase(promql.FAILED_COST, IN_TOOL), promql.TOOL).expr
    hits, misses = (
        summed(increase(promql.CACHE_REQUESTS, IN_TOOL, f'{promql.LOOKUP}="{kind}"'), promql.TOOL)
        for kind in ("hit", "miss")
    )
    after = summed(increase(promql.MISS_COST, IN_TOOL), promql.TOOL).expr
    board.table(
        "Dearest tools",
        "Over the time shown.",
        {
            "Spent": ("currencyUSD", f"topk(10, {by_tool})"),
            "A successful call": ("currencyUSD", f"({by_tool}) / ({ok} > 0)"),
            "On failures": ("currencyUSD", failed),
            "Saved by caches": (
                "currencyUSD",
                f"({hits.expr}) * ({after}) / ({misses.expr} > 0)",
            ),
        },
        {promql.TOOL: "Tool"},
    )
    model = (promql.PROVIDER, promql.MODEL)
    by_model = summed(increase(promql.COST, IN_TOOL), *model).expr
    after = summed(increase(promql.MISS_COST, IN_TOOL), promql.TOOL, *model).expr
    times = f"on ({promql.TOOL}) group_left () (({hits.expr}) / ({misses.expr} > 0))"
    board.table(
        "Dearest models",
        "Over the time shown; fees of calls have no model.",
        {
            "Spent": ("currencyUSD", f"topk(10, {by_model})"),
            "On failures": (
                "currencyUSD",
                summed(increase(promql.FAILED_COST, IN_TOOL), *model).expr,
            ),
            "Saved by caches": (
                "currencyUSD",
                f"sum by ({', '.join(model)}) (({after}) * {times})",
            ),
        },
        {promql.PROVIDER: "Provider", promql.MODEL: "Model"},
    )


def _models(board: Board) -> None:
    tokens = rate(f"{promql.TOKENS}_sum", _OF_MODELS)
    calls = rate(f"{promql.MODEL_DURATION}_count", _OF_MODELS)
    seconds = rate(f"{promql.MODEL_DURATION}_sum", _OF_MODELS)
    board.row("Models")
    board.series(
        "Tokens a second",
        "Input has cached tokens, output has reasoning.",
        "short",
        summed(tokens, promql.MODEL, promql.KIND_OF_TOKEN),
    )
    board.series(
        "Calls of models", "Every call, failed ones too.", "reqps", summed(calls, promql.MODEL)
    )
    mean = f"sum by ({promql.MODEL}) ({seconds}) / (sum by ({promql.MODEL}) ({calls}) > 0)"
    board.series(
        "Mean duration",
        "From the request to the end of the response.",
        "s",
        Query(mean, f"{{{{{promql.MODEL}}}}}"),
    )
    failed = rate(f"{promql.MODEL_DURATION}_count", _OF_MODELS, f'{promql.ERROR_TYPE}!=""')
    board.series(
        "Failed calls of models",
        "By error.",
        "reqps",
        summed(failed, promql.MODEL, promql.ERROR_TYPE),
    )
