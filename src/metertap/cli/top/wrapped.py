"""Lines of exactly the room that there is: things one after the other, sentences, small tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.text import Text

from metertap.cli.tables import printable
from metertap.cli.top.layout import Wish, fit, shortened

Item = tuple[str, str]
"""A text and its style."""
_LABEL = 12
_BETWEEN = " · "
_LEAST_FIRST = 17
_MOST_FIRST = 60


def items(label: str, found: Iterable[Item], width: int) -> list[Text]:
    """Things under a label; a line ends between two of them."""
    room = max(1, width - _LABEL)
    lines = [_labelled(label)]
    for text, style in found:
        text = shortened(printable(text), room)
        is_first = lines[-1].cell_len <= _LABEL
        if not is_first and lines[-1].cell_len + len(_BETWEEN) + cell_len(text) > width:
            lines.append(_labelled(""))
            is_first = True
        if not is_first:
            lines[-1].append(_BETWEEN, "dim")
        lines[-1].append(text, style)
    return lines


def sentence(label: str, text: str, width: int) -> list[Text]:
    """Words under a label."""
    parts = textwrap.wrap(text, max(1, width - _LABEL)) or [""]
    return [_labelled("" if at else label).append(part) for at, part in enumerate(parts)]


def grid(
    titles: Sequence[str], ranks: Sequence[int], rows: Sequence[Sequence[Item]], width: int
) -> list[Text]:
    """Names at the left, figures under each other; those of the highest rank are left out first."""
    cells = [[(title, "dim") for title in titles], *rows]
    cells = [[(printable(text), style) for text, style in row] for row in cells]
    wishes = []
    for index, rank in enumerate(ranks):
        natural = max(cell_len(row[index][0]) for row in cells)
        if index:
            wishes.append(Wish(natural + 1, natural + 1, rank))
        else:
            natural = min(natural, _MOST_FIRST)
            wishes.append(Wish(natural, min(natural, _LEAST_FIRST), rank))
    fitted = fit(wishes, width)
    lines = []
    for row in cells:
        line = _line("")
        for index, wide in zip(fitted.columns, fitted.widths, strict=True):
            text, style = row[index]
            text = shortened(text, wide)
            blanks = " " * (wide - cell_len(text))
            if index:
                line.append(" " * fitted.gap + blanks).append(text, style)
            else:
                line.append(text, style).append(blanks)
        lines.append(line)
    return lines


def _labelled(label: str) -> Text:
    return _line("").append(label.ljust(_LABEL), "dim")


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, end="\n")
