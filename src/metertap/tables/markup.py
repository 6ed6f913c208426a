"""Tables as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from metertap.tables.table import Table
from metertap.text import printable


def html(tables: Iterable[Table], said: str = "", page: str | None = None) -> str:
    """Return a sentence, a link to the page, and tables, as one piece of HTML.

    All text in it is escaped.
    """
    above = f"<p>{_escaped(said)}</p>" if said else ""
    if page is not None:
        address = _escaped(page)
        above += f'<p><a href="{address}" target="_blank" rel="noopener">{address}</a></p>'
    return f"<div>{above}{''.join(map(_table, tables))}</div>"


def _table(table: Table) -> str:
    legend = "".join(
        f"<p><small>{_escaped(line)}</small></p>" for line in table.legend.splitlines()
    )
    if not table.rows:
        return f"<p>{_escaped(table.title)}</p>{legend}"
    head = "".join(_cell("th", header, header in table.right) for header in table.headers)
    rows = "".join(
        "<tr>"
        + "".join(
            _cell("td", cell, header in table.right)
            for header, cell in zip(table.headers, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    caption = f"<caption>{_escaped(table.title)}</caption>" if table.title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{legend}"


def _cell(tag: str, text: str, is_number: bool) -> str:
    side = "right" if is_number else "left"
    return f'<{tag} style="text-align: {side}">{_escaped(text)}</{tag}>'


def _escaped(text: str) -> str:
    return escape(printable(text))
