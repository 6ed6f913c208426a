"""Tables as data, and as text in columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from metertap.text import printable

NARROWEST = 10
"""The width below which no text is folded: a narrower terminal wraps lines itself."""
_WIDEST = 80
"""The width beyond which text is folded: names may be of any length."""
_LEGEND = 102
"""The width of the lines below a table, if none is given."""


Columns = Mapping[str, Callable[[Any], str]]
"""Headers of columns, each with the function that writes an item's cell."""


@dataclass(slots=True)
class Table:
    """Rows of text under headers; columns named in `right` hold numbers."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: frozenset[str] = frozenset()
    styles: dict[int, str] = field(default_factory=dict)  # by row; for terminals with colour
    legend: str = ""
    """Lines below the table."""


def table_of(columns: Columns, items: Iterable[Any], *, words: int = 1, last: int = 0) -> Table:
    """Return a table with a row for each item. The first columns, and `last` ones, are words."""
    headers = list(columns)
    table = Table("", headers, right=frozenset(headers[words : len(headers) - last]))
    table.rows += [[cell(item) for cell in columns.values()] for item in items]
    return table


def shortened(table: Table, most: int) -> Table:
    """Return the table with at most `most` rows, and a line that says how many there are."""
    if len(table.rows) <= most:
        return table
    told = f"{most:,} of {len(table.rows):,} rows."
    legend = "\n".join(filter(None, (told, table.legend)))
    return replace(table, rows=table.rows[:most], legend=legend)


def plain(table: Table, width: int | None = None) -> str:
    """Write a table as text in columns, in lines of at most `width` characters if that is given."""
    out = _folded(printable(table.title), width) if table.title else []
    widths = [
        size if header in table.right else min(size, _WIDEST)
        for header, size in zip(table.headers, column_widths(table), strict=True)
    ]
    if width is not None:
        _narrow(table, widths, width)
    headers = [table.headers] if any(table.headers) else []
    for line in (*headers, *table.rows):
        columns = [_folded(printable(cell), size) for cell, size in zip(line, widths, strict=True)]
        for parts in zip_longest(*columns, fillvalue=""):
            cells = [
                part.rjust(size) if header in table.right else part.ljust(size)
                for part, size, header in zip(parts, widths, table.headers, strict=True)
            ]
            out.append("  " + "  ".join(cells).rstrip())
    for line in table.legend.splitlines():
        out += [f"  {part}" for part in _folded(printable(line), (width or _LEGEND) - 2)]
    return "\n".join(out) + "\n"


def _folded(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _narrow(table: Table, widths: list[int], width: int) -> None:
    """Narrow the widest columns of text until lines fit; numbers are never folded."""
    texts = [at for at, header in enumerate(table.headers) if header not in table.right]
    while sum(widths) + 2 * len(widths) > width:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1


def column_widths(table: Table) -> list[int]:
    """Return the width of the widest cell of each column."""
    lines = (table.headers, *table.rows)
    return [max(map(len, map(printable, column))) for column in zip(*lines, strict=True)]
