"""Alerts of one process: its figures are compared with its thresholds at each evaluation.

There is no thread and no clock here: times are passed in. Alerts have the names, severities and
meanings that `metertap rules` gives to Prometheus. What needs days of data (slower than last week,
burn rates over six hours and more) is left to Prometheus.

A condition must hold at every evaluation during its `for`, while the alert is pending, before the
alert fires. A firing alert resolves when its value has been better than the threshold by a margin
(`Definition.relief`) for a minute, or for its `for` if that is shorter. Too little traffic to tell
counts as better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from metertap import text
from metertap.alerts.counters import FAILED, FINISHED, HITS, MISSES, Counters, RecentCounts
from metertap.alerts.definitions import (
    ERROR_BUDGET_BURN,
    HIGH_ERROR_RATE,
    LOW_HIT_RATE,
    METER_FAULTS,
    NO_TRAFFIC,
    OVER_BUDGET,
    SERIES_OVERFLOW,
    SLOW_TOOL,
    Finding,
    Key,
)
from metertap.alerts.thresholds import WINDOWS, Thresholds
from metertap.recording.percentiles import percentiles

PENDING, FIRING, RESOLVED = "pending", "firing", "resolved"

RESOLVE_SECONDS = 60.0
"""The longest that a condition has to be better before its alert resolves, in seconds."""
SHOWN_RESOLVED_SECONDS = 900.0
"""How long a resolved alert is still shown, in seconds."""

_BURN = WINDOWS[0]
"""The only pair of windows that is short enough for a process's memory."""
_BURN_LABELS = (
    ("long_window", text.prometheus_duration(_BURN.long)),
    ("short_window", text.prometheus_duration(_BURN.short)),
)


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert at one moment. Times are Unix seconds."""

    finding: Finding
    """The figure when it was last past its threshold; after the end, the figure at the end."""
    state: str
    since: float
    """When this state began."""
    fired: float | None = None
    """When it fired, if it has, in Unix seconds."""

    @property
    def key(self) -> Key:
        """The identity of the alert, as long as tools and caches keep their names."""
        return self.finding.key


@dataclass(slots=True)
class _Tracked:
    alert: Alert
    since: float  # by the monotonic clock
    better_since: float | None = None


class Evaluator:
    """State machine of one process's alerts, advanced with its counters at each evaluation."""

    def __init__(
        self, thresholds: Thresholds, every: float, time: float, counters: Counters
    ) -> None:
        """Begin at `time`, when `counters` were read; evaluations come `every` so many seconds."""
        self._thresholds = thresholds
        self._every = every
        self._tracked: dict[Key, _Tracked] = {}
        everyone = (thresholds.tool, *thresholds.tools.values())
        has_objective = any(tool.success_objective is not None for tool in everyone)
        burn_lengths = (_BURN.long, _BURN.short) if has_objective else ()
        length = thresholds.window_seconds
        self._recent = RecentCounts(length, burn_lengths, every, time, counters)

    def evaluate(self, time: float, wall_time: float, counters: Counters) -> tuple[Alert, ...]:
        """Return the alerts now. `time` never goes back; `wall_time` is shown to people."""
        self._recent.move(time, counters)
        found = {finding.key: finding for finding in self._findings() if finding.is_close}
        for key in [*self._tracked, *(key for key in found if key not in self._tracked)]:
            self._advance(key, found.get(key), time, wall_time)
        return tuple(tracked.alert for tracked in self._tracked.values())

    def _advance(self, key: Key, finding: Finding | None, time: float, wall_time: float) -> None:
        tracked = self._tracked.get(key)
        if tracked is not None and tracked.alert.state == FIRING:
            self._go_on(tracked, finding, time, wall_time)
        elif finding is not None and finding.is_past:
            if tracked is None or tracked.alert.state == RESOLVED:
                tracked = _Tracked(Alert(finding, PENDING, wall_time), time)
                self._tracked[key] = tracked
            tracked.alert = replace(tracked.alert, finding=finding)
            if self._has_lasted(finding.for_seconds, time - tracked.since):
                tracked.alert = Alert(finding, FIRING, wall_time, fired=wall_time)
                tracked.since = time
        elif tracked is not None and (
            tracked.alert.state == PENDING or time - tracked.since >= SHOWN_RESOLVED_SECONDS
        ):
            del self._tracked[key]

    def _go_on(
        self, tracked: _Tracked, finding: Finding | None, time: float, wall_time: float
    ) -> None:
        if finding is not None:
            if finding.is_past:
                tracked.alert = replace(tracked.alert, finding=finding)
            tracked.better_since = None
            return
        if tracked.better_since is None:
            tracked.better_since = time
        wait = min(RESOLVE_SECONDS, tracked.alert.finding.for_seconds)
        if self._has_lasted(wait, time - tracked.better_since):
            over = self._end_of(tracked.alert.finding)
            tracked.alert = replace(tracked.alert, finding=over, state=RESOLVED, since=wall_time)
            tracked.since, tracked.better_since = time, None

    def _has_lasted(self, seconds: float, lasted: float) -> bool:
        # An evaluation never comes exactly in time: a tenth of the interval is allowed.
        return lasted >= seconds - min(seconds, self._every) / 10

    def _end_of(self, finding: Finding) -> Finding:
        """Return the current figure for a `finding` whose alert resolves."""
        subject = [value for name, value in finding.labels if not name.endswith("_window")]
        found_anew: dict[str, Callable[..., Finding]] = {
            HIGH_ERROR_RATE.name: self._error_rate,
            SLOW_TOOL.name: self._p95,
            ERROR_BUDGET_BURN.name: self._burn_rate,
            NO_TRAFFIC.name: self._quiet,
            LOW_HIT_RATE.name: self._hit_rate,
            OVER_BUDGET.name: self._budget,
            SERIES_OVERFLOW.name: self._overflow,
            METER_FAULTS.name: self._new_faults,
        }
        return found_anew[finding.name](*subject).over()

    def _findings(self) -> Iterator[Finding]:
        thresholds = self._thresholds
        for name in self._recent.tools(thresholds.window_seconds):
            limits = thresholds.of_tool(name)
            if limits.error_rate is not None:
                yield self._error_rate(name)
            if limits.p95_seconds is not None:
                yield self._p95(name, if_slow=True)
        for name in self._recent.tools(_BURN.long):
            if thresholds.of_tool(name).success_objective is not None:
                yield self._burn_rate(name)
        for name, limits in thresholds.tools.items():
            if limits.no_traffic_seconds is not None:
                yield self._quiet(name)
        for name, system in self._recent.counters.caches:
            if thresholds.of_cache(name).hit_rate is not None:
                yield self._hit_rate(name, system)
        if thresholds.daily_budget is not None:
            yield self._budget()
        if thresholds.overflow:
            yield self._overflow()
        if thresholds.meter_faults:
            for place in self._recent.counters.faults:
                yield self._new_faults(place)

    def _error_rate(self, name: str) -> Finding:
        seconds = self._thresholds.window_seconds
        counts, limits = self._recent.of_tool(name, seconds), self._thresholds.of_tool(name)
        return Finding(
            HIGH_ERROR_RATE,
            (("tool", name),),
            limits.for_seconds,
            _percent(counts[FAILED], counts[FINISHED]),
            100 * (limits.error_rate or 0),
            self._recent.span(seconds),
            counts[FINISHED],
            max(1, limits.minimum_calls),
        )

    def _p95(self, name: str, if_slow: bool = False) -> Finding:
        """Return the 95th percentile; with `if_slow`, at less cost, only one that is too high."""
        seconds = self._thresholds.window_seconds
        counts, limits = self._recent.of_tool(name, seconds), self._thresholds.of_tool(name)
        minimum = max(1, limits.minimum_calls)
        target = 1000 * (limits.p95_seconds or 0)
        relief = SLOW_TOOL.relief(target)
        samples: list[float] = []
        if not if_slow or counts[FINISHED] >= minimum:
            samples = self._recent.latencies(name, seconds, relief if if_slow else -1.0)
        count = len(samples)
        # Counting is cheaper than sorting: a slow tool has a twentieth of its calls above the
        # limit.
        is_well = if_slow and 20 * sum(map(relief.__lt__, samples)) < count - 19
        return Finding(
            SLOW_TOOL,
            (("tool", name),),
            limits.for_seconds,
            None if is_well else p95(samples),
            target,
            self._recent.span(seconds),
            counts[FINISHED],
            minimum,
            words=lambda: {"samples": str(count)},
        )

    def _burn_rate(self, name: str) -> Finding:
        counts = self._recent.of_tool(name, _BURN.long)
        latest = self._recent.of_tool(name, _BURN.short)
        limits = self._thresholds.of_tool(name)
        objective = limits.success_objective or 0
        value = _percent(counts[FAILED], counts[FINISHED])
        of_latest = _percent(latest[FAILED], latest[FINISHED])
        span = self._recent.span(_BURN.short)

        def words() -> dict[str, str]:
            failed = "there was none"
            if of_latest is not None:
                failed = f"{text.share(of_latest / 100)} of {latest[FINISHED]}"
            told = f"{failed} in {text.time_span(span)}"
            return {"objective": text.share(objective), "latest": told}

        return Finding(
            ERROR_BUDGET_BURN,
            (*_BURN_LABELS, ("tool", name)),
            _BURN.for_seconds,
            value,
            100 * _BURN.factor * (1 - objective),
            self._recent.span(_BURN.long),
            counts[FINISHED],
            max(1, limits.minimum_calls),
            min(value or 0, of_latest or 0),
            words,
        )

    def _quiet(self, name: str) -> Finding:
        limits = self._thresholds.of_tool(name)
        quiet, longest = self._recent.quiet_seconds(name), limits.no_traffic_seconds or 0
        return Finding(NO_TRAFFIC, (("tool", name),), limits.for_seconds, quiet, longest)

    def _hit_rate(self, name: str, system: str) -> Finding:
        limits = self._thresholds.of_cache(name)
        counts = self._recent.of_cache((name, system))
        lookups = counts[HITS] + counts[MISSES]
        return Finding(
            LOW_HIT_RATE,
            (("cache", name), ("cache_system", system)),
            limits.for_seconds,
            _percent(counts[HITS], lookups),
            100 * (limits.hit_rate or 0),
            self._recent.span(self._thresholds.window_seconds),
            lookups,
            max(1, limits.minimum_lookups),
        )

    def _budget(self) -> Finding:
        spent, span = self._recent.spent()
        return Finding(OVER_BUDGET, (), 0, spent, self._thresholds.daily_budget or 0, span)

    def _overflow(self) -> Finding:
        hold = self._thresholds.tool.for_seconds
        return Finding(SERIES_OVERFLOW, (), hold, self._recent.counters.overflown, 0)

    def _new_faults(self, place: str) -> Finding:
        count, span = self._recent.new_faults(place), self._recent.fault_span()
        return Finding(METER_FAULTS, (("place", place),), 0, count, 0, span)


def p95(samples: list[float]) -> float | None:
    """Sort `samples` and return their 95th percentile, at most the longest sample.

    The percentile of few samples lies beyond the longest, and a latency that no call had must not
    raise an alarm. None with fewer than two samples.
    """
    samples.sort()
    return percentiles(samples).at_most(samples[-1] if samples else None).p95


def _percent(part: int, whole: int) -> float | None:
    return 100 * (part / whole) if whole else None
