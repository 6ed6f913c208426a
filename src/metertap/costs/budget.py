"""The budget of a day, and the forecast for a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metertap import state
from metertap.recording import Figures

if TYPE_CHECKING:
    from decimal import Decimal

DAY_SECONDS = 86_400
_LEAST_SECONDS = 60.0
"""The least time from which a day is forecast."""


def outlook(spent: Decimal | None, figures: Figures) -> dict[str, Any]:
    """Compare spending with the budget.

    The forecast extends the rate of spending since counting began to a whole day.
    """
    daily = daily_budget()
    forecast: float | None = None
    if spent is not None and figures.uptime_seconds >= _LEAST_SECONDS:
        forecast = float(spent) / figures.uptime_seconds * DAY_SECONDS
    return {
        "daily": daily,
        "forecast_daily": forecast,
        "over_seconds": figures.uptime_seconds,
        "is_over": None if daily is None or forecast is None else forecast > daily,
    }


def daily_budget() -> float | None:
    """Return the daily budget of `[tool.metertap.alerts]` in USD; None if there is none."""
    given = (state.settings().alerts or {}).get("daily_budget")
    if isinstance(given, int | float) and not isinstance(given, bool) and given > 0:
        return float(given)
    return None
