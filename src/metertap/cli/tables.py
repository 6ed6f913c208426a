"""Tables for the terminal: with rich where it is installed (extra `cli`), plain text without."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Table:
    """Rows of text under headers; columns named in `right` hold numbers."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    right: frozenset[str] = frozenset()
    styles: dict[int, str] = field(default_factory=dict)  # row → style, where there is colour


def has_rich() -> bool:
    """Whether rich can be imported."""
    return importlib.util.find_spec("rich") is not None


def show(tables: Iterable[Table]) -> None:
    """Print tables to stdout."""
    if has_rich():
        from rich.console import Console

        console = Console()
        for table in tables:
            console.print(to_rich(table))
    else:
        for table in tables:
            sys.stdout.write(plain(table) + "\n")


def to_rich(table: Table) -> Any:
    """The same as a rich table."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    made = RichTable(
        title=Text(table.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for header in table.headers:
        made.add_column(
            header, justify="right" if header in table.right else "left", overflow="fold"
        )
    for index, row in enumerate(table.rows):
        # Text, not markup: a tool may be named "[red]".
        made.add_row(*(Text(cell) for cell in row), style=table.styles.get(index))
    return made


def plain(table: Table) -> str:
    """The same as text in columns."""
    lines = [list(table.headers), *(list(row) for row in table.rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.headers))]
    out = [table.title]
    for line in lines:
        cells = [
            cell.rjust(width) if header in table.right else cell.ljust(width)
            for cell, width, header in zip(line, widths, table.headers, strict=True)
        ]
        out.append("  " + "  ".join(cells).rstrip())
    return "\n".join(out) + "\n"
