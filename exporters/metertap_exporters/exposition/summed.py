"""Metric families of several workers as one: counters and histograms are added up."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial, reduce
from itertools import chain, compress, count, repeat
from operator import add, is_, is_not
from typing import Any, NamedTuple

from metertap.recording import Figures
from metertap.workers.columns import parted
from metertap.workers.rows import Items, Key, Table
from metertap.workers.sections import Section
from metertap.workers.together import Windows
from metertap_exporters.exposition.families import Distribution, Family, Group, Labels, Series

NAME = "families"
"""The name of the section."""
_WORKER = "worker"
"""The label of a worker's own series, by its process id."""
_COUNTED = frozenset({"counter", "histogram"})
_HEAD = re.compile("[a-zA-Z_:][a-zA-Z0-9_:]* (counter|gauge|histogram|info) [a-zA-Z0-9_:]*")
"""Name, kind and unit of a family, which its text contains as they are."""
_LARGEST = 1e300
"""The largest number from another worker; an application's gauge may have any."""


class Point(NamedTuple):
    """The value of one series; for a histogram the sum, counts of buckets, and the bounds."""

    kind: str
    value: float | None
    bounds: str = "[]"
    counts: tuple[int, ...] = ()


_made = partial(tuple.__new__, Point)


def section(families: Callable[[], Iterable[Family]]) -> Section:
    """Return the section of the metric families that each worker collects."""
    keys = _Keys()

    def take(_figures: Figures, before: Items) -> Items:
        found: dict[Key, Point] = {}
        groups = ((family, group) for family in families() for group in family.groups)
        for number, (family, group) in enumerate(groups):
            series = [*group.series]
            points = map(_point, repeat(family.kind), [one.value for one in series])
            labels = [one.labels for one in series]
            for key, point in zip(keys.of(number, family, group, labels), points, strict=True):
                kept = before.get(key)
                found[key] = kept if kept == point else point
        return found

    return Section(
        *(NAME, Point, take, _sums, _settled),
        tells_change=False,
        are_keys=_are_keys,
        has_columns=True,
    )


class Summed:
    """A maker of metric families from the workers' sections. For one thread at a time.

    A series' labels are the same object each time, so their text is kept.
    """

    def __init__(self) -> None:
        self._labels: dict[str, Labels] = {}
        self._made = _Made()

    def families(self, items: Items, *, is_kept: bool = False) -> list[Family]:
        """Return metric families of merged items, or of the items of one worker.

        With `is_kept`, an unchanged item's series is the same object as before, and so is a family
        while its items are the same ones.
        """
        if is_kept and self._made.has_taken(items):
            return self._made.families
        before, self._labels = self._labels, {}
        series_before = dict(zip(self._made.keys, self._made.each(), strict=True))
        made = _Made([*items], [*items.values()])
        found: dict[Key, tuple[Family, dict[str, list[Series]]]] = {}
        for key, point in items.items():
            name, kind, unit, description, constant, labels = key
            family = found.get(key[:4])
            if family is None:
                family = Family(str(name), str(kind), str(description), str(unit)), {}
                found[key[:4]] = family
            of_labels = self._kept(before, str(labels))
            series = Series(of_labels, _value(str(kind), point))
            kept = series_before.get(key)
            if kept is not None and kept[0] is point:
                series = kept[1]
            members = family[1].setdefault(str(constant), [])
            made.places.append((members, len(members)))
            members.append(series)
        for one, groups in found.values():
            for constant, members in groups.items():
                names = frozenset(name for series in members for name in series.labels)
                one.groups.append(Group(self._kept(before, constant), names, members, is_kept))
        made.families += [one for one, _ in found.values()]
        self._made = made if is_kept else _Made()
        return made.families

    def _kept(self, before: Mapping[str, Labels], text: str) -> Labels:
        labels = self._labels.get(text)
        if labels is None:
            kept = before.get(text)
            labels = self._labels[text] = _labels_of(text) if kept is None else kept
        return labels


@dataclass(slots=True)
class _Made:
    """Families made of items."""

    keys: Sequence[Key] = ()
    points: Sequence[Point] = ()
    places: list[tuple[list[Series], int]] = field(default_factory=list)
    """For each item, the list and index of its series."""
    families: list[Family] = field(default_factory=list)

    def each(self) -> Iterator[tuple[Point, Series]]:
        """Yield the points and their series."""
        for point, (members, place) in zip(self.points, self.places, strict=True):
            yield point, members[place]

    def has_taken(self, items: Items) -> bool:
        """Make series for new values of the same keys; return False if the keys are others."""
        if not items or [*items] != self.keys:
            return False
        points = [*items.values()]
        for number in compress(count(), map(is_not, points, self.points)):
            members, place = self.places[number]
            kind = str(self.keys[number][1])
            members[place] = Series(members[place].labels, _value(kind, points[number]))
        self.points = points
        return True


def labelled(families: Iterable[Family], worker: str) -> list[Family]:
    """Add the label `worker` to every series."""
    return [
        replace(family, groups=[_of_worker(group, worker) for group in family.groups])
        for family in families
    ]


def _of_worker(group: Group, worker: str) -> Group:
    constant = {**group.constant, _WORKER: worker}
    if _WORKER not in group.names:
        return group._replace(constant=constant)
    series = [one._replace(labels=_apart(one.labels, worker)) for one in group.series]
    return Group(constant, frozenset().union(*(one.labels for one in series)), series)


