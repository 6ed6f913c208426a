"""Numbers and times as people read them in one sentence."""

from __future__ import annotations


def percent(share: float) -> str:
    """`12 %`, with three digits where they matter."""
    return f"{_number(share * 100)} %"


def seconds(value: float) -> str:
    """A latency: `250 ms`, `2.3 s`."""
    return f"{_number(value * 1000)} ms" if value < 1 else f"{_number(value)} s"


def span(value: float) -> str:
    """A time that has passed: `45 s`, `5 min`, `1 h 30 min`, `2 d`."""
    left = max(1, round(value))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def _number(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
