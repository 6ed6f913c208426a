"""`metertap costs --history FILE`: what was spent on each day (UTC), by tool, model and version."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

from metertap import text
from metertap.cli.history_options import COSTS_DAYS
from metertap.cli.tables import complain, show, write_json
from metertap.history.answers import HistoryError
from metertap.history.backends import open_answers
from metertap.history.spending import DAY, Spending, Spent, spending
from metertap.settings import config_file, settings
from metertap.tables.table import Table

_COLUMNS = ("model calls", "tokens in", "tokens out", "spent", "on failures")


def costs_of_history(options: argparse.Namespace) -> int:
    """Show the days of a history. Returns exit status 1 where no model was called."""
    until = time.time()
    since = until - COSTS_DAYS * DAY if options.since is None else options.since
    try:
        with closing(open_answers(options.history)) as answers:
            found = spending(
                answers,
                since=since,
                until=until,
                service=options.service,
                by_version=options.by is not None,
            )
    except HistoryError as error:
        complain("costs", str(error))
        return 1
    if not found.days:
        complain("costs", "no model was called in this time")
        return 1
    budget = _budget()
    if options.json:
        write_json(_as_json(found, budget))
    else:
        show(_tables(found, budget))
    return 0


def _budget() -> float | None:
    """Return the `daily_budget` of the configuration file, if there is one that can be read."""
    try:
        alerts = config_file.load(settings.config_file_named()).get("alerts", {})
        given = alerts.get("daily_budget")
    except Exception:  # what is wrong with the file, other commands say
        return None
    is_number = isinstance(given, int | float) and not isinstance(given, bool)
    return float(given) if is_number and given > 0 else None


def _tables(found: Spending, budget: float | None) -> list[Table]:
    days = Table("", ("day", *_COLUMNS), right=frozenset(_COLUMNS))
    for day, spent in found.days.items():
        if budget is not None and spent.usd > budget:
            days.styles[len(days.rows)] = "yellow"
        days.rows.append((_date(day), *_figures(spent)))
    parts = [f"spent {text.money(found.total.usd)} in {len(found.days)} days with model calls"]
    if found.forecast is not None:
        parts.append(
            f"forecast {text.money(found.forecast)} a day, the mean of the last "
            f"{found.forecast_days} whole days"
        )
    if budget is not None:
        over = sum(spent.usd > budget for spent in found.days.values())
        parts.append(f"budget {text.money(budget)} a day: over it on {over} days")
    days.title = ", ".join(parts)
    made = [days]
    for name, groups in (("tool", found.tools), ("model", found.models)):
        table = Table("", (name, "version", *_COLUMNS), right=frozenset(_COLUMNS))
        for (subject, version), spent in sorted(groups.items(), key=lambda item: -item[1].usd):
            table.rows.append((subject, version, *_figures(spent)))
        if table.rows:
            made.append(table)
    notes = ["Days are of UTC. Fees are not in a history."]
    if found.total.unpriced:
        notes.append(f"* without {found.total.unpriced:.0f} calls that have no known cost.")
    made[-1].legend = " ".join(notes)
    return made


def _figures(spent: Spent) -> Sequence[str]:
    return (
        text.count(round(spent.calls)),
        text.count(round(spent.input_tokens)),
        text.count(round(spent.output_tokens)),
        text.money(spent.usd) + ("*" if spent.unpriced else ""),
        text.money(spent.failed_usd),
    )


def _date(day: float) -> str:
    return datetime.fromtimestamp(day, timezone.utc).date().isoformat()


def _as_json(found: Spending, budget: float | None) -> dict[str, Any]:
    def groups(name: str, of: dict[tuple[str, str], Spent]) -> list[dict[str, Any]]:
        return [
            {name: subject, "version": version, **spent.as_json()}
            for (subject, version), spent in of.items()
        ]

    return {
        "currency": "USD",
        "total": found.total.as_json(),
        "days": [{"day": _date(day), **spent.as_json()} for day, spent in found.days.items()],
        "tools": groups("tool", found.tools),
        "models": groups("model", found.models),
        "budget": {
            "daily": budget,
            "forecast_daily": found.forecast,
            "over_days": found.forecast_days,
        },
    }
