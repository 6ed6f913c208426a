"""Layout of columns and wrapped lines within a width, in signs that the terminal can show."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from metertap.text import printable

Item = tuple[str, str]
"""A text and its style."""
_ROOMY = 100
"""The least width of a screen that has two blanks between columns; a narrower one has one."""
_LABEL = 12
_BETWEEN = " · "
_LEAST_FIRST = 17
_MOST_FIRST = 60
_STAND_INS = str.maketrans(
    {"–": "-", "≈": "~", "…": "~", "✕": "x", "▲": "^", "▼": "v", "·": "-", "µ": "u"}
    | {"←": "<", "→": ">", "↑": "^", "↓": "v", "“": '"', "”": '"', "│": "|", "’": "'"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.,-~=+#", strict=True))
)
"""Replacements for signs that a terminal cannot show, each as wide as the sign."""


class Signs:
    """Conversion of text to signs that a terminal of the given encoding can show."""

    def __init__(self, encoding: str) -> None:
        try:
            "–≈…✕▲▼·µ←↑“│▁█".encode(encoding)
            self._has_all = True
        except (UnicodeError, LookupError):
            self._has_all = False

    def plain(self, text: str) -> str:
        """Return `text`, with replacements for signs that cannot be shown."""
        return text if self._has_all else text.translate(_STAND_INS)

    def text(self, text: str, style: str = "") -> Text:
        """Return one line of text for rich, with replacements for signs that cannot be shown."""
        return Text(self.plain(text), style=style, no_wrap=True, end="\n")

    def of(self, line: Text) -> Text:
        """Replace signs in a line that cannot be shown, and return the line with its styles."""
        if not self._has_all:
            line.plain = self.plain(line.plain)
        return line

    def cut(self, line: Text, width: int) -> Text:
        """Cut a line off at `width`, and return it."""
        line.truncate(width, overflow="ellipsis" if self._has_all else "crop")
        return line


# Columns


@dataclass(frozen=True, slots=True)
class ColumnRequest:
    """The widths that a column asks for in cells, and the rank by which it is left out."""

    natural: int
    least: int
    rank: int


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns that there is room for, their widths, and the blanks between them."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    gap: int


def lay_out(requests: Sequence[ColumnRequest], width: int) -> ColumnLayout:
    """Leave out columns of the highest rank until the rest fits, then widen the narrowed ones."""
    gap = 2 if width >= _ROOMY else 1
    kept = list(range(len(requests)))

    def least() -> int:
        return sum(requests[index].least for index in kept) + gap * (len(kept) - 1)

    while least() > width:
        last = max(kept, key=lambda index: requests[index].rank)
        if requests[last].rank == 0:
            break  # what still does not fit is cut off by the terminal
        kept.remove(last)
    widths = {index: requests[index].least for index in kept}
    spare = width - least()
    while spare > 0:
        wanting = [index for index in kept if widths[index] < requests[index].natural]
        if not wanting:
            break
        worst = min(wanting, key=lambda index: widths[index] / requests[index].natural)
        widths[worst] += 1
        spare -= 1
    return ColumnLayout(tuple(kept), tuple(widths.values()), gap)


def shortened(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` in at most `width` cells, with an ellipsis for the middle if it is too long.

    Names that differ only at the beginning or only at the end can still be told apart.
    """
    if cell_len(text) <= width:
        return text
    if width < 2:
        return set_cell_size(text, max(0, width))
    tail = (width - 1) // 2
    head = width - 1 - tail
    end = text
    while cell_len(end) > tail:
        end = end[1:]
    start = text
    while cell_len(start) > head:
        start = start[:-1]
    return start + ellipsis + end


# Lines under labels


def items(label: str, found: Iterable[Item], width: int) -> list[Text]:
    """Lay out items to the right of a label, in as many lines as they need."""
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
    """Lay out a sentence to the right of a label, in as many lines as it needs."""
    parts = textwrap.wrap(text, max(1, width - _LABEL)) or [""]
    return [_labelled("" if at else label).append(part) for at, part in enumerate(parts)]


def grid(
    titles: Sequence[str], ranks: Sequence[int], rows: Sequence[Sequence[Item]], width: int
) -> list[Text]:
    """Lay out a table of names and figures; columns of high ranks are left out first."""
    cells = [[(title, "dim") for title in titles], *rows]
    cells = [[(printable(text), style) for text, style in row] for row in cells]
    requests = []
    for index, rank in enumerate(ranks):
        natural = max(cell_len(row[index][0]) for row in cells)
        if index:
            requests.append(ColumnRequest(natural + 1, natural + 1, rank))
        else:
            natural = min(natural, _MOST_FIRST)
            requests.append(ColumnRequest(natural, min(natural, _LEAST_FIRST), rank))
    layout = lay_out(requests, width)
    lines = []
    for row in cells:
        line = _line("")
        for index, wide in zip(layout.columns, layout.widths, strict=True):
            text, style = row[index]
            text = shortened(text, wide)
            blanks = " " * (wide - cell_len(text))
            if index:
                line.append(" " * layout.gap + blanks).append(text, style)
            else:
                line.append(text, style).append(blanks)
        lines.append(line)
    return lines


def _labelled(label: str) -> Text:
    return _line("").append(label.ljust(_LABEL), "dim")


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, end="\n")
