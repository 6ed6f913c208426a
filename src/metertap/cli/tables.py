"""Tables: with rich on a terminal, where it is installed (extra `cli`); else text in columns."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
from collections.abc import Iterable
from typing import Any

from metertap.tables.table import NARROWEST, Table, column_widths, plain
from metertap.text import printable


def has_rich() -> bool:
    """Return whether rich can be imported."""
    return importlib.util.find_spec("rich") is not None


def complain(command: str, problem: str) -> None:
    """Print on stderr, in one line, what a command could not do."""
    sys.stderr.write(f"metertap {command}: {printable(problem)}\n")


def write_json(document: object) -> None:
    """Write JSON to stdout, in printable ASCII characters only."""
    # JSON escapes every other control character.
    sys.stdout.write(json.dumps(document, indent=2).replace("\x7f", "\\u007f") + "\n")


def show(tables: Iterable[Table], width: int | None = None) -> None:
    """Print tables to stdout, in lines of at most `width` characters if given."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # some terminals do not use UTF-8
    # A pipe has no width: its reader wants whole lines.
    if sys.stdout.isatty() and has_rich():
        from rich.console import Console

        # Given to rich, which would take COLUMNS and LINES for numbers if they only look like some.
        columns, lines = shutil.get_terminal_size()
        columns = columns if width is None else min(width, columns)
        for table in tables:
            console = Console(width=max(columns, _least_width(table)), height=lines)
            console.print(to_rich(table), "")
    else:
        for table in tables:
            sys.stdout.write(plain(table, width) + "\n")


def to_rich(table: Table) -> Any:
    """Return the table as rich's own kind of table."""
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
        caption=Text(table.legend) if table.legend else None,
        caption_justify="left",
        show_header=any(table.headers),
    )
    for header, width in zip(table.headers, column_widths(table), strict=True):
        if header in table.right:
            made.add_column(header, justify="right", no_wrap=True)
        else:
            made.add_column(header, overflow="fold", min_width=min(width, NARROWEST))
    for index, row in enumerate(table.rows):
        # Text, not markup: a tool may be named "[red]".
        cells = (Text(printable(cell)) for cell in row)
        made.add_row(*cells, style=table.styles.get(index))
    return made


def _least_width(table: Table) -> int:
    """Return the width at which every number stays on one line."""
    return 2 * (len(table.headers) - 1) + sum(
        width if header in table.right else min(width, NARROWEST)
        for header, width in zip(table.headers, column_widths(table), strict=True)
    )
