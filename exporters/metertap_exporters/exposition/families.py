"""Metric families, between those who collect and the text: names, labels and values alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Labels = Mapping[str, Any]
"""Attributes of one series. Their text is kept by identity: the same object, the same labels."""


class Exemplar(NamedTuple):
    """One measurement that was taken in a sampled span; `timestamp` is in Unix seconds."""

    labels: tuple[tuple[str, str], ...]
    value: float
    timestamp: float


class Distribution(NamedTuple):
    """The value of a histogram's series: what lies in each bucket alone, and the sum.

    There is one count more than bounds. Exemplars are by the bucket's position.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float | None
    exemplars: Mapping[int, Exemplar]


class Quantiles(NamedTuple):
    """The value of a summary's series: the quantiles that are known, the count and the sum.

    Without a count, because a histogram has both already, there are quantiles alone.
    """

    known: Sequence[tuple[str, float]]
    calls: int | None
    total: float


class Series(NamedTuple):
    """One series of a family. Of a counter, a gauge and an info the value is a number."""

    labels: Labels
    value: Any
    exemplar: Exemplar | None = None


class Group(NamedTuple):
    """Series that have some labels with equal values, which are `constant`.

    `names` are those of all other labels. The series are made one by one as they are written: a
    thousand that exist at once would make the garbage collector look through the whole program.
    """

    constant: Labels
    names: frozenset[str]
    series: Iterable[Series]
    is_kept: bool = False
    """Whether a series is the same object as before as long as nothing of it changes."""


@dataclass(slots=True)
class Family:
    """All series of one name.

    `name` is without the `_total` and `_info` that the text adds; `kind` is counter, gauge,
    histogram, summary or info.
    """

    name: str
    kind: str
    description: str
    unit: str = ""
    groups: list[Group] = field(default_factory=list)
    adds_up: bool = True
    """Whether the sum over several processes is such a value too; not so of most gauges."""
