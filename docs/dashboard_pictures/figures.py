"""Figures and colours as Grafana shows them."""

from __future__ import annotations

from typing import Any

COLOURS = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#ca95e5")
INK = "#ccccdc"
_NAMED = {"green": "#73bf69", "red": "#f2495c"}
_SUFFIXES = {"reqps": " req/s", "ops": " ops/s", "percentunit": "%"}


def shown(value: float, unit: str) -> str:
    """Write a figure with its unit: three digits of it, or all of a whole number."""
    suffix = _SUFFIXES.get(unit, "")
    if unit == "percentunit":
        value *= 100
    elif unit == "s":
        value, suffix = (value, " s") if value >= 1 or not value else (value * 1000, " ms")
    elif value >= 1000:
        value, suffix = value / 1000, f" K{suffix}"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{0 if abs(value - round(value)) < 1e-9 else digits}f}{suffix}"


def ticks(top: float) -> list[float]:
    """List at most seven round numbers from 0 to a little above `top`."""
    sizes = (base * 10.0**power for power in range(-6, 9) for base in (1, 2, 2.5, 5))
    step = next(size for size in sizes if top <= size * 5)
    return [step * number for number in range(int(top / step - 1e-9) + 2)]


def by_threshold(panel: dict[str, Any], value: float) -> str:
    """Find the colour that a panel gives to a value."""
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or value >= step["value"]]
    return _NAMED[reached[-1]["color"]]


def faded(colour: str, percent: float) -> str:
    """Make a colour transparent, to fill areas with it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{percent / 100})"
