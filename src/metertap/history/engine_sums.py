"""Sums of an engine's numbers, period by period.

An engine extrapolates the growth of a counter, so its numbers are fractions. They are rounded when
all numbers of a period are together: one call in five minutes is one, not five times zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metertap import outcomes, promql
from metertap.history import buckets
from metertap.history.answers import ERROR, Slice
from metertap.history.buckets import Bucket
from metertap.history.tally import add_to


@dataclass(slots=True)
class Sums:
    """The sums of one slice."""

    piece: Slice
    lookups: dict[str, float] = field(default_factory=dict)
    """Lookups by result."""
    calls: dict[tuple[str, str], list[Bucket]] = field(default_factory=dict)
    """Calls by outcome and type of error."""

    def add_lookups(self, labels: Mapping[str, str], count: float) -> None:
        """Count lookups of a cache."""
        result = labels.get(promql.LOOKUP, "")
        self.lookups[result] = self.lookups.get(result, 0.0) + count

    def add_calls(self, labels: Mapping[str, str], held: list[Bucket]) -> None:
        """Count calls by how long they took."""
        key = labels.get(promql.OUTCOME, ""), labels.get(promql.ERROR_TYPE, "")
        self.calls.setdefault(key, []).extend(held)

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
            sketch = buckets.sketch(held)
            if not sketch.count:
                continue
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
