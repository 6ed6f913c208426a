"""The figures of one process that thresholds are compared with, moment after moment.

Alerts have the names, severities and meanings that `metertap rules` gives to Prometheus. What needs
days of data (slower than last week, burn rates over six hours and more) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from metertap import text
from metertap.alerts.burn_windows import WINDOWS
from metertap.alerts.counters import (
    CALLS,
    FAILED,
    FINISHED,
    HITS,
    MISSES,
    SAMPLED,
    CacheKey,
    Counters,
    ToolKey,
)
from metertap.alerts.definitions import (
    ERROR_BUDGET_BURN,
    HIGH_ERROR_RATE,
    LOW_HIT_RATE,
    METER_FAULTS,
    NO_TRAFFIC,
    SERIES_OVERFLOW,
    SLOW_TOOL,
)
from metertap.alerts.findings import Finding
from metertap.alerts.increase import Counts, MonotonicCounts, SlidingIncrease
from metertap.alerts.thresholds import Thresholds
from metertap.recording.window import percentiles

FAULTS_SECONDS = 900
"""How long a fault of metertap's own is told of."""
_BURN = WINDOWS[0]
"""The one pair of windows that fits into a process's memory."""
_BURN_LABELS = (
    ("long_window", text.prometheus_duration(_BURN.long)),
    ("short_window", text.prometheus_duration(_BURN.short)),
)
_NO_COUNTS: Counts = (0, 0, 0, 0)


