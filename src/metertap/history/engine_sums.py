"""Sums of an engine's numbers, period by period.

An engine extrapolates increases, so its numbers are fractions. They are rounded when all numbers of
a period are added up: one call in five minutes is one, and not five times zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metertap import outcomes, promql
from metertap.history import buckets
from metertap.history.answers import ERROR, HistoryError, Slice
from metertap.history.buckets import Bucket
from metertap.history.promql_api import TOO_MUCH
from metertap.history.tally import add_to

_MOST_BUCKETS = 20_000
"""The most buckets of one slice; each may take a tenth of a millisecond to add up."""


class Held(NamedTuple):
    """Calls of an engine: their buckets, or the sum of their durations."""

    buckets: Sequence[Bucket] = ()
    seconds: float = 0.0


@dataclass(slots=True)
class Sums:
    """The sums of one slice."""

    piece: Slice
    lookups: dict[str, float] = field(default_factory=dict)
    """Lookups by result."""
    calls: dict[tuple[str, str], dict[tuple[float, float], float]] = field(default_factory=dict)
    """Calls by outcome and type of error, and then by the bounds of their bucket."""
    buckets: int = 0
    """The number of buckets in `calls`."""
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """The sums of these calls' durations, if the engine has them."""

    def add_lookups(self, labels: Mapping[str, str], count: float) -> None:
        """Count lookups of a cache."""
        result = labels.get(promql.LOOKUP, "")
        self.lookups[result] = self.lookups.get(result, 0.0) + count

    def add_calls(self, labels: Mapping[str, str], held: Held) -> int:
        """Count calls by how long they took, and return how many buckets are new.

        Raises HistoryError for more buckets than any histogram has.
        """
        key = labels.get(promql.OUTCOME, ""), labels.get(promql.ERROR_TYPE, "")
        counts = self.calls.setdefault(key, {})
        before = len(counts)
        for lower, upper, calls in held.buckets:
            counts[lower, upper] = counts.get((lower, upper), 0.0) + max(0.0, calls)
        self.seconds[key] = self.seconds.get(key, 0.0) + held.seconds
        new = len(counts) - before
        self.buckets += new
        if self.buckets > _MOST_BUCKETS:
            raise HistoryError(TOO_MUCH)
        return new

    def add_costs(self, more: Mapping[str, float]) -> None:
        """Add sums of model calls."""
        add_to(self.piece.extra, more)

    def rounded(self) -> Slice:
        """Return the slice, filled in."""
        made = self.piece
        for name, value in made.extra.items():
            made.extra[name] = value if name.endswith("_usd") else round(value)
        made.hits = round(self.lookups.get("hit", 0.0))
        made.misses = round(self.lookups.get("miss", 0.0))
        for (named, error), held in self.calls.items():
            sketch = buckets.sketch(Bucket(*bounds, calls) for bounds, calls in held.items())
            if not sketch.count:
                continue
            # The sum by buckets is only as exact as they are narrow.
            if (seconds := self.seconds[named, error]) > 0:
                sketch.total = seconds * sketch.count / sum(held.values())
            outcome = named or (ERROR if error else outcomes.OK)
            made.outcomes[outcome] = made.outcomes.get(outcome, 0) + sketch.count
            if error:
                made.error_types[error] = made.error_types.get(error, 0) + sketch.count
            if made.subject.kind == "operation" or outcome in outcomes.SAMPLED:
                if made.latency is None:
                    made.latency = sketch
                else:
                    made.latency.merge(sketch)
        return made
