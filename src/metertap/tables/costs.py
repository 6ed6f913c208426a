"""Costs of tools as tables: by tool, by model, by cache, and recommendations."""

from __future__ import annotations

from metertap import text
from metertap.tables.sections import Costs, ModelCost, ToolCost
from metertap.tables.table import Columns, Table, table_of


def _spent(item: ToolCost | ModelCost) -> str:
    return text.money(item["spent"]) + ("*" if item["unpriced_calls"] else "")


_TOOLS: Columns = {
    "tool": lambda tool: text.tool(tool[0]),
    "model calls": lambda tool: text.count(tool[1]["model_calls"]),
    "tokens in": lambda tool: text.count(tool[1]["input_tokens"]),
    "tokens out": lambda tool: text.count(tool[1]["output_tokens"]),
    "spent": lambda tool: _spent(tool[1]),
    "per ok call": lambda tool: text.money(tool[1]["per_successful_call"]),
    "on failures": lambda tool: text.money(tool[1]["spent_on_failures"]),
    "saved by caches": lambda tool: text.money(tool[1]["saved_by_caches"]),
}
_MODELS: Columns = {
    "model": lambda item: f"{item['provider']}/{item['model']}",
    "tool": lambda item: text.tool(item["tool"]),
    "calls": lambda item: text.count(item["calls"]),
    "failed": lambda item: text.count(item["failed_calls"]),
    "in": lambda item: text.count(item["input_tokens"]),
    "cached": lambda item: text.count(item["cached_tokens"]),
    "out": lambda item: text.count(item["output_tokens"]),
    "reasoning": lambda item: text.count(item["reasoning_tokens"]),
    "spent": _spent,
    "per ok call": lambda item: text.money(item["per_successful_call"]),
    "on failures": lambda item: text.money(item["spent_on_failures"]),
    "saved": lambda item: text.money(item["saved_by_caches"]),
}
_CACHES: Columns = {
    "cache": lambda cache: cache[0],
    "hits in tools": lambda cache: text.count(cache[1]["hits"]),
    "saved": lambda cache: text.money(cache[1]["saved"]),
    "time saved": lambda cache: text.seconds(cache[1]["seconds_saved"]),
}
_CHANGES: Columns = {
    "saves": lambda item: text.money(item["saves"]),
    "what could be changed": lambda item: item["text"],
    "because": lambda item: item["arithmetic"],
    "confidence": lambda item: item["confidence"],
}
_MOST_NAMED = 3


def tables(costs: Costs) -> list[Table]:
    """Return the tables of what was spent, dearest first; none without a model call or a fee."""
    tools = sorted(costs["tools"].items(), key=lambda item: -(item[1]["spent"] or 0))
    models = sorted(costs["models"], key=lambda item: -(item["spent"] or 0))
    made = [table_of(_TOOLS, tools), table_of(_MODELS, models, words=2)]
    if costs["caches"]:
        made.append(table_of(_CACHES, costs["caches"].items()))
    if costs["recommendations"]:
        made.append(table_of(_CHANGES, costs["recommendations"], words=0, last=3))
    made[0].title = heading(costs)
    made[-1].legend = _legend(costs)
    return made


def heading(costs: Costs) -> str:
    """Return a line on what was spent and saved, and what is to be expected."""
    parts = [f"spent {text.money(costs['spent'])}"]
    if costs["saved_by_caches"] is not None:
        parts.append(f"saved by caches {text.money(costs['saved_by_caches'])}")
    budget = costs["budget"]
    if budget["forecast_daily"] is not None:
        daily, span = budget["forecast_daily"], budget["over_seconds"]
        parts.append(f"at the rate of {text.duration(span)} {text.money(daily)} a day")
    if budget["daily"] is not None:
        over = ": over it" if budget["is_over"] else ""
        parts.append(f"budget {text.money(budget['daily'])} a day{over}")
    return ", ".join(parts)


def dearest(costs: Costs) -> list[str]:
    """Return a line on the dearest tools, and one on the dearest models, if they have costs."""
    tools = {text.tool(name): tool["spent"] for name, tool in costs["tools"].items()}
    models: dict[str, float | None] = {}
    for item in costs["models"]:
        name = f"{item['provider']}/{item['model']}"
        models[name] = (models.get(name) or 0) + (item["spent"] or 0)
    found = []
    for words, spent in (("by tool", tools), ("by model", models)):
        most = sorted(spent, key=lambda name: -(spent[name] or 0))[:_MOST_NAMED]
        named = [f"{name} {text.money(spent[name])}" for name in most if spent[name]]
        if named:
            found.append(f"{words}: {', '.join(named)}")
    return found


def _legend(costs: Costs) -> str:
    lines = []
    if costs["table"] is not None:
        dated = "" if costs["table_date"] is None else f" of {costs['table_date']}"
        lines.append(f"USD by the table of {costs['table']}{dated} and by own prices.")
    else:
        own = "No model has a price" if costs["spent"] is None else "USD by own prices"
        lines.append(f"{own}; the extra costs brings a table of prices.")
    if costs["unpriced_models"]:
        unknown = ", ".join(costs["unpriced_models"])
        lines.append(f"* without {costs['unpriced_calls']} calls that have no price: {unknown}")
    if costs["unreported_calls"]:
        lines.append(f"{costs['unreported_calls']} calls did not say how many tokens they used.")
    if costs["saved_by_caches"] is not None:
        lines.append(f"Saved: {costs['assumes']}.")
    unseen = [name for name, cache in costs["caches"].items() if cache["hits"] is None]
    if unseen:
        whose = text.listed(unseen)
        lines.append(f"{text.NONE} unknown: only a total of the hits is known of {whose}.")
    return "\n".join(lines)
