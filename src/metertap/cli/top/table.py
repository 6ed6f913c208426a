"""Drawing of one table: its header, the rows that fit, and the details of the selected row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from metertap.cli.top.columns import Entry, Row
from metertap.cli.top.layout import ColumnRequest, Signs, lay_out, shortened
from metertap.cli.top.table_state import TableState
from metertap.text import printable

_LEAST_NAME = 24
_LEAST_WORDS = 9
_LEAST_FIRST = 16
"""The least width of the first column, whose header may be `tool 1–12 of 200`."""
_MOST_NAME = 60
RULE = 2
"""The width of the vertical rule to the left of details, with a blank."""


def table(
    state: TableState[Entry],
    details: Sequence[Text],
    width: int,
    room: int,
    has_focus: bool,
    signs: Signs,
) -> Iterable[RenderableType]:
    """Yield the header of a table and exactly `room` lines of rows and details."""
    if room < 0:
        return
    cursor = state.cursor
    cursor.settle(room, len(details))
    at = cursor.at()
    # The details come between the selected row and the next one.
    split = len(state.shown) if at is None or not details else at + 1
    above = state.shown[cursor.top : min(split, cursor.top + room)]
    unfolded = details[cursor.into : cursor.into + max(0, room - len(above))]
    below = state.shown[split : split + max(0, room - len(above) - len(unfolded))]
    selected = state.shown[at] if at is not None and has_focus else None
    columns = _Columns(state, width, len(above) + len(below), signs)
    yield columns.table(above, selected, header="bold reverse" if has_focus else "bold")
    for line, text in enumerate(unfolded):
        yield _ruled(
            text,
            hides_before=line == 0 and cursor.into > 0,
            hides_after=line == len(unfolded) - 1 and cursor.into + len(unfolded) < len(details),
            signs=signs,
        )
    if below:
        yield columns.table(below, selected)
    lines = len(above) + len(unfolded) + len(below)
    if not state.shown and room > 0:
        yield _empty(state, signs)
        lines = 1
    yield from (Text("") for _ in range(room - lines))


def _ruled(text: Text, *, hides_before: bool, hides_after: bool, signs: Signs) -> Text:
    """Return a line of details after a rule, which is an arrow if more lines are hidden there."""
    rule = "▲" if hides_before else "▼" if hides_after else "│"
    return signs.text(f"{rule} ", "cyan").append(signs.of(text))


def _empty(state: TableState[Entry], signs: Signs) -> Text:
    entry = state.columns()[0].title
    if state.rows:
        return signs.text(f"No {entry} has “{printable(state.wanted)}” in its name.", "dim")
    return signs.text(f"No {entry} has been seen yet.", "dim")


class _Columns(Generic[Entry]):
    """The columns that there is room for, with the same widths above and below the details."""

    def __init__(self, state: TableState[Entry], width: int, rows: int, signs: Signs) -> None:
        self._signs = signs
        self._columns = columns = state.columns()
        sorting = state.sorting()
        arrow = "▼" if state.descends() else "▲"
        titles = [column.title + (arrow if column is sorting else "") for column in columns]
        requests = []
        for index, column in enumerate(columns):
            texts = (cell_len(printable(column.text(row))) for row in state.shown)
            natural = max((cell_len(titles[index]), *texts))
            # A column never becomes narrower: otherwise the others would move with each answer.
            natural = state.widen(column.title, natural)
            if index == 0:
                natural = max(natural, _LEAST_FIRST)
            least = natural
            if column.is_words:
                natural = min(natural, _MOST_NAME)
                least = min(natural, _LEAST_NAME if index == 0 else _LEAST_WORDS)
            requests.append(ColumnRequest(natural, least, 0 if column is sorting else column.rank))
        self._layout = layout = lay_out(requests, width)
        self._widths = widths = list(layout.widths)
        extents = _extents(state.cursor.top, rows, len(state.shown), len(state.rows))
        titles[0] += next((it for it in extents if cell_len(titles[0] + it) <= widths[0]), "")
        if columns[layout.columns[-1]].is_words:  # so that the header is one bar across the screen
            widths[-1] += max(0, width - sum(widths) - layout.gap * (len(widths) - 1))
        self._titles = titles

    def table(
        self, rows: Sequence[Row[Entry]], selected: Row[Entry] | None, *, header: str = ""
    ) -> Table:
        """Return a table of these rows, with a header if `header`, its style, is not empty."""
        found = Table(box=None, padding=(0, self._layout.gap, 0, 0), pad_edge=False, expand=False)
        found.show_header = bool(header)
        found.header_style = header
        shown = list(zip(self._layout.columns, self._widths, strict=True))
        for index, wide in shown:
            found.add_column(
                self._signs.text(shortened(self._titles[index], wide)),
                justify="left" if self._columns[index].is_words else "right",
                width=wide,
                no_wrap=True,
                overflow="crop",  # the text has been shortened to this width
            )
        for row in rows:
            cells = []
            for index, wide in shown:
                column = self._columns[index]
                text = shortened(printable(column.text(row)), wide)
                cells.append(self._signs.text(text, column.style(row.entry)))
            style = "dim" if row.is_gone or not row.entry.uses else ""
            found.add_row(*cells, style=f"{style} reverse" if row is selected else style)
        return found


def _extents(top: int, shown: int, filtered: int, total: int) -> list[str]:
    """Return texts, longest first, that say which rows are shown and how many there are."""
    if shown == filtered == total:
        return [f" {total}"]
    if shown == filtered:
        return [f" {filtered} of {total}", f" {filtered}"]
    rows = f" {top + 1}–{top + shown}"
    everything = [] if filtered == total else [f"{rows} of {filtered} (of {total})"]
    return [*everything, f"{rows} of {filtered}", rows]
