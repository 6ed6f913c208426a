"""Prices of models that the configuration file gives, in USD for a million tokens.

[tool.metertap.prices]
"openai/our-model" = { input = 0.5, output = 1.5, cached = 0.1 }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from metertap import faults, parsing
from metertap.costs.usage import Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of a model's tokens, in USD for a million of them."""

    input: Decimal
    output: Decimal = Decimal(0)
    cached: Decimal | None = None
    """The price of input that the provider had cached; by default, that of other input."""
    cache_write: Decimal | None = None

    def cost(self, usage: Usage) -> Decimal:
        """Return the cost of one call."""
        plain = usage.input - usage.cached - usage.cache_write
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.cache_write is None else self.cache_write
        total = (
            self.input * plain
            + cached * usage.cached
            + written * usage.cache_write
            + self.output * usage.output
        )
        return total / _MILLION


_KEYS = tuple(Price.__dataclass_fields__)


def own_prices(table: Mapping[str, Any]) -> dict[str, Price]:
    """Read the prices of models; a wrong one is a warning, and only it is left out."""
    found = {}
    for model, value in table.items():
        try:
            found[model] = _price(value)
        except ValueError as error:
            shown = faults.shown(model, str)
            faults.warn_once(f"price {shown}", "prices.%s cannot be used (%s)", shown, str(error))
    return found


def _price(value: Any) -> Price:
    if not isinstance(value, Mapping) or "input" not in value:
        raise ValueError("a table such as { input = 0.5, output = 1.5 } is needed")
    for key in value.keys() - set(_KEYS):
        hint = parsing.did_you_mean(parsing.nearest(str(key), _KEYS))
        raise ValueError(f"{faults.shown(key, str)} is no key{hint}")
    return Price(**{key: parsing.money(amount) for key, amount in value.items()})