class Conditions:
    """Compares tools and caches of one process with its thresholds, moment after moment."""

    def __init__(
        self, thresholds: Thresholds, every: float, time: float, counters: Counters
    ) -> None:
        self._thresholds = thresholds
        self._tools: MonotonicCounts[ToolKey] = MonotonicCounts()
        self._caches: MonotonicCounts[CacheKey] = MonotonicCounts()
        self._faults: MonotonicCounts[str] = MonotonicCounts()
        tools, caches = self._tools.of(counters.tools), self._caches.of(counters.caches)
        everyone = (thresholds.tool, *thresholds.tools.values())
        lengths = {thresholds.window_seconds}
        if any(tool.success_objective is not None for tool in everyone):
            lengths |= {_BURN.short, _BURN.long}
        self._tool_windows = {
            seconds: SlidingIncrease(float(seconds), every, time, tools)
            for seconds in sorted(lengths)
        }
        seconds = float(thresholds.window_seconds)
        self._cache_window = SlidingIncrease(seconds, every, time, caches)
        # What went wrong before anybody watched is told of as well.
        self._fault_window: SlidingIncrease[str] = SlidingIncrease(
            float(FAULTS_SECONDS), every, time, {}
        )
        calls = _calls_by_name(tools)
        self._called = {
            name: (calls.get(name, 0), time)
            for name, tool in thresholds.tools.items()
            if tool.no_traffic_seconds is not None
        }
        self._time, self._counters = time, counters
        # What tools grew by in each window: all sources of a name together, as in Prometheus.
        self._grown: dict[int, dict[str, list[tuple[ToolKey, Counts]]]] = {}

    def at(self, time: float, counters: Counters) -> Iterator[Finding]:
        """Find what is past a threshold or close to one now."""
        self._move(time, counters)
        return (finding for finding in self._findings() if finding.is_close)

    def over(self, finding: Finding) -> Finding:
        """Say of `finding`, which held before the last `at` and holds no more, what is so now."""
        subject = [value for name, value in finding.labels if not name.endswith("_window")]
        found_anew: dict[str, Callable[..., Finding]] = {
            HIGH_ERROR_RATE.name: self._error_rate,
            SLOW_TOOL.name: self._p95,
            ERROR_BUDGET_BURN.name: self._burn_rate,
            NO_TRAFFIC.name: self._quiet,
            LOW_HIT_RATE.name: self._hit_rate,
            SERIES_OVERFLOW.name: self._overflow,
            METER_FAULTS.name: self._new_faults,
        }
        return found_anew[finding.name](*subject).over()

    def _move(self, time: float, counters: Counters) -> None:
        self._time, self._counters = time, counters
        tools = self._tools.of(counters.tools)
        for seconds, window in self._tool_windows.items():
            window.move(time, tools)
            grown = self._grown[seconds] = {}
            for key in tools:
                increase = window.increase(key)
                if increase is not None:
                    grown.setdefault(key[0], []).append((key, increase))
        self._cache_window.move(time, self._caches.of(counters.caches))
        self._fault_window.move(time, self._faults.of(counters.faults))
        calls = _calls_by_name(tools) if self._called else {}
        for name, (calls_then, _) in self._called.items():
            if calls.get(name, 0) != calls_then:
                self._called[name] = (calls[name], time)

    def _findings(self) -> Iterator[Finding]:
        thresholds = self._thresholds
        for name in self._grown[thresholds.window_seconds]:
            limits = thresholds.of_tool(name)
            if limits.error_rate is not None:
                yield self._error_rate(name)
            if limits.p95_seconds is not None:
                yield self._p95(name, is_over=False)
        for name in self._grown.get(_BURN.long, ()):
            if thresholds.of_tool(name).success_objective is not None:
                yield self._burn_rate(name)
        for name in self._called:
            yield self._quiet(name)
        for name, system in self._counters.caches:
            if thresholds.of_cache(name).hit_rate is not None:
                yield self._hit_rate(name, system)
        if thresholds.overflow:
            yield self._overflow()
        if thresholds.meter_faults:
            for place in self._counters.faults:
                yield self._new_faults(place)

    def _error_rate(self, name: str) -> Finding:
        seconds = self._thresholds.window_seconds
        counts, limits = self._increase(name, seconds), self._thresholds.of_tool(name)
        return Finding(
            HIGH_ERROR_RATE,
            (("tool", name),),
            limits.for_seconds,
            _percent(counts[FAILED], counts[FINISHED]),
            100 * (limits.error_rate or 0),
            self._tool_windows[seconds].span,
            counts[FINISHED],
            max(1, limits.minimum_calls),
        )

    def _p95(self, name: str, is_over: bool = True) -> Finding:
        seconds = self._thresholds.window_seconds
        counts, limits = self._increase(name, seconds), self._thresholds.of_tool(name)
        minimum = max(1, limits.minimum_calls)
        target = 1000 * (limits.p95_seconds or 0)
        relief = SLOW_TOOL.relief(target)
        parts = self._grown[seconds].get(name, [])
        samples: list[float] = []
        if is_over or counts[FINISHED] >= minimum:
            # Of several sources, none may be left out of what the others are compared with.
            above = -1.0 if is_over or len(parts) > 1 else relief
            for key, grown in parts:
                samples += self._counters.newest(key, grown[SAMPLED], above)
        # Cheaper than sorting, and most tools are well: beyond it must be a twentieth, or one.
        count = len(samples)
        is_well = 20 * sum(map(relief.__lt__, samples)) < count - 19
        return Finding(
            SLOW_TOOL,
            (("tool", name),),
            limits.for_seconds,
            None if is_well and not is_over else p95(samples),
            target,
            self._tool_windows[seconds].span,
            counts[FINISHED],
            minimum,
            words=lambda: {"samples": str(count)},
        )

    def _burn_rate(self, name: str) -> Finding:
        counts, latest = (self._increase(name, seconds) for seconds in (_BURN.long, _BURN.short))
        limits = self._thresholds.of_tool(name)
        objective = limits.success_objective or 0
        value = _percent(counts[FAILED], counts[FINISHED])
        of_latest = _percent(latest[FAILED], latest[FINISHED])
        span = self._tool_windows[_BURN.short].span

        def words() -> dict[str, str]:
            told = "there was none" if of_latest is None else text.share(of_latest / 100)
            of = f" of {latest[FINISHED]}" if latest[FINISHED] else ""
            latest_words = f"{told}{of} in {text.time_span(span)}"
            return {"objective": text.share(objective), "latest": latest_words}

        return Finding(
            ERROR_BUDGET_BURN,
            (*_BURN_LABELS, ("tool", name)),
            _BURN.for_seconds,
            value,
            100 * _BURN.factor * (1 - objective),
            self._tool_windows[_BURN.long].span,
            counts[FINISHED],
            max(1, limits.minimum_calls),
            min(value or 0, of_latest or 0),
            words,
        )

    def _quiet(self, name: str) -> Finding:
        limits = self._thresholds.of_tool(name)
        quiet = self._time - self._called[name][1]
        longest = limits.no_traffic_seconds or 0
        return Finding(NO_TRAFFIC, (("tool", name),), limits.for_seconds, quiet, longest)

    def _hit_rate(self, name: str, system: str) -> Finding:
        limits = self._thresholds.of_cache(name)
        counts = self._cache_window.increase((name, system)) or _NO_COUNTS
        lookups = counts[HITS] + counts[MISSES]
        return Finding(
            LOW_HIT_RATE,
            (("cache", name), ("cache_system", system)),
            limits.for_seconds,
            _percent(counts[HITS], lookups),
            100 * (limits.hit_rate or 0),
            self._cache_window.span,
            lookups,
            max(1, limits.minimum_lookups),
        )

    def _overflow(self) -> Finding:
        hold = self._thresholds.tool.for_seconds
        return Finding(SERIES_OVERFLOW, (), hold, self._counters.overflown, 0)

    def _new_faults(self, place: str) -> Finding:
        window = self._fault_window
        (count,) = window.increase(place) or (0,)
        return Finding(METER_FAULTS, (("place", place),), 0, count, 0, window.span)

    def _increase(self, name: str, seconds: int) -> Counts:
        """Sum up what a tool's counts grew by in a window, over its sources."""
        parts = self._grown[seconds].get(name, [])
        if len(parts) == 1:
            return parts[0][1]
        return tuple(map(sum, zip(*(counts for _, counts in parts), strict=True))) or _NO_COUNTS


def p95(samples: list[float]) -> float | None:
    """Sort `samples` and return their 95th percentile, or the longest where that is less.

    The percentile of few samples lies beyond the longest, and nobody is to be alarmed by a latency
    that no call had. None with fewer than two.
    """
    samples.sort()
    found = percentiles(samples).p95
    return None if found is None else min(found, samples[-1])


def _percent(part: int, whole: int) -> float | None:
    return 100 * (part / whole) if whole else None


def _calls_by_name(tools: Mapping[ToolKey, Counts]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for (name, _), counts in tools.items():
        calls[name] = calls.get(name, 0) + counts[CALLS]
    return calls
