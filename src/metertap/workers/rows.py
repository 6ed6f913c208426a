"""Items of one section of another worker, as columns: single items are made on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, compress, count, repeat
from operator import is_not, itemgetter
from typing import Any, NamedTuple

from metertap.recording.window import Run
from metertap.workers.checking import Malformed
from metertap.workers.columns import chooser, chosen, with_others
from metertap.workers.runs import NO_RUN, Runs, completed, runs_of

Key = tuple[str | None, ...]
Items = Mapping[Key, Any]
"""The items of one section: the same object as long as nothing changes."""
Sheet = Mapping[str, Items]
"""The known sections of one worker, by name."""


class Part(NamedTuple):
    """Figures of one tool, of its weight or of an MCP operation, and the windows behind them.

    They are of one worker, or of several, and then without windows. `ToolSeries.runs` describes the
    windows.
    """

    figures: Any
    runs: tuple[Run, ...] = ()


class Table(NamedTuple):
    """Some items of a section: a column for each member of their figures, and their windows."""

    members: Sequence[Sequence[Any]]
    windows: Sequence[Runs] = ()
    """The windows of all items, by their places in `Part.runs`."""

    def at(self, places: Sequence[int]) -> Table:
        """Return some of the items."""
        return Table(chosen(self.members, places), [runs.at(places) for runs in self.windows])


class Written(NamedTuple):
    """Items as they were read: columns of members, and of what is new in windows."""

    make: Callable[[Any], Any]
    """Returns the figures of one item, given its members."""
    members: Sequence[Sequence[Any] | None]
    """The columns; None for one whose values have not changed."""
    has_windows: bool = False
    lengths: Sequence[int] = ()
    """The number of windows of each item, if these came; else empty."""
    windows: Sequence[Sequence[Any]] = ()
    """The columns of `Fresh`, for all windows one after the other."""


class Rows(Mapping[Key, Any]):
    """Items of one section of another worker. They never change: `after` makes new ones."""

    def __init__(self) -> None:
        self._make: Callable[[Any], Any] = tuple
        self._has_windows = False
        self.places: Mapping[Key, int] = {}
        """The place of each item in the columns."""
        self._table = Table(())
        self._first = self
        self._number = 0
        self._changed: Sequence[int] = ()
        """For each item, the number of the rows in which it last changed."""
        self._newest: Sequence[int] = ()
        """The places of items that differ from the rows before."""

    def __getitem__(self, key: Key) -> Any:
        (item,) = self._items([self.places[key]])
        return item

    def __iter__(self) -> Iterator[Key]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def _items(self, places: Sequence[int]) -> list[Any]:
        members, windows = self._table.at(places)
        figures = map(self._make, zip(*members, strict=True))
        if not self._has_windows:
            return [*figures]
        runs = zip(*map(Runs.each, windows), strict=True) if windows else repeat(())
        return [*map(Part, figures, runs)]

    def table(self, places: Sequence[int]) -> Table:
        """Return the items at these places."""
        return self._table if _is_all(places, len(self)) else self._table.at(places)

    def windows(self, places: Sequence[int]) -> Sequence[Runs]:
        """Return the windows of the items at these places."""
        return [runs.at(places) for runs in self._table.windows]

    def follows(self, before: Items) -> bool:
        """Return whether these are `before` after some changes."""
        return type(before) is Rows and before._first is self._first

    def changed_since(self, before: Rows) -> Sequence[int]:
        """Return the places of items that are new or changed since `before`."""
        if before._number == self._number - 1:  # as usual
            return self._newest
        return [*compress(count(), map(before._number.__lt__, self._changed))]

    def after(self, keys: Sequence[Key], numbers: Sequence[int], written: Written) -> Rows:
        """Return the items after these changes, given by numbers. Raises Malformed.

        New keys follow the existing ones; each needs an item.
        """
        known, size = len(self), len(self) + len(keys)
        made = Rows()
        made.places = self.places
        if keys:
            made.places = {**self.places, **dict(zip(keys, range(known, size), strict=True))}
        is_whole = _is_all(numbers, size)
        if len(made.places) < size or (not is_whole and len({*numbers}) < len(numbers)):
            raise Malformed("something comes twice")
        if not is_whole and not {*range(known, size)}.issubset(numbers):
            raise Malformed("a key has no item")
        if (keys and None in written.members) or max(numbers) >= size:
            raise Malformed("something is missing")
        made._make, made._has_windows = written.make, written.has_windows
        made._first, made._number = self._first, self._number + 1
        before = self._table.members or repeat(())
        members = [
            old if new is None else with_others(old, numbers, new, size, None)
            for old, new in zip(before, written.members, strict=False)
        ]
        new_numbers = [made._number] * len(numbers)
        made._newest = numbers
        made._changed = with_others(self._changed, numbers, new_numbers, size, 0)
        made._table = Table(members, [*self._windows_after(numbers, written, size)])
        return made

    def _windows_after(self, numbers: Sequence[int], written: Written, size: int) -> Iterator[Runs]:
        before, lengths = self._table.windows, written.lengths
        if {*lengths} == {1} and len(before) < 2:  # as usual
            old = before[0] if before else _NO_RUNS
            old = old.with_others((), _NO_RUNS, size)
            known = old.at(numbers)
            yield old.with_others(numbers, completed(written.windows, known), size, known)
            return
        starts = [*accumulate(lengths, initial=0)]
        for place in range(max(len(before), max(lengths, default=0))):
            old = before[place] if place < len(before) else _NO_RUNS
            old = old.with_others((), _NO_RUNS, size)
            there = [each for each, length in enumerate(lengths) if length > place]
            where = [*map(numbers.__getitem__, there)]
            sent = [
                [*map(column.__getitem__, [starts[each] + place for each in there])]
                for column in written.windows
            ]
            new = completed(sent, old.at(where)) if there else _NO_RUNS
            gone = {*numbers}.difference(where)
            if gone:
                old = old.with_others([*gone], runs_of([NO_RUN] * len(gone)), size)
            yield old.with_others(where, new, size)


_NO_RUNS = runs_of(())


def places_of(items: Items) -> Mapping[Key, int]:
    """Return the place of each item among all of them."""
    return items.places if type(items) is Rows else dict(zip(items, count()))


def have_same_places(before: Items, now: Items) -> bool:
    """Return whether both have the same keys at the same places."""
    if type(now) is Rows:
        return type(before) is Rows and before.places is now.places
    return type(before) is not Rows and [*before] == [*now]


def changed_places(before: Items, now: Items) -> Sequence[int]:
    """Return the places of changed items, if all places are the same as before."""
    if type(now) is Rows and type(before) is Rows:
        return now.changed_since(before)
    return [*compress(count(), map(is_not, now.values(), before.values()))]


def table_of(items: Items, places: Sequence[int]) -> Table:
    """Return the items at these places as a table."""
    if type(items) is Rows:
        return items.table(places)
    found = _at(items, places)
    if type(found[0]) is not Part:
        return Table([*zip(*found, strict=True)])
    return Table([*zip(*map(itemgetter(0), found), strict=True)], _windows(found))


def windows_of(items: Items, places: Sequence[int | None]) -> Sequence[Runs]:
    """Return the windows of items at these places; an empty one for None."""
    there = [place for place in places if place is not None]
    windows = items.windows(there) if type(items) is Rows else _windows(_at(items, there))
    if len(there) == len(places):
        return windows
    where = [number for number, place in enumerate(places) if place is not None]
    return [_NO_RUNS.with_others(where, runs, len(places)) for runs in windows]


def _at(items: Items, places: Sequence[int]) -> Sequence[Any]:
    return chooser(places)([*items.values()])


def _is_all(places: Sequence[int], size: int) -> bool:
    return len(places) == size and [*places] == [*range(size)]


def _windows(items: Sequence[Any]) -> Sequence[Runs]:
    runs = [item[1] for item in items if type(item) is Part]
    return [
        runs_of([each[place] if len(each) > place else NO_RUN for each in runs])
        for place in range(max(map(len, runs), default=0))
    ]
