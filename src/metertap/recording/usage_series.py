"""The series of the model calls of one tool: tokens, time and money.

A model client reports usage in each response. Calls of one tool, provider and model add up in one
`UsageSeries`. Nothing of a prompt or an answer is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal

UsageKey = tuple[str, str, str]
"""Names of the tool (`NO_TOOL` outside of one), the provider, and the model."""

NO_TOOL = "none"
"""The mark in place of a tool, for model calls that no tool made."""


@dataclass(slots=True)
class UsageSeries:
    """Model calls of one tool, provider and model. Money is in USD, exact."""

    tool: str
    provider: str
    model: str
    calls: int = 0
    failed: int = 0
    """Calls that raised an exception."""
    unreported: int = 0
    """Calls of which the response did not say how many tokens they used."""
    unpriced: int = 0
    """Calls of which the usage is known and the price is not."""
    input_tokens: int = 0
    """The tokens of everything that was sent, those that the provider had cached included."""
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Tokens of reasoning, which the output tokens contain."""
    seconds: float = 0.0
    """The time from the request to the end of the response."""
    spent: Decimal = Decimal(0)
    """The cost of all calls that have a price."""
    spent_in_failed: Decimal = Decimal(0)
    """The part of it that was spent in calls of the tool that failed."""
    spent_after_miss: Decimal = Decimal(0)
    """The part of it that was spent in calls of the tool after a cache had missed."""
    seconds_after_miss: float = 0.0
    retries: int = 0
    """Calls that a call of the tool made after another one of the same model had failed."""
    spent_in_retries: Decimal = Decimal(0)
    repeats: int = 0
    """Calls with a request that the tool had sent before, where that is looked for."""
    spent_in_repeats: Decimal = Decimal(0)

    @property
    def key(self) -> UsageKey:
        """The identity of the series."""
        return self.tool, self.provider, self.model

    @property
    def priced(self) -> int:
        """The number of calls that have a price."""
        return self.calls - self.unreported - self.unpriced

    @property
    def cost(self) -> Decimal | None:
        """The known cost; None where no call has a price."""
        return self.spent if self.priced else None

    def copy(self) -> UsageSeries:
        """Return the numbers as they are now."""
        return replace(self)

    def plus(self, others: Sequence[UsageSeries]) -> UsageSeries:
        """Return what was counted here and elsewhere for the same key."""
        return replace(
            self,
            **{
                name: sum((getattr(other, name) for other in others), getattr(self, name))
                for name in _NUMBERS
            },
        )

    def since(self, past: UsageSeries | None) -> UsageSeries:
        """Return what was counted after `past`."""
        if past is None:
            return self
        return replace(
            self, **{name: getattr(self, name) - getattr(past, name) for name in _NUMBERS}
        )


_NUMBERS = [item.name for item in fields(UsageSeries)][3:]


def since(
    now: Iterable[UsageSeries], past: Mapping[UsageKey, UsageSeries]
) -> tuple[UsageSeries, ...]:
    """Return what was counted after `past`, of series that have counted anything."""
    later = (series.since(past.get(series.key)) for series in now)
    return tuple(series for series in later if series.calls)
