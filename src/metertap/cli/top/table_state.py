"""One of the two tables as it is looked at: its rows sorted, its columns, the place in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic

from metertap.cli.top.columns import Column, Row, Thing
from metertap.cli.top.cursor import Place

_NEXT = {"<": -1, ">": 1}


@dataclass(slots=True)
class Part(Generic[Thing]):
    """A table as it is looked at."""

    every_column: Sequence[Column[Thing]]
    sorted_by: str
    is_reversed: bool = False
    has_processes: bool = False
    """Whether there is a column for the process: there is more than one."""
    rows: Sequence[Row[Thing]] = ()
    """Every one that there is."""
    wanted: str = ""
    """What a name must have in it."""
    shown: Sequence[Row[Thing]] = ()
    """Those that the filter lets through, sorted."""
    place: Place = field(default_factory=Place)
    widest: dict[str, int] = field(default_factory=dict)
    """Width of each column so far."""

    def columns(self) -> list[Column[Thing]]:
        """The columns that there can be, from left to right."""
        return [
            column
            for column in self.every_column
            if self.has_processes or column.title != "process"
        ]

    def letters(self) -> list[tuple[str, str]]:
        """The key and the title of each column."""
        return [(column.key, column.title) for column in self.columns()]

    def sorting(self) -> Column[Thing]:
        """The column that it is sorted by."""
        columns = self.columns()
        return next((column for column in columns if column.title == self.sorted_by), columns[0])

    def descends(self) -> bool:
        """Whether the largest comes first."""
        return self.sorting().ascends == self.is_reversed

    def arrange(self, rows: Sequence[Row[Thing]]) -> Sequence[Row[Thing]]:
        """The rows that the filter lets through, sorted. No data, and what is gone, is last."""
        wanted = self.wanted.casefold()
        self.rows = rows
        shown = [
            row
            for row in rows
            if wanted in row.thing.name.casefold() or wanted in row.process.casefold()
        ]
        value = self.sorting().value
        shown.sort(key=lambda row: (row.thing.name.casefold(), row.process))
        known = [row for row in shown if value(row) is not None]
        known.sort(key=lambda row: value(row) or 0, reverse=self.descends())
        unknown = [row for row in shown if value(row) is None]
        self.shown = sorted((*known, *unknown), key=lambda row: row.is_gone)
        self.place.order = [row.key for row in self.shown]
        return self.shown

    def search(self, wanted: str) -> None:
        """Let through what has this in its name."""
        self.wanted = wanted
        self.widest.clear()
        self._from_start()

    def widen(self, title: str, width: int) -> int:
        """The most that a column has ever needed."""
        found = self.widest[title] = max(width, self.widest.get(title, 0))
        return found

    def sort_by(self, column: Column[Thing]) -> None:
        """Sort by a column; by the same one again, the other way round."""
        if column.title == self.sorting().title:
            self.is_reversed = not self.is_reversed
        else:
            self.sorted_by, self.is_reversed = column.title, False
        self._from_start()

    def unfolded(self) -> Row[Thing] | None:
        """The row whose details are shown."""
        at = self.place.at()
        return self.shown[at] if self.place.is_unfolded and at is not None else None

    def press(self, key: str) -> None:
        """Move, unfold or sort."""
        if self.place.press(key):
            return
        columns = self.columns()
        if key == "r":
            self.sort_by(self.sorting())
        elif key in _NEXT:
            self.sort_by(columns[(columns.index(self.sorting()) + _NEXT[key]) % len(columns)])
        else:
            for column in columns:
                if column.key == key:
                    self.sort_by(column)

    def _from_start(self) -> None:
        """The order is another: a key that follows at once already moves in that."""
        self.place.to_start()
        self.arrange(self.rows)
