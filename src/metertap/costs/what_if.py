"""The price of the same tokens with another model of the same provider.

It does not tell how good that model's answers would be, or how many tokens it would use.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from metertap import faults
from metertap.costs.prices import price_table
from metertap.costs.usage import Usage
from metertap.recording.usage_series import UsageSeries

_SHARE = Decimal("0.8")
"""The largest share of the present cost that counts as cheaper."""


class Cheaper(NamedTuple):
    """A model that would cost less for the same tokens, in USD."""

    model: str
    cost: Decimal
    instead_of: Decimal


def cheaper(series: UsageSeries) -> Cheaper | None:
    """Return the model that would cost least; None if none is clearly cheaper."""
    table = price_table()
    if table is None or not series.spent:
        return None
    best = None
    with faults.guarded("price table"):
        calls = series.priced
        mean = Usage(
            series.input_tokens // calls,
            series.output_tokens // calls,
            series.cached_tokens // calls,
            series.cache_write_tokens // calls,
        )
        found = table.cheaper(series.provider, series.model, mean)
        best = min(found, key=lambda item: item[1], default=None)
    if best is None or best[1] * calls > _SHARE * series.spent:
        return None
    return Cheaper(best[0], best[1] * calls, series.spent)
