"""Prices of model calls: the program's own ones, then those of the table of `genai-prices`.

The table is that of the installed package (extra `costs`): nothing is fetched. It is imported when
the first call is priced, outside of the program's calls. Money is in USD and exact: decimal numbers
from the table to the sum. The cost of a model without a price is None, never 0.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from metertap import faults, locks, state
from metertap.costs.configured import Price, own_prices
from metertap.costs.price_table import DISTRIBUTION, PriceTable
from metertap.costs.usage import Usage

_lock = locks.rlock()


class Prices:
    """The prices in force: those of the configuration file, and the table if it is installed."""

    def __init__(self, own: Mapping[str, Price]) -> None:
        self._own = own

    def cost(
        self, provider: str, model: str, usage: Usage, at: float, tier: str = ""
    ) -> Decimal | None:
        """Return the cost of a call that ended `at` (Unix seconds); None if it is unknown."""
        own = self._own.get(f"{provider}/{model}") or self._own.get(model)
        if own is not None:
            return own.cost(usage)
        table = price_table()
        if table is None:
            return None
        try:
            with _lock:
                return table.cost(provider, model, usage, at, tier)
        except Exception as fault:  # a call that the table cannot price has no price
            faults.fault("price table", fault)
            return None

    def described(self) -> dict[str, Any]:
        """Return the table's name and the newest date in it."""
        table = price_table()
        if table is None:
            return {"table": None, "table_date": None}
        return {
            "table": f"{DISTRIBUTION} {table.version}",
            "table_date": faults.kept("price table", lambda: table.newest_date, None),
        }


class _InForce:
    of: tuple[object, Prices] | None = None


def in_force() -> Prices:
    """Return the prices by the settings in force, read once for each settings."""
    settings = state.settings()
    kept = _InForce.of
    if kept is None or kept[0] is not settings:
        kept = settings, Prices(own_prices(settings.prices))
        _InForce.of = kept
    return kept[1]


@functools.cache
def price_table() -> PriceTable | None:
    """Return the installed table, imported on first use."""
    return PriceTable.installed()
