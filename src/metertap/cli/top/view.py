"""What whoever looks has chosen: table, sorting, filter, place; and what each key does to that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from metertap.cli.top.columns import CACHES, TOOLS, Column, Row, Thing
from metertap.cli.top.readings import Cache, Tool

_LONGEST_FILTER = 100
_SCROLLS = {"up": -1, "k": -1, "down": 1, "j": 1}


@dataclass(slots=True)
class Part(Generic[Thing]):
    """One of the two tables as it is looked at."""

    every_column: Sequence[Column[Thing]]
    sorted_by: str
    is_reversed: bool = False
    has_processes: bool = False
    """Whether there is a column for the process: there is more than one."""
    top: int = 0
    """The first row that is shown."""
    page: int = 1
    """How many rows there is room for."""
    length: int = 0
    """How many rows there are to show."""
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

    def arrange(self, rows: Iterable[Row[Thing]], wanted: str) -> list[Row[Thing]]:
        """The rows that the filter lets through, sorted. No data, and what is gone, is last."""
        wanted = wanted.casefold()
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
        arranged = sorted((*known, *unknown), key=lambda row: row.is_gone)
        self.length = len(arranged)
        return arranged

    def widen(self, title: str, width: int) -> int:
        """The most that a column has ever needed."""
        found = self.widest[title] = max(width, self.widest.get(title, 0))
        return found

    def scroll(self, rows: int) -> None:
        """Move what is shown, as far as there is any more."""
        self.top = max(0, min(self.top + rows, self.length - self.page))

    def sort_by(self, column: Column[Thing]) -> None:
        """Sort by a column; by the same one again, the other way round."""
        if column.title == self.sorting().title:
            self.is_reversed = not self.is_reversed
        else:
            self.sorted_by, self.is_reversed = column.title, False
        self.top = 0

    def press(self, key: str) -> None:
        """Scroll or sort."""
        columns = self.columns()
        if key in _SCROLLS:
            self.scroll(_SCROLLS[key])
        elif key == "page up":
            self.scroll(-self.page)
        elif key == "page down":
            self.scroll(self.page)
        elif key in {"home", "g"}:
            self.top = 0
        elif key in {"end", "G"}:
            self.scroll(self.length)
        elif key in {"r", "left", "right"}:
            step = {"r": 0, "left": -1, "right": 1}[key]
            self.sort_by(columns[(columns.index(self.sorting()) + step) % len(columns)])
        else:
            for column in columns:
                if column.key == key:
                    self.sort_by(column)


@dataclass(slots=True)
class View:
    """Everything that keys change."""

    tools: Part[Tool] = field(default_factory=lambda: Part(TOOLS, "p95"))
    caches: Part[Cache] = field(default_factory=lambda: Part(CACHES, "hit %"))
    caches_have_focus: bool = False
    filter: str = ""
    is_typing: bool = False
    shows_keys: bool = False
    has_ended: bool = False

    def press(self, key: str) -> None:
        """Do what a key is for; one that is for nothing does nothing."""
        if self.is_typing:
            self._type(key)
        elif key == "q":
            self.has_ended = True
        elif self.shows_keys:
            self.shows_keys = False
        elif key == "?":
            self.shows_keys = True
        elif key == "/":
            self.is_typing = True
        elif key == "escape":
            self._filter("")
        elif key in {"tab", "back tab"}:
            self.caches_have_focus = not self.caches_have_focus
        elif self.caches_have_focus:
            self.caches.press(key)
        else:
            self.tools.press(key)

    def _type(self, key: str) -> None:
        if key in {"enter", "escape"}:
            self.is_typing = False
            if key == "escape":
                self._filter("")
        elif key == "backspace":
            self._filter(self.filter[:-1])
        elif key == "clear line":
            self._filter("")
        elif len(key) == 1:
            self._filter((self.filter + key)[:_LONGEST_FILTER])

    def _filter(self, text: str) -> None:
        self.filter = text
        for part in (self.tools, self.caches):
            part.top = 0
            part.widest.clear()
