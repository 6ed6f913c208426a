"""The state of tables that the user changes (sorting, filter, cursor), and each key's effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from metertap.cli.top.columns import CACHES, OPERATIONS, TOOLS, Column, Entry, Row
from metertap.cli.top.cursor import Cursor
from metertap.cli.top.readings import Cache, Operation, Tool

_NEXT = {"<": -1, ">": 1}
_LONGEST_FILTER = 100


@dataclass(slots=True)
class TableState(Generic[Entry]):
    """The state of one table: its rows, columns, sorting, filter and cursor."""

    title: str
    """The name of its rows: `tools`, `operations` or `caches`."""
    every_column: Sequence[Column[Entry]]
    sorted_by: str
    is_reversed: bool = False
    has_processes: bool = False
    """Whether the table has a column for the process, because there are several."""
    rows: Sequence[Row[Entry]] = ()
    """All rows, without the filter."""
    wanted: str = ""
    """The filter: the text that the name of a row or of its process must contain."""
    shown: Sequence[Row[Entry]] = ()
    """The rows that the filter lets through, sorted."""
    cursor: Cursor = field(default_factory=Cursor)
    widest: dict[str, int] = field(default_factory=dict)
    """The largest width of each column so far, by its title."""

    def columns(self) -> list[Column[Entry]]:
        """Return the columns from left to right, including those that there may be no room for."""
        return [
            column
            for column in self.every_column
            if self.has_processes or column.title != "process"
        ]

    def letters(self) -> list[tuple[str, str]]:
        """Return the key that sorts by each column, and the column's title."""
        return [(column.key, column.title) for column in self.columns()]

    def sorting(self) -> Column[Entry]:
        """Return the column that the table is sorted by."""
        columns = self.columns()
        return next((column for column in columns if column.title == self.sorted_by), columns[0])

    def descends(self) -> bool:
        """Return whether the largest value comes first."""
        return self.sorting().ascends == self.is_reversed

    def arrange(self, rows: Sequence[Row[Entry]]) -> Sequence[Row[Entry]]:
        """Replace the rows, and return those that the filter lets through, sorted.

        Rows without data come last, followed only by those of processes that do not answer.
        """
        wanted = self.wanted.casefold()
        self.rows = rows
        shown = [
            row
            for row in rows
            if wanted in row.entry.name.casefold() or wanted in row.process.casefold()
        ]
        value = self.sorting().value
        shown.sort(key=lambda row: (row.entry.name.casefold(), row.process))
        known = [row for row in shown if value(row) is not None]
        known.sort(key=lambda row: value(row) or 0, reverse=self.descends())
        unknown = [row for row in shown if value(row) is None]
        self.shown = sorted((*known, *unknown), key=lambda row: row.is_gone)
        self.cursor.order = [row.key for row in self.shown]
        return self.shown

    def search(self, wanted: str) -> None:
        """Show only rows with `wanted` in their name or that of their process."""
        self.wanted = wanted
        self.widest.clear()
        self._from_start()

    def widen(self, title: str, width: int) -> int:
        """Widen a column to `width` if it is narrower, and return its width."""
        found = self.widest[title] = max(width, self.widest.get(title, 0))
        return found

    def sort_by(self, column: Column[Entry]) -> None:
        """Sort by a column; if the table is sorted by it already, reverse the order."""
        if column.title == self.sorting().title:
            self.is_reversed = not self.is_reversed
        else:
            self.sorted_by, self.is_reversed = column.title, False
        self._from_start()

    def unfolded(self) -> Row[Entry] | None:
        """Return the row whose details are shown, if any."""
        at = self.cursor.at()
        return self.shown[at] if self.cursor.is_unfolded and at is not None else None

    def press(self, key: str) -> None:
        """Act on a key: move, unfold or sort."""
        if self.cursor.press(key):
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
        """Sort at once and scroll to the top, so that the next key acts on the new order."""
        self.cursor.to_start()
        self.arrange(self.rows)


def _tools() -> TableState[Tool]:
    return TableState("tools", TOOLS, "p95")


def _operations() -> TableState[Operation]:
    return TableState("operations", OPERATIONS, "p95")


def _caches() -> TableState[Cache]:
    return TableState("caches", CACHES, "hit %")


@dataclass(slots=True)
class View:
    """The state of the whole screen, as keys have changed it."""

    tools: TableState[Tool] = field(default_factory=_tools)
    operations: TableState[Operation] = field(default_factory=_operations)
    caches: TableState[Cache] = field(default_factory=_caches)
    focus: str = "tools"
    """The title of the table that was last chosen by Tab."""
    filter: str = ""
    is_typing: bool = False
    shows_keys: bool = False
    has_ended: bool = False

    @property
    def tables(self) -> list[TableState[Any]]:
        """The tables from top to bottom."""
        return [self.tools, self.operations, self.caches]

    def press(self, key: str) -> None:
        """Act on a key; an unknown one has no effect."""
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
            self._step_back()
        elif key in {"tab", "back tab"}:
            self.focus = self.next_table(-1 if key == "back tab" else 1).title
        else:
            self.focused().press(key)

    def with_rows(self) -> list[TableState[Any]]:
        """Return the tables to show: always that of tools, the others if they have rows."""
        return [table for table in self.tables if table is self.tools or table.rows]

    def focused(self) -> TableState[Any]:
        """Return the table that keys act on."""
        shown = self.with_rows()
        return next((table for table in shown if table.title == self.focus), self.tools)

    def next_table(self, step: int = 1) -> TableState[Any]:
        """Return the table that Tab chooses next; with `step` -1, that of Shift-Tab."""
        shown = self.with_rows()
        return shown[(shown.index(self.focused()) + step) % len(shown)]

    def _step_back(self) -> None:
        """Undo the first of these that there is: shown details, the filter, the selection."""
        cursor = self.focused().cursor
        if cursor.is_open():
            cursor.fold()
        elif self.filter:
            self._filter("")
        else:
            cursor.release()

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
        for table in self.tables:
            table.search(text)
