"""Tables: with rich on a terminal, where it is installed (extra `cli`); else text in columns."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_NARROWEST = 10
"""Width below which no column of text is folded: a terminal that is too narrow wraps its lines."""


@dataclass(slots=True)
class Table:
    """Rows of text under headers; columns named in `right` hold numbers."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: frozenset[str] = frozenset()
    styles: dict[int, str] = field(default_factory=dict)  # row → style, where there is colour
    legend: str = ""
    """One line below."""


def printable(text: str) -> str:
    """`text` with everything escaped that a terminal would act on instead of showing it.

    Names come from other processes: control sequences, line ends, characters that reverse the
    direction of a line.
    """
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def has_rich() -> bool:
    """Whether rich can be imported."""
    return importlib.util.find_spec("rich") is not None


def show(tables: Iterable[Table]) -> None:
    """Print tables to stdout."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal speaks UTF-8
    # A pipe has no width: whoever reads it wants whole lines.
    if sys.stdout.isatty() and has_rich():
        from rich.console import Console

        width = Console().width
        for table in tables:
            Console(width=max(width, _least_width(table))).print(to_rich(table), "")
    else:
        for table in tables:
            sys.stdout.write(plain(table) + "\n")


def to_rich(table: Table) -> Any:
    """The same as a rich table."""
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


def plain(table: Table) -> str:
    """The same as text in columns."""
    out = [printable(table.title)] if table.title else []
    headers = [table.headers] if any(table.headers) else []
    for line in (*headers, *table.rows):
        cells = [
            printable(cell).rjust(width) if header in table.right else printable(cell).ljust(width)
            for cell, width, header in zip(line, _widths(table), table.headers, strict=True)
        ]
        out.append("  " + "  ".join(cells).rstrip())
    if table.legend:
        out.append(f"  {printable(table.legend)}")
    return "\n".join(out) + "\n"


def _widths(table: Table) -> list[int]:
    """The widest cell of each column."""
    lines = (table.headers, *table.rows)
    return [max(map(len, map(printable, column))) for column in zip(*lines, strict=True)]


def _least_width(table: Table) -> int:
    """The width at which every number is on one line."""
    return 2 * (len(table.headers) - 1) + sum(
        width if header in table.right else min(width, _NARROWEST)
        for header, width in zip(table.headers, _widths(table), strict=True)
    )
