"""Alert states: pending, firing, resolved. No thread and no clock: times are passed in.

A condition has to hold at every evaluation of its `for` before the alert fires. One that fires
resolves when its value has been better than the threshold by a margin (`definitions.MARGIN`) for a
minute, or for its `for` where that is shorter; too little traffic to tell counts as better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from metertap.alerts.conditions import Conditions
from metertap.alerts.counters import Counters
from metertap.alerts.findings import Finding, Key
from metertap.alerts.thresholds import Thresholds

PENDING, FIRING, RESOLVED = "pending", "firing", "resolved"

RESOLVE_SECONDS = 60.0
"""The longest that a condition has to be better before its alert resolves."""
SHOWN_RESOLVED_SECONDS = 900.0
"""How long an alert that has resolved is still shown."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert at one moment. Times are Unix seconds."""

    finding: Finding
    """The figure when it was last past its threshold; at the end, the figure of that moment."""
    state: str
    since: float
    """When this state began."""
    fired: float | None = None
    """When it fired, if it has."""

    @property
    def key(self) -> Key:
        """What makes it the same alert as long as tools and caches keep their names."""
        return self.finding.key


@dataclass(slots=True)
class _Tracked:
    alert: Alert
    since: float  # by the monotonic clock
    better_since: float | None = None


class Evaluator:
    """Advances the alerts of one process with its counters, evaluation after evaluation."""

    def __init__(
        self, thresholds: Thresholds, every: float, time: float, counters: Counters
    ) -> None:
        self._conditions = Conditions(thresholds, every, time, counters)
        self._every = every
        self._tracked: dict[Key, _Tracked] = {}

    def evaluate(self, time: float, wall_time: float, counters: Counters) -> tuple[Alert, ...]:
        """Return the alerts now. `time` never goes back; `wall_time` is what is shown."""
        found = {finding.key: finding for finding in self._conditions.at(time, counters)}
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
            over = self._conditions.over(tracked.alert.finding)
            tracked.alert = replace(tracked.alert, finding=over, state=RESOLVED, since=wall_time)
            tracked.since, tracked.better_since = time, None

    def _has_lasted(self, seconds: float, lasted: float) -> bool:
        # An evaluation never comes at the very moment, so a tenth of the time between two is given.
        return lasted >= seconds - min(seconds, self._every) / 10