def _apart(labels: Labels, worker: str) -> Labels:
    """Return labels without the one of this worker.

    An application's own label of that name is called as Prometheus calls what is taken: else series
    that differ only in it would be one.
    """
    exported = f"exported_{_WORKER}"
    while exported in labels:
        exported = f"exported_{exported}"
    return {
        exported if name == _WORKER else name: value
        for name, value in labels.items()
        if (name, value) != (_WORKER, worker)
    }


def together(families: Iterable[Family]) -> list[Family]:
    """Join families of the same name."""
    found: dict[tuple[str, str], Family] = {}
    for family in families:
        first = found.setdefault((family.name, family.kind), family)
        if first is not family:
            first.groups += family.groups
    return list(found.values())


class _Keys:
    """The keys of a worker's series by group, kept while labels are the same objects."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[tuple[str, ...], Sequence[Labels], list[Key]]] = {}

    def of(
        self, number: int, family: Family, group: Group, labels: Sequence[Labels]
    ) -> Sequence[Key]:
        """Return the keys of the series of a group."""
        worker = "" if family.adds_up else str(os.getpid())
        head = family.name, family.kind, family.unit, family.description, _text(group.constant)
        before = self._kept.get(number)
        if before is not None and before[0] == (*head, worker):
            known = before[1]
            if len(known) == len(labels) and all(map(is_, known, labels)):
                return before[2]
        keys: list[Key] = [
            (*head, _text({**_apart(one or {}, worker), _WORKER: worker} if worker else one))
            for one in labels
        ]
        self._kept[number] = (*head, worker), labels, keys
        return keys


def _text(labels: Labels | None) -> str:
    return json.dumps(dict(labels or {}), default=str)


def _labels_of(text: str) -> Labels:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def _point(kind: str, value: Any) -> Point:
    if isinstance(value, Distribution):
        total = None if value.total is None else _finite(value.total)
        bounds = _text_of_bounds(tuple(value.bounds))
        return _made((kind, total, bounds, tuple(value.counts)))
    return Point(kind, _finite(value))


@lru_cache(maxsize=100)
def _text_of_bounds(bounds: tuple[float, ...]) -> str:
    return json.dumps(bounds)


@lru_cache(maxsize=100)
def _bounds_of(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, json.loads(text)))
    except (ValueError, TypeError, RecursionError):
        return ()


def _finite(value: float) -> float | None:
    return float(value) if abs(value) <= _LARGEST else None


def _value(kind: str, point: Point) -> Any:
    """Return the value of a series of this kind, of which another worker may send any point."""
    if kind == "histogram":
        return Distribution(_bounds_of(point.bounds), point.counts, point.value, {})
    return math.nan if point.value is None else point.value


def _sums(workers: Sequence[Table], _windows: Windows) -> Sequence[Point]:
    """Add up the points of several workers; by whole columns if kinds and bounds are equal."""
    columns = [*zip(*(worker.members for worker in workers), strict=True)]
    kinds, all_values, bounds, all_counts = columns
    lengths = [[*map(len, each)] for each in all_counts]
    are_alike = all(map(_are_equal, (kinds, bounds, lengths)))
    if not are_alike or any(None in each for each in all_values):
        points = (map(_made, zip(*worker.members, strict=True)) for worker in workers)
        return [*map(_sum, zip(*points, strict=True))]
    values = map(sum, zip(*all_values, strict=True))
    summed = _sums_of_counts(all_counts, lengths[0])
    return [*map(_made, zip(kinds[0], values, bounds[0], summed, strict=True))]


def _sums_of_counts(
    workers: Sequence[Sequence[tuple[int, ...]]], lengths: Sequence[int]
) -> Iterable[tuple[int, ...]]:
    """Add up the counts in buckets, of which a histogram has equally many in all workers."""
    if len({*lengths} - {0}) > 1:
        flat: Iterable[Iterable[int]] = map(chain.from_iterable, workers)
        return parted(reduce(partial(map, add), flat), lengths)
    # As usual, all histograms have the same buckets, most of which are empty.
    buckets = zip(*(zip(*filter(None, counts), strict=True) for counts in workers), strict=True)
    sums = [
        [*map(sum, zip(*each, strict=True))] if any(map(any, each)) else repeat(0)
        for each in buckets
    ]
    rows = zip(*sums, strict=False)
    return (next(rows) if length else () for length in lengths)


def _are_equal(columns: Sequence[Sequence[Any]]) -> bool:
    return all([*column] == [*columns[0]] for column in columns[1:])


def _sum(points: Sequence[Point]) -> Point:
    kind, _, bounds, counted = points[0]
    alike = [
        point for point in points if point.bounds == bounds and len(point.counts) == len(counted)
    ]
    values = [point.value for point in alike if point.value is not None]
    counts = tuple(map(sum, zip(*[point.counts for point in alike], strict=True)))
    return Point(kind, sum(values) if values else None, bounds, counts)


def _are_keys(keys: Sequence[Key]) -> bool:
    """Return whether keys from another worker have what the text of all families needs."""
    return all(
        len(key) == 6 and None not in key and _HEAD.fullmatch(f"{key[0]} {key[1]} {key[2]}")
        for key in keys
    )


def _settled(point: Point) -> Point | None:
    return point if point.kind in _COUNTED else None
