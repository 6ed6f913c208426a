"""Costs of each tool: model calls and fees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from metertap import outcomes
from metertap.recording import Figures, ToolFigures
from metertap.recording.usage_series import UsageSeries


@dataclass(slots=True)
class ToolCost:
    """Costs of one tool: its calls of all models, and its fees."""

    models: list[UsageSeries] = field(default_factory=list)
    fees: Decimal = Decimal(0)
    fees_of_failed: Decimal = Decimal(0)
    succeeded: int = 0
    calls: int = 0
    failed: int = 0

    @property
    def spent(self) -> Decimal | None:
        """The known spending; None if nothing is known."""
        known = [cost for series in self.models if (cost := series.cost) is not None]
        return sum(known, self.fees) if known or self.fees else None

    @property
    def spent_in_failed(self) -> Decimal | None:
        """The spending in failed calls."""
        if self.spent is None:
            return None
        return sum((series.spent_in_failed for series in self.models), self.fees_of_failed)

    @property
    def per_success(self) -> Decimal | None:
        """The spending divided by successful calls."""
        spent = self.spent
        return spent / self.succeeded if spent is not None and self.succeeded else None


def by_tool(figures: Figures, fees: Mapping[str, Decimal]) -> dict[str, ToolCost]:
    """Add costs up by the tool's name, over all tools of equal names."""
    found: dict[str, ToolCost] = {}
    for series in figures.usage:
        found.setdefault(series.tool, ToolCost()).models.append(series)
    for tool in figures.tools:
        fee = fees.get(tool.name)
        if fee is not None:
            found.setdefault(tool.name, ToolCost())
        if tool.name in found:
            _count(found[tool.name], tool, fee or Decimal(0))
    return found


def _count(cost: ToolCost, tool: ToolFigures, fee: Decimal) -> None:
    cost.succeeded += tool.succeeded
    cost.failed += tool.failed
    cost.calls += sum(tool.counts.values())
    cost.fees += fee * sum(tool.counts[name] for name in outcomes.RAN)
    cost.fees_of_failed += fee * tool.failed
