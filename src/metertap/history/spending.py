"""What was spent on models by day, tool, model and version, as a history has it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any

from metertap import outcomes
from metertap.history.answers import Answers, Slice, Subject
from metertap.history.savings import money_saved, seconds_saved
from metertap.history.tally import add_to

DAY = 86_400
_MOST_DAYS = 7
"""The most days in a forecast's mean: a week includes its weekend."""


@dataclass(slots=True)
class Spent:
    """Model calls of some time, and what they cost in USD, with the fees of tools."""

    calls: float = 0
    ok_calls: float = 0
    """Calls of tools that went well; a model's own calls."""
    input_tokens: float = 0
    output_tokens: float = 0
    usd: float = 0
    failed_usd: float = 0
    """The part spent in calls of tools that failed."""
    unpriced: float = 0
    """Calls of unknown cost."""
    saved_usd: float | None = None
    """What caches saved; None is unknown."""
    saved_seconds: float | None = None

    def add(self, piece: Slice) -> None:
        """Add the sums of a tool or a model."""
        sums = piece.extra
        if piece.subject.kind == "model":
            self.ok_calls += sums.get("model_calls", 0) - sums.get("failed_model_calls", 0)
        else:
            self.ok_calls += piece.outcomes.get(outcomes.OK, 0)
        self.calls += sums.get("model_calls", 0)
        self.input_tokens += sums.get("input_tokens", 0)
        self.output_tokens += sums.get("output_tokens", 0)
        self.usd += sums.get("cost_usd", 0)
        self.failed_usd += sums.get("cost_of_failed_usd", 0)
        self.unpriced += sums.get("unpriced_calls", 0)

    def add_saved(self, usd: float | None, seconds: float | None = None) -> None:
        """Add what caches saved; None is unknown."""
        if usd is not None:
            self.saved_usd = (self.saved_usd or 0.0) + usd
        if seconds is not None:
            self.saved_seconds = (self.saved_seconds or 0.0) + seconds

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name; an unknown cost is None."""
        has_only_hits = not self.calls and self.saved_usd is not None
        is_known = self.usd > 0 or self.unpriced < self.calls or has_only_hits
        each = self.usd / self.ok_calls if is_known and self.ok_calls else None
        return {
            **asdict(self),
            "usd": self.usd if is_known else None,
            "failed_usd": self.failed_usd if is_known else None,
            "usd_per_ok_call": each,
        }


@dataclass(slots=True)
class Spending:
    """What was spent: by day (Unix seconds of its begin, UTC), and by name and version."""

    total: Spent = field(default_factory=Spent)
    days: dict[float, Spent] = field(default_factory=dict)
    tools: dict[tuple[str, str], Spent] = field(default_factory=dict)
    models: dict[tuple[str, str], Spent] = field(default_factory=dict)
    forecast: float | None = None
    """USD a day: the mean of the last whole days; None where there is none yet."""
    forecast_days: int = 0

    def as_json(self, budget: float | None) -> dict[str, Any]:
        """Return everything as a document; `budget` is USD a day."""

        def groups(name: str, of: dict[tuple[str, str], Spent]) -> list[dict[str, Any]]:
            return [
                {name: subject, "version": version, **spent.as_json()}
                for (subject, version), spent in of.items()
            ]

        return {
            "currency": "USD",
            "total": self.total.as_json(),
            "days": [{"day": _date(day), **spent.as_json()} for day, spent in self.days.items()],
            "tools": groups("tool", self.tools),
            "models": groups("model", self.models),
            "budget": {
                "daily": budget,
                "forecast_daily": self.forecast,
                "over_days": self.forecast_days,
            },
        }


def _date(day: float) -> str:
    return datetime.fromtimestamp(day, timezone.utc).date().isoformat()


def spending(
    answers: Answers, *, since: float, until: float, service: str | None, by_version: bool
) -> Spending:
    """Add up what was spent from `since` to `until`, Unix seconds. Raises HistoryError."""
    slices = [
        each
        for each in answers.slices(
            since=min(since, until - 2 * DAY),  # in a shorter time, periods are not days
            until=until,
            step=DAY,
            service=service,
            kinds=("tool", "model"),
            by="version" if by_version else "none",
        )
        if each.end > since
    ]
    whole: dict[tuple[Subject, str, str], dict[str, float]] = {}
    for each in slices:
        add_to(whole.setdefault((each.subject, each.service, each.version), {}), each.extra)
    found = Spending()
    for each in slices:
        subject, sums = each.subject, whole[each.subject, each.service, each.version]
        saved = money_saved(each.extra, sums)
        if not (each.extra.get("model_calls") or each.extra.get("cost_usd") or saved is not None):
            continue
        if subject.kind == "model":
            name = f"{subject.source}/{subject.name}"
            found.models.setdefault((name, each.version), Spent()).add(each)
            continue
        for name, usd in (saved or {}).items():
            found.models.setdefault((name, each.version), Spent()).add_saved(usd)
        tool = found.tools.setdefault((subject.name, each.version), Spent())
        for spent in (tool, found.days.setdefault(each.start, Spent()), found.total):
            spent.add(each)
            spent.add_saved(
                None if saved is None else sum(saved.values()), seconds_saved(each.extra, sums)
            )
    _forecast(found, until)
    return found


def _forecast(found: Spending, until: float) -> None:
    """Take the mean of the last whole days, including those without calls."""
    today = until // DAY * DAY
    first = min(found.days, default=today)
    count = min(_MOST_DAYS, round((today - first) / DAY))
    if count > 0:
        whole = [
            spent.usd for day, spent in found.days.items() if today - count * DAY <= day < today
        ]
        found.forecast = sum(whole) / count
        found.forecast_days = count
