"""The cursor in a table: the selected row, whether its details are shown, and the scrolling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Key = tuple[str, int | None, str]
"""The identity of a row at any position: its process's address and id, and its own name."""
_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}
_TURNS = {"page up": -1, "page down": 1}
_ENDS = {"home", "g", "end", "G"}


@dataclass(slots=True)
class Cursor:
    """A cursor that follows the selected row, whose position may change with every answer."""

    order: Sequence[Key] = ()
    """The rows from top to bottom."""
    selected: Key | None = None
    """The selected row. A filter that hides it does not deselect it, since it may come back."""
    is_unfolded: bool = False
    """Whether the details of the selected row are shown below it."""
    top: int = 0
    """The position of the first row that is shown."""
    into: int = 0
    """The number of lines of the details that are scrolled past."""
    page: int = 1
    """The number of lines that there is room for."""
    below: int = 0
    """The number of lines of the details."""

    def at(self) -> int | None:
        """Return the position of the selected row; None if none is selected or it is not listed."""
        if self.selected is None:
            return None
        try:
            return self.order.index(self.selected)
        except ValueError:
            return None

    def is_open(self) -> bool:
        """Return whether the details of a row are shown."""
        return self.is_unfolded and self.at() is not None

    def settle(self, page: int, below: int) -> None:
        """Scroll so that `page` lines show the selected row and its `below` lines of details.

        It is called before each drawing, since the room, rows and details may have changed.
        """
        self.page = max(1, page)
        self.below = below if self.is_open() else 0
        self.into = max(0, min(self.into, self._deepest()))
        visible = self.below - self.into
        self.top = max(0, min(self.top, len(self.order) + visible - self.page))
        at = self.at()
        if at is not None:
            self.top = max(self.top, at + visible + 1 - self.page)
            self.top = min(self.top, at)

    def to_start(self) -> None:
        """Scroll to the top; `settle` scrolls down again if the selected row is further below."""
        self.top = 0

    def press(self, key: str) -> bool:
        """Move, unfold or fold, and return whether the key is one of those that do."""
        if key in _MOVES:
            self._move(_MOVES[key])
        elif key in _TURNS:
            self._turn(_TURNS[key])
        elif key in _ENDS:
            self._go(0 if key in {"home", "g"} else len(self.order) - 1)
        elif key == "enter" and self.is_open():
            self.fold()
        elif key in {"right", "enter"}:
            self._unfold()
        elif key == "left":
            self.fold()
        else:
            return False
        return True

    def fold(self) -> None:
        """Hide the details of the selected row."""
        self.is_unfolded = False
        self.into = self.below = 0

    def release(self) -> None:
        """Select no row, so that the top of the table stays in view when rows change places."""
        self.fold()
        self.selected = None
        self.top = 0

    def _deepest(self) -> int:
        return max(0, self.below + 1 - self.page) if self.page > 1 else 0

    def _move(self, lines: int) -> None:
        """Scroll through details that are longer than the room, then move to the next row."""
        at = self.at()
        if at is None:
            self._begin()
            return
        into = max(0, min(self.into + lines, self._deepest()))
        if into == self.into:
            self._select(at + lines)
        else:
            self.into = into

    def _turn(self, pages: int) -> None:
        """Turn a page of the details while they have more, else of the rows."""
        at = self.at()
        lines = pages * self.page
        into = max(0, min(self.into + lines - pages, self._deepest()))  # the row takes one line
        if at is not None and into != self.into:
            self.into = into
            return
        self.top = max(0, min(self.top + lines, len(self.order) - self.page))
        if at is not None:
            self._select(at + lines)

    def _go(self, row: int) -> None:
        if self.at() is None:
            self.top = max(0, row)  # `settle` limits it to the last whole page
        else:
            self._select(row)

    def _unfold(self) -> None:
        if self.at() is None:
            self._begin()
        self.is_unfolded = True

    def _begin(self) -> None:
        """Select the first row on the screen."""
        self.fold()
        self._select(self.top)

    def _select(self, row: int) -> None:
        if not self.order:
            return
        key = self.order[max(0, min(row, len(self.order) - 1))]
        if key != self.selected:
            self.selected = key
            self.into = self.below = 0
