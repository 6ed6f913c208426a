"""Columns: the values of one member of many items, in the order of the items."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, TypeVar

T = TypeVar("T")


class Named(Sequence[dict[str, Any]]):
    """A column of dictionaries that all have the same names, in the same order."""

    def __init__(self, names: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> None:
        """Take the values of each dictionary."""
        self.names = names
        self.rows = rows

    @classmethod
    def of(cls, names: tuple[str, ...], values: Iterable[Any]) -> Named:
        """Take the values of all dictionaries, one after the other."""
        return cls(names, [*zip(*[iter(values)] * len(names), strict=True)])

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.names, row, strict=True)) for row in self.rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [*self][place]
        return dict(zip(self.names, self.rows[place], strict=True))


_OTHERS = Named((), ())


def named(column: Sequence[dict[str, Any]]) -> Named:
    """Return a column of dictionaries as `Named`; without names if these differ."""
    if type(column) is Named:
        return column
    names, *others = {*map(tuple, column)}
    if others:
        return _OTHERS
    return Named.of(names, chain.from_iterable(map(dict.values, column)))


def chooser(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Return a function that takes the values at these places out of a column."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda column: [column[place] for place in places]


def chosen(columns: Iterable[Sequence[Any]], places: Sequence[int]) -> list[Sequence[Any]]:
    """Return columns of the values at these places."""
    take = chooser(places)
    return [
        Named(column.names, take(column.rows)) if type(column) is Named else take(column)
        for column in columns
    ]


def with_others(
    column: Sequence[Any], places: Sequence[int], others: Sequence[Any], size: int, fill: Any
) -> Sequence[Any]:
    """Return a column of `size` values: `column`, with `others` at these places."""
    if len(places) == size and [*places] == [*range(size)]:
        return others
    if type(column) is Named and type(others) is Named and column.names == others.names:
        return Named(column.names, with_others(column.rows, places, others.rows, size, ()))
    changed = [*column, *[fill] * (size - len(column))]
    for place, other in zip(places, others, strict=True):
        changed[place] = other
    return changed


def parted(values: Iterable[T], lengths: Iterable[int]) -> list[tuple[T, ...]]:
    """Divide values into tuples of these lengths."""
    found, ends = (*values,), [*accumulate(lengths)]
    return [*map(found.__getitem__, map(slice, [0, *ends], ends))]
