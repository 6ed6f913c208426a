"""Figures as text, as the live page writes them.

No data is a dash, never 0; nothing is rounded up to "all" or down to "none".
"""

from __future__ import annotations

NONE = "–"
ABOUT = "≈"
"""Before a percentile that no call had: an estimate, or beyond the longest of too few calls."""
LEGEND = f"{ABOUT} an estimate, or of too few calls"


def latency(milliseconds: float | None) -> str:
    """Three digits and a unit of two characters, so that numbers stand under each other."""
    if milliseconds is None:
        return f"{NONE}   "
    size = abs(milliseconds)
    if 0 < size < 0.1:
        number, unit = _digits(milliseconds * 1000), "µs"
    elif size < 999.5:
        number, unit = _digits(milliseconds), "ms"
    elif size < 99_950:
        number, unit = _digits(milliseconds / 1000), "s"
    else:
        number, unit = _digits(milliseconds / 60_000), "m"
    return f"{number} {unit:<2}"


def percent(value: float | None) -> str:
    """A percentage without its sign."""
    if value is None:
        return NONE
    if value in (0, 100):
        return f"{value:.0f}"
    if value < 0.1:
        return "<0.1"
    return f"{min(value, 99.9):.1f}"


def rate(per_second: float | None) -> str:
    """How often a second."""
    if per_second is None:
        return NONE
    if per_second == 0:
        return "0"
    if per_second < 0.1:
        return "<0.1"
    return f"{per_second:.1f}" if per_second < 99.95 else f"{per_second:.0f}"


def count(value: int | None) -> str:
    """A whole number, whole."""
    return NONE if value is None else str(value)


def size(value: int | None) -> str:
    """Bytes."""
    if value is None:
        return NONE
    return f"{_digits(value / 1e6)} MB" if value < 1e9 else f"{_digits(value / 1e9)} GB"


def duration(seconds: float) -> str:
    """A time span in its two largest units."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _digits(value: float) -> str:
    magnitude = abs(value)
    if magnitude < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if magnitude < 99.95 else f"{value:.0f}"
