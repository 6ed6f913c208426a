"""What whoever looks has chosen: table, sorting, filter, place; and what each key does to that."""

from __future__ import annotations

from dataclasses import dataclass, field

from metertap.cli.top.columns import CACHES, TOOLS
from metertap.cli.top.readings import Cache, Tool
from metertap.cli.top.table_state import Part

_LONGEST_FILTER = 100


@dataclass(slots=True)
class View:
    """Everything that keys change."""

    tools: Part[Tool] = field(default_factory=lambda: Part(TOOLS, "p95"))
    caches: Part[Cache] = field(default_factory=lambda: Part(CACHES, "hit %"))
    caches_have_focus: bool = False
    filter: str = ""
    is_typing: bool = False
    shows_keys: bool = False
    has_ended: bool = False

    def press(self, key: str) -> None:
        """Do what a key is for; one that is for nothing does nothing."""
        if self.is_typing:
            self._type(key)
        elif key == "q":
            self.has_ended = True
        elif self.shows_keys:
            self.shows_keys = False
        elif key == "?":
            self.shows_keys = True
        elif key == "/":
            self.is_typing = True
        elif key == "escape":
            self._step_back()
        elif key in {"tab", "back tab"}:
            self.caches_have_focus = not self.caches_have_focus
        else:
            self.focused().press(key)

    def focused(self) -> Part[Tool] | Part[Cache]:
        """The table that keys are for. One that is empty is not shown, or has nothing to press."""
        return self.caches if self.caches_have_focus and self.caches.rows else self.tools

    def _step_back(self) -> None:
        """Undo one thing: what is unfolded, the filter, the selection."""
        place = self.focused().place
        if place.is_open():
            place.fold()
        elif self.filter:
            self._filter("")
        else:
            place.release()

    def _type(self, key: str) -> None:
        if key in {"enter", "escape"}:
            self.is_typing = False
            if key == "escape":
                self._filter("")
        elif key == "backspace":
            self._filter(self.filter[:-1])
        elif key == "clear line":
            self._filter("")
        elif len(key) == 1:
            self._filter((self.filter + key)[:_LONGEST_FILTER])

    def _filter(self, text: str) -> None:
        self.filter = text
        for part in (self.tools, self.caches):
            part.search(text)
