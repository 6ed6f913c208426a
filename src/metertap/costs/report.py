"""Costs as the views show them: by tool, by model, by cache, and recommendations.

Everything covers the same time as the other figures of the document. Money is in USD. Unknown
amounts are None and counted apart, so that no incomplete sum looks whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from metertap import state
from metertap.costs import budget, prices, recommendations
from metertap.costs.savings import ASSUMES, Saving, savings
from metertap.costs.tool_cost import ToolCost, by_tool
from metertap.recording import Figures
from metertap.recording.arithmetic import exact
from metertap.recording.usage_series import UsageSeries


def report(figures: Figures, cache_names: Mapping[int, str]) -> dict[str, Any] | None:
    """Build `cost_metrics` of the document; None without model calls and fees.

    `cache_names` are the caches' names in the document, by the identity of their figures.
    """
    in_force = prices.in_force()
    fees = state.recorder().fees
    if not figures.usage and not fees:
        return None
    with exact():
        tools, saved = by_tool(figures, fees), savings(figures)
        spent = [cost for tool in tools.values() if (cost := tool.spent) is not None]
        total = sum(spent, Decimal(0)) if spent else None
        return {
            "currency": "USD",
            **in_force.described(),
            "spent": usd(total),
            "saved_by_caches": _total_saved(saved.by_tool.values()),
            "assumes": ASSUMES,
            "unpriced_calls": sum(series.unpriced for series in figures.usage),
            "unreported_calls": sum(series.unreported for series in figures.usage),
            "unpriced_models": sorted(
                {f"{item.provider}/{item.model}" for item in figures.usage if item.unpriced}
            ),
            "budget": budget.outlook(total, figures),
            "tools": {name: _tool(tool, saved.by_tool.get(name)) for name, tool in tools.items()},
            "models": [_model(series, saved.of_model(series)) for series in figures.usage],
            "caches": {cache_names[id(cache)]: _saving(saving) for cache, saving in saved.by_cache},
            "recommendations": recommendations.of(figures, tools, saved, cache_names),
        }


def _tool(tool: ToolCost, saved: Saving | None) -> dict[str, Any]:
    return {
        "model_calls": sum(series.calls for series in tool.models),
        "input_tokens": sum(series.input_tokens for series in tool.models),
        "output_tokens": sum(series.output_tokens for series in tool.models),
        "spent": usd(tool.spent),
        "fees": usd(tool.fees),
        "spent_on_failures": usd(tool.spent_in_failed),
        "per_successful_call": usd(tool.per_success),
        "unpriced_calls": sum(series.unpriced for series in tool.models),
        "unreported_calls": sum(series.unreported for series in tool.models),
        "saved_by_caches": None if saved is None else usd(saved.money),
        "seconds_saved_by_caches": None if saved is None else saved.seconds,
    }


def _model(series: UsageSeries, saved: Decimal | None) -> dict[str, Any]:
    cost, succeeded = series.cost, series.calls - series.failed
    return {
        "tool": series.tool,
        "provider": series.provider,
        "model": series.model,
        "calls": series.calls,
        "failed_calls": series.failed,
        "retried_calls": series.retries,
        "repeated_calls": series.repeats,
        "unreported_calls": series.unreported,
        "unpriced_calls": series.unpriced,
        "input_tokens": series.input_tokens,
        "output_tokens": series.output_tokens,
        "cached_tokens": series.cached_tokens,
        "cache_write_tokens": series.cache_write_tokens,
        "reasoning_tokens": series.reasoning_tokens,
        "seconds": series.seconds,
        "spent": usd(cost),
        "spent_on_failures": usd(None if cost is None else series.spent_in_failed),
        "per_successful_call": usd(cost / succeeded if cost is not None and succeeded else None),
        "saved_by_caches": usd(saved),
    }


def _saving(saving: Saving) -> dict[str, Any]:
    return {"hits": saving.hits, "saved": usd(saving.money), "seconds_saved": saving.seconds}


def _total_saved(savings: Iterable[Saving]) -> float | None:
    known = [saving.money for saving in savings if saving.money is not None]
    return usd(sum(known, Decimal(0))) if known else None


def usd(amount: Decimal | None) -> float | None:
    """Return the nearest JSON number of an exact amount."""
    return None if amount is None else float(amount)
