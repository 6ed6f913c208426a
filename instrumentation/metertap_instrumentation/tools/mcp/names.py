"""Names that the other side has confirmed: only then a requested name becomes a label."""

from __future__ import annotations

from collections.abc import Iterable

from metertap import catalogue, state

_LIMIT = 1000
_LISTED_LIMIT = 10_000
"""The most names of one server's list that are kept: it may list the tools of others."""
_LONGEST = 1000
"""The most characters of a name that is kept: a server on the other side makes names up."""


class KnownNames:
    """Names that may become labels: learnt from answers, never from requests, and limited.

    An object lives as long as the process; `reset()` empties it.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        state.on_reset(self._forget)

    def _forget(self, *_: object) -> None:
        self._names.clear()

    def learn(self, name: str) -> None:
        """Learn that `name` exists, since the other side answered for it."""
        if name not in self._names and len(self._names) < _LIMIT and len(name) <= _LONGEST:
            self._names.add(name)

    def label(self, name: str) -> str:
        """Return `name` itself if it is known, else `_OTHER`."""
        return name if name in self._names else catalogue.OTHER


class ToolList:
    """The tools that one server listed in `tools/list`, perhaps page by page.

    If it has listed too many, the list does not tell which tools do not exist. Nor does it tell
    that of names that are too long to be kept.
    """

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._complete = False
        self._next: str | None = None
        self.is_paged = False

    def add(self, names: Iterable[str], cursor: str | None, next_cursor: str | None) -> None:
        """Add the page at `cursor`. The last page of an unbroken sequence completes the list."""
        for name in names:
            if len(self._names) < _LISTED_LIMIT and len(name) <= _LONGEST:
                self._names.add(name)
        self.is_paged = self.is_paged or next_cursor is not None
        if cursor is None or cursor == self._next:
            self._complete = self._complete or next_cursor is None
            self._next = next_cursor

    def knows(self, name: str) -> bool | None:
        """Return whether there is such a tool; None while that is unknown."""
        if name in self._names:
            return True
        is_whole = self._complete and len(self._names) < _LISTED_LIMIT
        return False if is_whole and len(name) <= _LONGEST else None
