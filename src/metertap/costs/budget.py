"""The budget of a day, and the forecast for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metertap import parsing, state
from metertap.recording import Figures

if TYPE_CHECKING:
    from decimal import Decimal

DAY_SECONDS = 86_400
_LEAST_SECONDS = 60.0
"""The shortest time, in seconds, that is extended to a forecast."""


def outlook(spent: Decimal | None, figures: Figures) -> dict[str, Any]:
    """Compare spending with the budget.

    The forecast extends the rate of spending since counting began to a whole day.
    """
    daily, seconds = daily_budget(), figures.uptime_seconds
    forecast: float | None = None
    is_over: bool | None = None
    if spent is not None and seconds >= _LEAST_SECONDS:
        forecast = float(spent) / seconds * DAY_SECONDS
        is_over = None if daily is None else forecast > daily
    elif spent is not None and daily is not None and spent > daily:
        is_over = True  # spent in less than a minute, so without a forecast
    return {"daily": daily, "forecast_daily": forecast, "over_seconds": seconds, "is_over": is_over}


def daily_budget() -> float | None:
    """Return the daily budget of `[tool.metertap.alerts]` in USD; None if there is none."""
    try:
        return parsing.positive_amount((state.settings().alerts or {}).get("daily_budget"))
    except ValueError:  # off, or refused with a warning where thresholds are read
        return None
