"""Metric families, from their collectors to the text: only names, labels and values."""

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
    """The value of a histogram's series: the count in each bucket alone, and the sum.

    There is one more count than bounds. Exemplars are by the bucket's index.
    """

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float | None
    exemplars: Mapping[int, Exemplar]


class Quantiles(NamedTuple):
    """The value of a summary's series: known quantiles, count and sum.

    Without count and sum, which a histogram has already, there are only quantiles.
    """

    known: Sequence[tuple[str, float]]
    calls: int | None
    total: float


class Series(NamedTuple):
    """One series of a family. The value of a counter, a gauge or an info is a number."""

    labels: Labels
    value: Any
    exemplar: Exemplar | None = None


class Group(NamedTuple):
    """Series with some labels in common, which are `constant`.

    `names` are those of all other labels. The series are made one by one while they are written: a
    thousand at once would cause garbage collections of the whole program.
    """

    constant: Labels
    names: frozenset[str]
    series: Iterable[Series]
    is_kept: bool = False
    """Whether an unchanged series is the same object as at the last scrape."""


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
    """Whether values of several processes may be added up, which most gauges must not."""
