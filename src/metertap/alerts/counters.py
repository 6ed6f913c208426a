"""The counters behind alerts: at one moment, and their increase in the last minutes.

Counters are kept for few moments, in bounded memory; an increase is the difference of two.
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
"""Indices of a tool's counts: calls of any outcome, finished ones (ok and failed), failed ones, and
those with a known latency."""
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
    """The number of series that hold what is past a limit of names or series."""
    spent: int = 0
    """What tools spent on models and fees, in millionths of a USD."""
    newest: Callable[[ToolKey, int, float], list[float]] = _none
    """Returns some of a tool's latest latencies, in milliseconds; none if none is above a value."""


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
    spent = round(1_000_000 * float(recorder.spent()))
    return Counters(tools, caches, fault_counts, overflown, spent, recorder.newest_latencies)


STEPS = 20
"""The moments that are kept of a window, whose length is exact to a twentieth."""
_NO_COUNTS: Counts = (0, 0, 0, 0)


class MonotonicCounts(Generic[K]):
    """Counters that never go back, made of counters that may restart at zero."""

    def __init__(self) -> None:
        self._last: dict[K, Counts] = {}
        self._before: dict[K, Counts] = {}

    def of(self, counts: Mapping[K, Counts]) -> dict[K, Counts]:
        """Return the counts since the first beginning."""
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
    """The increase of counters in the last `seconds`, or since the beginning if that is later.

    The window's start moves in steps of a twentieth, or of `every` seconds (the time between two
    moves) if that is longer.
    """

    def __init__(
        self, seconds: float, every: float, time: float, counts: Mapping[K, Counts]
    ) -> None:
        self.seconds = seconds
        self._step = max(every, seconds / STEPS)
        self._slack = every / 2  # a move never comes exactly in time
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
        """The number of seconds that the window covers now."""
        return min(self.seconds, self._now[0] - self._kept[0][0])

    def increase(self, key: K) -> Counts | None:
        """Return the increase of the counts of `key` in the window; None if there is none."""
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
        """Begin at `time`. Windows are `length` seconds long; tools have `further_lengths` as well.

        `every` is the time between two moves, in seconds.
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
        # Faults from before the watch began are reported as well.
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
        """Return the increase of a tool's counts in a window, over all of its sources."""
        parts = self._grown[length].get(name, [])
        if len(parts) == 1:
            return parts[0][1]
        return tuple(map(sum, zip(*(counts for _, counts in parts), strict=True))) or _NO_COUNTS

    def latencies(self, name: str, length: int, above: float) -> list[float]:
        """List a tool's latencies in milliseconds; empty, at less cost, if none is `above`."""
        parts = self._grown[length].get(name, [])
        # With several sources, all latencies are needed for comparing them.
        above = above if len(parts) == 1 else -1.0
        found: list[float] = []
        for key, grown in parts:
            found += self.counters.newest(key, grown[SAMPLED], above)
        return found

    def span(self, length: int) -> float:
        """Return the seconds that a window covers now: at first fewer than its length."""
        return self._tool_windows[length].span

    def quiet_seconds(self, name: str) -> float:
        """Return how long ago, in seconds, a tool was last called, with any outcome."""
        return self.time - self._called_at.get(name, self._began)

    def of_cache(self, key: CacheKey) -> Counts:
        """Return the increase of a cache's hits and misses in the window."""
        return self._cache_window.increase(key) or _NO_COUNTS

    def spent(self) -> tuple[float, float]:
        """Return what was spent in the last day, in USD, and the seconds that are covered."""
        (millionths,) = self._budget_window.increase("") or (0,)
        return millionths / 1_000_000, self._budget_window.span

    def new_faults(self, place: str) -> int:
        """Return the number of faults at a place in the last quarter of an hour."""
        return (self._fault_window.increase(place) or _NO_COUNTS)[0]

    def fault_span(self) -> float:
        """Return the seconds that the window of faults covers now."""
        return self._fault_window.span


def _calls_by_name(tools: Mapping[ToolKey, Counts]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for (name, _), counts in tools.items():
        calls[name] = calls.get(name, 0) + counts[CALLS]
    return calls


def _sum(one: Counts | None, other: Counts) -> Counts:
    return other if one is None else tuple(map(int.__add__, one, other))
