"""The series of one tool's model calls: tokens, time and money.

A model client reports usage with each response. Calls of one tool, provider and model are added up
in one `UsageSeries`. No part of a prompt or an answer is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal

from metertap.recording.arithmetic import exact

UsageKey = tuple[str, str, str]
"""The tool's name (`NO_TOOL` outside of tools), the provider, and the model."""

NO_TOOL = "none"
"""The name of the tool of model calls outside of tools."""


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
    """Calls whose response did not report the tokens that they used."""
    unpriced: int = 0
    """Calls with a reported usage and an unknown price."""
    input_tokens: int = 0
    """All tokens that were sent, including those that the provider had cached."""
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Tokens of reasoning; they are part of the output tokens."""
    seconds: float = 0.0
    """The time from requests to the end of responses."""
    spent: Decimal = Decimal(0)
    """The cost of all calls that have a price."""
    spent_in_failed: Decimal = Decimal(0)
    """The part of `spent` in tool calls that failed."""
    spent_after_miss: Decimal = Decimal(0)
    """The part of `spent` in tool calls after a cache had missed."""
    seconds_after_miss: float = 0.0
    retries: int = 0
    """Calls that a tool call made after another one of the same model had failed."""
    spent_in_retries: Decimal = Decimal(0)
    repeats: int = 0
    """Calls whose request the tool had sent before, if repeats are looked for."""
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
        """Return a copy of the numbers."""
        return replace(self)

    def plus(self, others: Sequence[UsageSeries]) -> UsageSeries:
        """Return the sum of this and other series of the same key."""
        with exact():
            return replace(
                self,
                **{
                    name: sum((getattr(other, name) for other in others), getattr(self, name))
                    for name in _NUMBERS
                },
            )

    def since(self, past: UsageSeries | None) -> UsageSeries:
        """Return the counts since `past`."""
        if past is None:
            return self
        with exact():
            return replace(
                self, **{name: getattr(self, name) - getattr(past, name) for name in _NUMBERS}
            )


_NUMBERS = [item.name for item in fields(UsageSeries)][3:]


def since(
    now: Iterable[UsageSeries], past: Mapping[UsageKey, UsageSeries]
) -> tuple[UsageSeries, ...]:
    """Return the counts since `past`, of series that have any."""
    later = (series.since(past.get(series.key)) for series in now)
    return tuple(series for series in later if series.calls)
