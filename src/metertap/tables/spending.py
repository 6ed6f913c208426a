"""Costs of many days as tables: by day, by tool and by model, with the budget and a forecast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from metertap import text
from metertap.tables.table import Columns, Table, table_of

_FIGURES: Columns = {
    "model calls": lambda spent: text.count(round(spent["calls"])),
    "tokens in": lambda spent: text.count(round(spent["input_tokens"])),
    "tokens out": lambda spent: text.count(round(spent["output_tokens"])),
    "spent": lambda spent: text.money(spent["usd"]) + ("*" if spent["unpriced"] else ""),
    "per ok call": lambda spent: text.money(spent["usd_per_ok_call"]),
    "on failures": lambda spent: text.money(spent["failed_usd"]),
    "saved by caches": lambda spent: text.money(spent["saved_usd"]),
    "time saved": lambda spent: text.seconds(spent["saved_seconds"]),
}
_LAST = 7
"""The most days in one line."""


class Spent(TypedDict):
    """Model calls of some time, and what they cost in USD, with the fees of tools."""

    calls: float
    input_tokens: float
    output_tokens: float
    usd: float | None
    usd_per_ok_call: float | None
    failed_usd: float | None
    unpriced: float
    saved_usd: float | None
    saved_seconds: float | None


class Day(Spent):
    """Costs of one day (UTC)."""

    day: str


class OfTool(Spent):
    """Costs of one tool, or of one of its versions if these are shown apart."""

    tool: str
    version: str


class OfModel(Spent):
    """Costs of one model, or of one version if these are shown apart."""

    model: str
    version: str


class Outlook(TypedDict):
    """The budget of a day in USD, and a forecast: the mean of some whole days."""

    daily: float | None
    forecast_daily: float | None
    over_days: int


class Spending(TypedDict):
    """Costs of many days, as `metertap costs --history --json` and `/costs.json` have them."""

    total: Spent
    days: list[Day]
    tools: list[OfTool]
    models: list[OfModel]
    budget: Outlook


def tables(found: Spending) -> list[Table]:
    """Return the tables of days, tools and models that have rows."""
    budget = found["budget"]["daily"]
    days = table_of({"day": lambda day: day["day"], **_FIGURES}, found["days"])
    days.title = heading(found)
    for row, day in enumerate(found["days"]):
        if budget is not None and (day["usd"] or 0) > budget:
            days.styles[row] = "yellow"
    tools = _groups({"tool": lambda item: text.tool(item["tool"])}, found["tools"])
    models = _groups({"model": lambda item: item["model"]}, found["models"])
    made = [table for table in (days, tools, models) if table.rows]
    notes = ["Days are of UTC."]
    if found["total"]["unpriced"]:
        notes.append(f"* without {found['total']['unpriced']:.0f} calls that have no known cost.")
    made[-1].legend = " ".join(notes)
    return made


def heading(found: Spending) -> str:
    """Return a line on what was spent, and what a day is expected to cost."""
    days, outlook = found["days"], found["budget"]
    parts = [f"spent {text.money(found['total']['usd'])} in {len(days)} days with costs"]
    if outlook["forecast_daily"] is not None:
        parts.append(
            f"forecast {text.money(outlook['forecast_daily'])} a day, the mean of the last "
            f"{outlook['over_days']} whole days"
        )
    if (saved := found["total"]["saved_usd"]) is not None:
        parts.insert(1, f"saved by caches {text.money(saved)}")
    if (budget := outlook["daily"]) is not None:
        over = sum((day["usd"] or 0) > budget for day in days)
        parts.append(f"budget {text.money(budget)} a day: over it on {over} days")
    return ", ".join(parts)


def last_days(found: Spending) -> list[str]:
    """Return a line on what is expected, and one for each of the last days, newest first."""
    if not found["days"]:
        return []
    days = [
        f"{day['day']} {text.money(day['usd'])}"
        + (f" (saved {text.money(day['saved_usd'])})" if day["saved_usd"] else "")
        for day in reversed(found["days"][-_LAST:])
    ]
    return [heading(found), f"by day (UTC): {', '.join(days)}"]


def _groups(subject: Columns, items: Sequence[OfTool] | Sequence[OfModel]) -> Table:
    columns = dict(subject)
    if any(item["version"] for item in items):
        columns["version"] = lambda item: item["version"]
    dearest_first = sorted(items, key=lambda item: -(item["usd"] or 0))
    return table_of({**columns, **_FIGURES}, dearest_first, words=len(columns))
