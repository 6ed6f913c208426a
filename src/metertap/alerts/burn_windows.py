"""The windows of burn-rate alerts, from Google's SRE workbook, for an objective over 30 days."""

from __future__ import annotations

from dataclasses import dataclass

from metertap.alerts.definitions import CRITICAL, WARNING


@dataclass(frozen=True, slots=True)
class WindowPair:
    """Two windows in seconds, and how many times the allowed spending is too much in both."""

    long: int
    short: int
    factor: float
    for_seconds: int
    severity: str


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
WINDOWS = (
    WindowPair(_HOUR, 5 * _MINUTE, 14.4, 2 * _MINUTE, CRITICAL),
    WindowPair(6 * _HOUR, 30 * _MINUTE, 6, 15 * _MINUTE, CRITICAL),
    WindowPair(_DAY, 2 * _HOUR, 3, _HOUR, WARNING),
    WindowPair(3 * _DAY, 6 * _HOUR, 1, 3 * _HOUR, WARNING),
)
ALL_WINDOWS = {window for pair in WINDOWS for window in (pair.long, pair.short)}
