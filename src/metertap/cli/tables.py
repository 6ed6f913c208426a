"""Tables: with rich on a terminal, where it is installed (extra `cli`); else text in columns."""

from __future__ import annotations

import importlib.util
import io
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

_NARROWEST = 10
"""Width below which no column of text is folded: a terminal that is too narrow wraps its lines."""

_LONGEST = 1000
"""Characters of one text that are shown."""


@dataclass(slots=True)
class Table:
    """Rows of text under headers; columns named in `right` hold numbers."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: frozenset[str] = frozenset()
    styles: dict[int, str] = field(default_factory=dict)  # by row number; for terminals with colour
    legend: str = ""
    """A line below the table."""


def printable(text: str) -> str:
    """Return `text` with everything escaped that a terminal would act on instead of showing it.

    Names come from other processes: control sequences, line ends, characters that reverse the
    direction of a line. What is longer than anything that people read is cut off.
    """
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown
    )


def has_rich() -> bool:
    """Return whether rich can be imported."""
    return importlib.util.find_spec("rich") is not None


def complain(command: str, problem: str) -> None:
    """Say on stderr, in one line, what a command could not do."""
    sys.stderr.write(f"metertap {command}: {printable(problem)}\n")


def show(tables: Iterable[Table], width: int | None = None) -> None:
    """Print tables to stdout, in lines of at most `width` characters where that is given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal speaks UTF-8
    # A pipe has no width: whoever reads it wants whole lines.
    if sys.stdout.isatty() and has_rich():
        from rich.console import Console

        columns = Console().width if width is None else min(width, Console().width)
        for table in tables:
            Console(width=max(columns, _least_width(table))).print(to_rich(table), "")
    else:
        for table in tables:
            sys.stdout.write(plain(table, width) + "\n")


def to_rich(table: Table) -> Any:
    """Return the same as a rich table."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        title=Text(printable(table.title)),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption=Text(printable(table.legend)) if table.legend else None,
        caption_justify="left",
        show_header=any(table.headers),
    )
    for header, width in zip(table.headers, _widths(table), strict=True):
        if header in table.right:
            made.add_column(header, justify="right", no_wrap=True)
        else:
            made.add_column(header, overflow="fold", min_width=min(width, _NARROWEST))
    for index, row in enumerate(table.rows):
        # Text, not markup: a tool may be named "[red]".
        cells = (Text(printable(cell)) for cell in row)
        made.add_row(*cells, style=table.styles.get(index))
    return made


def plain(table: Table, width: int | None = None) -> str:
    """Return the same as text in columns, in lines of at most `width` characters if need be."""
    out = _folded(printable(table.title), width) if table.title else []
    widths = _widths(table)
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
    if table.legend:
        out.append(f"  {printable(table.legend)}")
    return "\n".join(out) + "\n"


def _folded(text: str, width: int | None) -> list[str]:
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _narrow(table: Table, widths: list[int], width: int) -> None:
    """Take from the widest columns of text what is too much; numbers are never folded."""
    texts = [at for at, header in enumerate(table.headers) if header not in table.right]
    while sum(widths) + 2 * len(widths) > width:
        widest = max(texts, key=lambda at: widths[at])
        if widths[widest] <= _NARROWEST:
            return
        widths[widest] -= 1


def _widths(table: Table) -> list[int]:
    """Return the width of the widest cell of each column."""
    lines = (table.headers, *table.rows)
    return [max(map(len, map(printable, column))) for column in zip(*lines, strict=True)]


def _least_width(table: Table) -> int:
    """Return the width at which every number is on one line."""
    return 2 * (len(table.headers) - 1) + sum(
        width if header in table.right else min(width, _NARROWEST)
        for header, width in zip(table.headers, _widths(table), strict=True)
    )
