"""The counters that alerts are made of: at one moment, and their growth in the last minutes.

Counters are kept at few moments, in bounded memory; what they grew by is the difference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from metertap import catalogue, faults, outcomes
from metertap.alerts.definitions import BUDGET_SECONDS, FAULTS_SECONDS
from metertap.recording import Recorder

K = TypeVar("K")

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
    overflown += len(recorder.overflown())
    fault_counts = {place: (count,) for place, count in faults.fault_counts().items()}
    spent = int(1_000_000 * recorder.spent())
    return Counters(tools, caches, fault_counts, overflown, spent, recorder.newest_latencies)


STEPS = 20
"""Moments that are kept of a window, whose length is therefore exact to a twentieth."""
_NO_COUNTS: Counts = (0, 0, 0, 0)


class MonotonicCounts(Generic[K]):
    """Counters that never go back, made of counters that may begin again at zero."""

    def __init__(self) -> None:
        self._last: dict[K, Counts] = {}
        self._before: dict[K, Counts] = {}

    def of(self, counts: Mapping[K, Counts]) -> dict[K, Counts]:
        """Return all that was counted so far, before each new beginning too."""
        grown = {}
        for key, now in counts.items():
            last = self._last.get(key)
            if last is not None and last != now and any(map(int.__lt__, now, last)):
                self._before[key] = _sum(self._before.get(key), last)
            before = self._before.get(key)
            grown[key] = now if before is None else _sum(before, now)
        self._last.update(counts)
        return grown


class SlidingIncrease(Generic[K]):
    """The growth of counters in the last `seconds`, or since the beginning if that is less.

    Its start moves in steps of a twentieth, or of `every` seconds (the time between two moves)
    where that is longer.
    """

    def __init__(
        self, seconds: float, every: float, time: float, counts: Mapping[K, Counts]
    ) -> None:
        self.seconds = seconds
        self._step = max(every, seconds / STEPS)
        self._slack = every / 2  # A move never comes at the very moment.
        self._kept: deque[tuple[float, Mapping[K, Counts]]] = deque([(time, counts)])
        self._now = time, counts

    def move(self, time: float, counts: Mapping[K, Counts]) -> None:
        """Let the window end at `time`, when `counts` were counted."""
        kept = self._kept
        while len(kept) > 1 and kept[1][0] <= time - self.seconds + self._slack:
            kept.popleft()
        if time - kept[-1][0] >= self._step - self._slack:
            kept.append((time, counts))
        self._now = time, counts

    @property
    def span(self) -> float:
        """The number of seconds that it covers now."""
        return min(self.seconds, self._now[0] - self._kept[0][0])

    def increase(self, key: K) -> Counts | None:
        """Return by how much the counts of `key` grew in the window; None if they did not."""
        now, before = self._now[1].get(key), self._kept[0][1].get(key)
        if now is None or now == before:
            return None
        return now if before is None else tuple(map(int.__sub__, now, before))

    def __len__(self) -> int:
        return len(self._kept)


class RecentCounts:
    """Increases of counters in sliding windows. Tools of equal names are one, as in Prometheus."""

    def __init__(
        self,
        length: int,
        further_lengths: Collection[int],
        every: float,
        time: float,
        counters: Counters,
    ) -> None:
        """Begin at `time`. Windows are `length` seconds long, of tools also `further_lengths`.

        `every` are the seconds between two moves.
        """
        self._tools: MonotonicCounts[ToolKey] = MonotonicCounts()
        self._caches: MonotonicCounts[CacheKey] = MonotonicCounts()
        self._faults: MonotonicCounts[str] = MonotonicCounts()
        tools, caches = self._tools.of(counters.tools), self._caches.of(counters.caches)
        self._tool_windows = {
            seconds: SlidingIncrease(float(seconds), every, time, tools)
            for seconds in {length, *further_lengths}
        }
        self._cache_window = SlidingIncrease(float(length), every, time, caches)
        # What went wrong before anybody watched is told of as well.
        self._fault_window: SlidingIncrease[str] = SlidingIncrease(
            float(FAULTS_SECONDS), every, time, {}
        )
        self._spent: MonotonicCounts[str] = MonotonicCounts()
        spent = self._spent.of({"": (counters.spent,)})
        self._budget_window = SlidingIncrease(float(BUDGET_SECONDS), every, time, spent)
        self._began = time
        self._calls = _calls_by_name(tools)
        self._called_at: dict[str, float] = {}
        self._grown: dict[int, dict[str, list[tuple[ToolKey, Counts]]]] = {}
        self.time, self.counters = time, counters

    def move(self, time: float, counters: Counters) -> None:
        """Let the windows end at `time`, when `counters` were counted."""
        self.time, self.counters = time, counters
        tools = self._tools.of(counters.tools)
        for length, window in self._tool_windows.items():
            window.move(time, tools)
            grown = self._grown[length] = {}
            for key in tools:
                increase = window.increase(key)
                if increase is not None:
                    grown.setdefault(key[0], []).append((key, increase))
        self._cache_window.move(time, self._caches.of(counters.caches))
        self._fault_window.move(time, self._faults.of(counters.faults))
        self._budget_window.move(time, self._spent.of({"": (counters.spent,)}))
        calls = _calls_by_name(tools)
        for name, count in calls.items():
            if count != self._calls.get(name, 0):
                self._called_at[name] = time
        self._calls = calls

    def tools(self, length: int) -> Iterable[str]:
        """Name the tools that were called in a window."""
        return self._grown.get(length, ())

    def of_tool(self, name: str, length: int) -> Counts:
        """Return how much a tool's counts grew in a window, added up over its sources."""
        parts = self._grown[length].get(name, [])
        if len(parts) == 1:
            return parts[0][1]
        return tuple(map(sum, zip(*(counts for _, counts in parts), strict=True))) or _NO_COUNTS

    def latencies(self, name: str, length: int, above: float) -> list[float]:
        """List a tool's latencies in milliseconds; none, more cheaply, where not one is `above`."""
        parts = self._grown[length].get(name, [])
        # Of several sources, none may be left out of what the others are compared with.
        above = above if len(parts) == 1 else -1.0
        found: list[float] = []
        for key, grown in parts:
            found += self.counters.newest(key, grown[SAMPLED], above)
        return found

    def span(self, length: int) -> float:
        """Return how many seconds a window covers now: fewer than its length at first."""
        return self._tool_windows[length].span

    def quiet_seconds(self, name: str) -> float:
        """Return for how long a tool was not called, whatever the outcome."""
        return self.time - self._called_at.get(name, self._began)

    def of_cache(self, key: CacheKey) -> Counts:
        """Return how much a cache's hits and misses grew in the window."""
        return self._cache_window.increase(key) or _NO_COUNTS

    def spent(self) -> tuple[float, float]:
        """Return what was spent in the last day, in USD, and the seconds that this covers now."""
        (millionths,) = self._budget_window.increase("") or (0,)
        return millionths / 1_000_000, self._budget_window.span

    def new_faults(self, place: str) -> int:
        """Count the faults at a place in the last quarter of an hour."""
        return (self._fault_window.increase(place) or _NO_COUNTS)[0]

    def fault_span(self) -> float:
        """Return how many seconds the window of faults covers now."""
        return self._fault_window.span


def _calls_by_name(tools: Mapping[ToolKey, Counts]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for (name, _), counts in tools.items():
        calls[name] = calls.get(name, 0) + counts[CALLS]
    return calls


def _sum(one: Counts | None, other: Counts) -> Counts:
    return other if one is None else tuple(map(int.__add__, one, other))
