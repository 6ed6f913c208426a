"""Savings by caches in a history: hits times the mean cost and time of the misses of that time.

A history keeps the parts of this: lookups in calls of each tool, what the tool spent on each model
after a miss, and the duration of its calls with only hits, and of those with a miss.
"""

from __future__ import annotations

from collections.abc import Mapping

_AFTER_MISS = " cost_after_miss_usd"


def after_miss(provider: str, model: str) -> str:
    """Name the sum of what a tool spent on a model after a miss."""
    return f"{provider}/{model}{_AFTER_MISS}"


def money_saved(of: Mapping[str, float], whole: Mapping[str, float]) -> dict[str, float] | None:
    """Compute the USD that hits saved on each model, by the sums of a tool; None is unknown.

    `of` has the sums of one period. Those of the `whole` time stand in if it has no misses.
    """
    base = of if of.get("misses_in_calls") else whole
    misses, priced = base.get("misses_in_calls"), base.get("model_calls", 0)
    if not misses or priced <= base.get("unpriced_calls", 0):
        return None
    hits = of.get("hits_in_calls", 0)
    return {
        name.removesuffix(_AFTER_MISS): hits * usd / misses
        for name, usd in base.items()
        if name.endswith(_AFTER_MISS)
    }


def seconds_saved(of: Mapping[str, float], whole: Mapping[str, float]) -> float | None:
    """Return by how many seconds hits made calls shorter; None is unknown."""
    base = of if of.get("missed_calls") else whole
    calls, missed = of.get("all_hit_calls"), base.get("missed_calls")
    if not calls or not missed:
        return None
    as_missed = calls * base.get("missed_seconds", 0) / missed
    return max(0.0, as_missed - of.get("all_hit_seconds", 0))
