"""Times as people write and read them: `7d`, `2026-11-20`, `2026-11-20 14:00`."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import datetime

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_STEPS = (10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 7 * 86_400)
_MOST_PERIODS = 31
_LONGEST = 1e10
"""The longest time span, in seconds: three centuries."""
_LAST = 1e11
"""The latest time, in Unix seconds."""


def duration(text: str) -> float:
    """Read a time span, such as `7d`, `36h` or `90s`, as seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{text!r} is no time span such as 90s, 30m, 12h, 7d or 2w")
    return seconds


def moment(text: str, now: float) -> float:
    """Read a time, or how long before `now` it was, as Unix seconds. Raises ValueError.

    A date without a zone is of the local one.
    """
    try:
        return max(0.0, now - duration(text))
    except ValueError:
        pass
    found = -1.0
    with suppress(ValueError, OverflowError):
        found = datetime.fromisoformat(text.strip()).timestamp()
    if not 0 <= found <= _LAST:
        raise ValueError(f"{text!r} is no time such as 7d, 2026-11-20 or 2026-11-20T14:00")
    return found


def step_for(seconds: float) -> int:
    """Return the length of periods that divide so long a time into about thirty."""
    return next((step for step in _STEPS if seconds / step <= _MOST_PERIODS), 30 * 86_400)


def shown(unix_seconds: float) -> str:
    """Write a time to the minute, in the local zone: `2026-11-20 14:00`."""
    return datetime.fromtimestamp(unix_seconds).strftime("%Y-%m-%d %H:%M")
