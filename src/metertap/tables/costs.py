"""Costs of tools as tables: by tool, by model, by cache, and recommendations."""

from __future__ import annotations

from metertap import text
from metertap.tables.document import Costs
from metertap.tables.table import Table

_TOOLS = (
    *("tool", "model calls", "tokens in", "tokens out", "spent", "per ok call", "on failures"),
    "saved by caches",
)
_MODELS = (
    *("model", "tool", "calls", "failed", "in", "cached", "out", "reasoning", "spent"),
    *("per ok call", "on failures", "saved"),
)
_CACHES = ("cache", "hits in tools", "saved", "time saved")
_CHANGES = ("saves", "what could be changed", "because", "confidence")
_MOST_NAMED = 3


def tables(costs: Costs) -> list[Table]:
    """Return the tables of what was spent, dearest first; none without a model call or a fee."""
    made = [_tools(costs), _models(costs)]
    if costs["caches"]:
        made.append(_caches(costs))
    if costs["recommendations"]:
        made.append(_changes(costs))
    made[0].title = heading(costs)
    made[-1].legend = _legend(costs)
    return made


def heading(costs: Costs) -> str:
    """Return in one line what was spent, saved, and is to be expected."""
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
    """Return in one line each the dearest tools and the dearest models, if anything has a cost."""
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


def _tools(costs: Costs) -> Table:
    table = Table("", _TOOLS, right=frozenset(_TOOLS[1:]))
    for name, tool in sorted(costs["tools"].items(), key=lambda item: -(item[1]["spent"] or 0)):
        table.rows.append(
            (
                text.tool(name),
                text.count(tool["model_calls"]),
                text.count(tool["input_tokens"]),
                text.count(tool["output_tokens"]),
                text.money(tool["spent"]) + ("*" if tool["unpriced_calls"] else ""),
                text.money(tool["per_successful_call"]),
                text.money(tool["spent_on_failures"]),
                text.money(tool["saved_by_caches"]),
            )
        )
    return table


def _models(costs: Costs) -> Table:
    table = Table("", _MODELS, right=frozenset(_MODELS[2:]))
    for item in sorted(costs["models"], key=lambda item: -(item["spent"] or 0)):
        table.rows.append(
            (
                f"{item['provider']}/{item['model']}",
                text.tool(item["tool"]),
                text.count(item["calls"]),
                text.count(item["failed_calls"]),
                text.count(item["input_tokens"]),
                text.count(item["cached_tokens"]),
                text.count(item["output_tokens"]),
                text.count(item["reasoning_tokens"]),
                text.money(item["spent"]) + ("*" if item["unpriced_calls"] else ""),
                text.money(item["per_successful_call"]),
                text.money(item["spent_on_failures"]),
                text.money(item["saved_by_caches"]),
            )
        )
    return table


def _caches(costs: Costs) -> Table:
    table = Table("", _CACHES, right=frozenset(_CACHES[1:]))
    for name, cache in costs["caches"].items():
        seconds = cache["seconds_saved"]
        table.rows.append(
            (
                name,
                text.count(cache["hits"]),
                text.money(cache["saved"]),
                text.NONE if seconds is None else text.seconds(seconds),
            )
        )
    return table


def _changes(costs: Costs) -> Table:
    table = Table("", _CHANGES, right=frozenset(_CHANGES[:1]))
    for item in costs["recommendations"]:
        table.rows.append(
            (text.money(item["saves"]), item["text"], item["arithmetic"], item["confidence"])
        )
    return table


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
