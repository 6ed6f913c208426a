"""The counters of this process at one moment, of which alerts are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from metertap import catalogue, faults, outcomes
from metertap.recording import Recorder

Counts = tuple[int, ...]
ToolKey = tuple[str, str]
CacheKey = tuple[str, str]

CALLS, FINISHED, FAILED, SAMPLED = range(4)
"""Places in the counts of a tool: calls of any outcome, those that rates are made of (ok and
failed), those that failed, those of which the latency is known."""
HITS, MISSES = range(2)


def _none(_tool: ToolKey, _count: int, _above: float) -> list[float]:
    return []


@dataclass(frozen=True, slots=True)
class Counters:
    """Counts since their beginning: of tools, of caches, and of faults by place."""

    tools: Mapping[ToolKey, Counts] = field(default_factory=dict)
    caches: Mapping[CacheKey, Counts] = field(default_factory=dict)
    faults: Mapping[str, Counts] = field(default_factory=dict)
    overflown: int = 0
    """How many series hold what was past a limit of names or series."""
    spent: int = 0
    """The spending of tools on models and fees, in millionths of a USD."""
    newest: Callable[[ToolKey, int, float], list[float]] = _none
    """Returns so many of a tool's latest latencies, in milliseconds; none if not one is above."""


def read(recorder: Recorder) -> Counters:
    """Read the counters of `recorder`, and the faults of this process."""
    tools: dict[ToolKey, Counts] = {}
    overflown = 0
    for key, counts, sampled in recorder.tool_counts():
        failed = sum(counts.get(name, 0) for name in outcomes.FAILED)
        finished = failed + counts.get(outcomes.OK, 0)
        tools[key] = (sum(counts.values()), finished, failed, sampled)
        overflown += key[0] == catalogue.OTHER and finished > 0
    caches = {}
    for cache in recorder.cache_figures():
        caches[cache.name, cache.system] = (cache.hits, cache.misses)
        overflown += cache.name == catalogue.OTHER and cache.hits + cache.misses > 0
    for metric in (catalogue.SERVER_DURATION, catalogue.CLIENT_DURATION):
        overflown += recorder.has_overflown(metric)
    fault_counts = {place: (count,) for place, count in faults.fault_counts().items()}
    spent = int(1_000_000 * recorder.spent())
    return Counters(tools, caches, fault_counts, overflown, spent, recorder.newest_latencies)
