"""How wide each column is, and which ones there is room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

_ROOMY = 100
"""From this width on there are two blanks between columns."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a column would like: its natural width, the least it can do with, its rank."""

    natural: int
    least: int
    rank: int


@dataclass(frozen=True, slots=True)
class Fit:
    """The columns that there is room for, their widths, and the blanks between them."""

    columns: tuple[int, ...]
    widths: tuple[int, ...]
    gap: int


def fit(wishes: Sequence[Wish], width: int) -> Fit:
    """Leave out columns of the highest rank until the rest fits; share out what is left."""
    gap = 2 if width >= _ROOMY else 1
    kept = list(range(len(wishes)))

    def least() -> int:
        return sum(wishes[index].least for index in kept) + gap * (len(kept) - 1)

    while least() > width:
        last = max(kept, key=lambda index: wishes[index].rank)
        if wishes[last].rank == 0:
            break  # the terminal cuts off what is too much even so
        kept.remove(last)
    widths = {index: wishes[index].least for index in kept}
    spare = width - least()
    while spare > 0:
        wanting = [index for index in kept if widths[index] < wishes[index].natural]
        if not wanting:
            break
        worst = min(wanting, key=lambda index: widths[index] / wishes[index].natural)
        widths[worst] += 1
        spare -= 1
    return Fit(tuple(kept), tuple(widths.values()), gap)


def shortened(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in `width` cells, its middle left out where it is too long: both ends tell apart."""
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
