"""Savings by caches: hits times the cost of a miss of the same tool, in money and in time.

After a miss, a tool goes on to ask a model; a hit saves this. So a hit saves the mean of what the
tool spends after a miss. Lookups outside of a tool, and caches that keep their own statistics, save
an unknown amount.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from metertap.recording import CacheFigures, Figures, ToolFigures
from metertap.recording.usage_series import UsageSeries

ASSUMES = (
    "a hit saves what a miss of the same tool cost on average: what its calls spent on models "
    "after a miss, and how much longer its calls with a miss took"
)


@dataclass(slots=True)
class Saving:
    """Savings by hits; None is unknown."""

    hits: int | None = 0
    money: Decimal | None = None
    seconds: float | None = None

    def add(self, hits: int, money: Decimal | None, seconds: float | None) -> None:
        """Add the savings of other hits."""
        self.hits = (self.hits or 0) + hits
        if money is not None:
            self.money = (self.money or Decimal(0)) + money
        if seconds is not None:
            self.seconds = (self.seconds or 0.0) + seconds


@dataclass(slots=True)
class Savings:
    """Savings of every cache and of every tool."""

    by_cache: list[tuple[CacheFigures, Saving]] = field(default_factory=list)
    by_tool: dict[str, Saving] = field(default_factory=dict)
    cost_of_miss: dict[str, Decimal] = field(default_factory=dict)
    """The mean cost of a miss, by tool, if known."""
    lookups: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hits and misses in calls of each tool."""

    def of_model(self, series: UsageSeries) -> Decimal | None:
        """Return the part of a tool's savings that would have been spent on one model."""
        hits, misses = self.lookups.get(series.tool, (0, 0))
        return hits * series.spent_after_miss / misses if misses and series.priced else None


def savings(figures: Figures) -> Savings:
    """Compute what hits saved."""
    found = Savings()
    lookups = found.lookups
    for cache in figures.caches:
        for tool, (hits, misses) in (cache.by_tool or {}).items():
            before = lookups.get(tool, (0, 0))
            lookups[tool] = (before[0] + hits, before[1] + misses)
    seconds_of_hit = {}
    for tool, (hits, misses) in lookups.items():
        cost = _after_misses(figures.usage, tool)
        if cost is not None and misses:
            found.cost_of_miss[tool] = cost / misses
        seconds = _seconds_saved(figures.tools, tool)
        if seconds is not None and hits:
            seconds_of_hit[tool] = seconds / hits
    for cache in figures.caches:
        saved = Saving(None if cache.by_tool is None else 0)
        for tool, (hits, _) in (cache.by_tool or {}).items():
            mean, seconds = found.cost_of_miss.get(tool), seconds_of_hit.get(tool)
            part = (
                hits,
                None if mean is None else hits * mean,
                None if seconds is None else hits * seconds,
            )
            saved.add(*part)
            found.by_tool.setdefault(tool, Saving()).add(*part)
        found.by_cache.append((cache, saved))
    return found


def _after_misses(usage: Iterable[UsageSeries], tool: str) -> Decimal | None:
    """Return a tool's spending after misses; None if it asked no model that has a price."""
    priced = [series.spent_after_miss for series in usage if series.tool == tool and series.priced]
    return sum(priced, Decimal(0)) if priced else None


def _seconds_saved(tools: Iterable[ToolFigures], name: str) -> float | None:
    """Return by how much calls with only hits were shorter than as many with a miss."""
    saved: list[float] = []
    for tool in tools:
        if tool.name == name and tool.with_cache is not None:
            hit, missed = tool.with_cache
            if hit.calls and missed.calls:
                longer_ms = missed.total_ms / missed.calls - hit.total_ms / hit.calls
                saved.append(hit.calls * max(0.0, longer_ms) / 1000.0)
    return sum(saved) if saved else None
