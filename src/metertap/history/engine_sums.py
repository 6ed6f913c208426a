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
from metertap.history.answers import ERROR, Slice
from metertap.history.buckets import Bucket
from metertap.history.tally import add_to


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
    calls: dict[tuple[str, str], list[Bucket]] = field(default_factory=dict)
    """Calls by outcome and type of error."""
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """The sums of these calls' durations, if the engine has them."""

    def add_lookups(self, labels: Mapping[str, str], count: float) -> None:
        """Count lookups of a cache."""
        result = labels.get(promql.LOOKUP, "")
        self.lookups[result] = self.lookups.get(result, 0.0) + count

    def add_calls(self, labels: Mapping[str, str], held: Held) -> None:
        """Count calls by how long they took."""
        key = labels.get(promql.OUTCOME, ""), labels.get(promql.ERROR_TYPE, "")
        self.calls.setdefault(key, []).extend(held.buckets)
        self.seconds[key] = self.seconds.get(key, 0.0) + held.seconds

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
            # The sum by buckets is only as exact as they are narrow.
            if (seconds := self.seconds[named, error]) > 0:
                calls = sum(max(0.0, bucket.calls) for bucket in held)
                sketch.total = seconds * sketch.count / calls
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
