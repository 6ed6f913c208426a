"""Recommendations that would reduce costs, each with arithmetic that a reader can repeat.

A recommendation covers the same time as the figures. Its confidence is `high` if the figures were
counted, `medium` if a mean stands for each case, and `low` if something was assumed or there are
few calls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from metertap import text
from metertap.costs import reuse, what_if
from metertap.costs.savings import Savings
from metertap.costs.tool_cost import ToolCost
from metertap.recording import CacheFigures, Figures
from metertap.recording.usage_series import UsageSeries

HIGH, MEDIUM, LOW = "high", "medium", "low"
_FEW = 20
"""The number of calls below which a figure may be chance."""
_SHARE = Decimal("0.05")
"""The least share of a tool's spending that is worth a recommendation."""
_GOAL = 0.9
"""The hit rate with which a cache is compared."""


def of(
    figures: Figures, tools: Mapping[str, ToolCost], saved: Savings, cache_names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """List recommendations, the largest saving first."""
    with_cache = {tool for cache in figures.caches for tool in cache.by_tool or ()}
    found: list[dict[str, Any]] = []
    for series in figures.usage:
        if series.tool not in with_cache:
            found += _repeats(series)
        found += _retries(series)
        found += _cheaper(series)
    for name, tool in tools.items():
        found += _failures(name, tool)
    for cache in figures.caches:
        found += _evictions(cache, cache_names[id(cache)], saved)
    return sorted(found, key=lambda item: -(item["saves"] or 0.0))


def _repeats(series: UsageSeries) -> Iterator[dict[str, Any]]:
    if series.repeats and series.tool:
        again, spent = series.repeats, series.spent_in_repeats
        yield _made(
            "cache_repeats",
            f"{series.tool} asks {series.model} the same again and looks nothing up in a cache",
            f"{again} of {series.calls} requests had been sent before; they cost {_money(spent)}",
            spent if series.priced else None,
            HIGH if series.calls >= _FEW else LOW,
            series.tool,
        )


def _retries(series: UsageSeries) -> Iterator[dict[str, Any]]:
    if series.retries:
        seconds = series.seconds / series.calls * series.failed
        yield _made(
            "retries",
            f"{series.tool} asks {series.model} again after it failed",
            f"{series.failed} of {series.calls} calls failed and {series.retries} were retries; at "
            f"{series.seconds / series.calls:.3g} s a call the failed ones took {seconds:.3g} s, "
            f"and the retries cost {_money(series.spent_in_retries)}",
            series.spent_in_retries if series.priced else None,
            MEDIUM if series.calls >= _FEW else LOW,
            series.tool,
        )


def _failures(name: str, tool: ToolCost) -> Iterator[dict[str, Any]]:
    spent, lost = tool.spent, tool.spent_in_failed
    if spent and lost and lost >= _SHARE * spent:
        yield _made(
            "failures",
            f"{name} spends money in calls that fail",
            f"{tool.failed} of {tool.calls} calls failed; they cost {_money(lost)} of "
            f"{_money(spent)}, {float(100 * lost / spent):.1f} %",
            lost,
            HIGH if tool.failed >= _FEW else MEDIUM,
            name,
        )


def _evictions(cache: CacheFigures, name: str, saved: Savings) -> Iterator[dict[str, Any]]:
    evicted, lookups = cache.evictions or 0, cache.hits + cache.misses
    if not evicted or cache.misses < _FEW or 2 * evicted < cache.misses:
        return
    most = min(evicted, cache.misses)
    rate = (cache.hits + most) / lookups
    cost: Decimal | None = None
    by_tool = {
        tool: misses
        for tool, (_, misses) in (cache.by_tool or {}).items()
        if tool in saved.cost_of_miss and misses
    }
    if by_tool:
        misses = sum(by_tool.values())
        mean = sum((saved.cost_of_miss[tool] * by_tool[tool] for tool in by_tool), Decimal(0))
        cost = mean / misses * most
    room = f"room for {evicted} entries more"
    if cache.entries is not None:
        room = f"room for {cache.entries} + {evicted} = {cache.entries + evicted} entries"
    confidence = LOW
    sample = reuse.distances(cache.name, cache.system, lookups)
    if sample is not None:
        confidence = MEDIUM
        goal = _by_reuse(sample)
    elif rate >= _GOAL:
        # Keys are not kept, so no curve says how many entries are enough.
        more = max(0, math.ceil(_GOAL * lookups) - cache.hits)
        goal = f"{_GOAL:.0%} need {more} hits more, and at most that room"
    else:
        goal = f"no size reaches {_GOAL:.0%}: {cache.misses - most} misses were no matter of room"
    yield _made(
        "cache_too_small",
        f"cache {name} gives up entries that may be asked for again",
        f"{evicted} evictions, {cache.misses} misses in {lookups} lookups: with {room} nothing "
        f"would have been evicted, and at most {most} misses would have been hits, a hit rate of "
        f"as much as {rate:.1%}; {goal}"
        + ("" if cost is None else f"; {most} × {_money(cost / most)} a miss = {_money(cost)}"),
        cost,
        confidence,
        None,
        name,
    )


def _by_reuse(sample: reuse.ReuseDistances) -> str:
    size, most = sample.size_for(_GOAL)
    if size is None:
        return (
            f"no size reaches {_GOAL:.0%}: {most:.1%} of lookups were of keys that came again, by "
            "a sample of them"
        )
    return f"an LRU cache of ≈{size} entries would have had {_GOAL:.0%} hits, by a sample of keys"


def _cheaper(series: UsageSeries) -> Iterator[dict[str, Any]]:
    found = what_if.cheaper(series)
    if found is not None:
        yield _made(
            "cheaper_model",
            f"{series.tool} would pay less with {found.model} than with {series.model}, if its "
            "answers are good enough",
            f"the same {series.input_tokens} input and {series.output_tokens} output tokens: "
            f"{_money(found.cost)} instead of {_money(found.instead_of)}",
            found.instead_of - found.cost,
            LOW,
            series.tool,
        )


def _money(amount: Decimal) -> str:
    return text.money(float(amount))


def _made(
    kind: str,
    text: str,
    arithmetic: str,
    saves: Decimal | None,
    confidence: str,
    tool: str | None,
    cache: str | None = None,
) -> dict[str, Any]:
    return {
        "kind": kind,
        "tool": tool,
        "cache": cache,
        "text": text,
        "arithmetic": arithmetic,
        "saves": None if saves is None else float(saves),
        "confidence": confidence,
    }
