"""What one worker tells another about a section: all items at first, later only changes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from operator import is_not
from typing import Any, NamedTuple

from metertap.workers.checking import Malformed
from metertap.workers.rows import Items, Key, Rows, Written

MOST_ITEMS = 100_000
"""The most items of one section."""


class Changes(NamedTuple):
    """Changes of one section: new keys, and items by their numbers.

    Keys are numbered in the order in which they were sent.
    """

    are_all: bool
    """Whether these are all items, so that numbers begin again."""
    keys: Sequence[Key]
    numbers: Sequence[int]
    items: Any
    """A list of items; for a section with columns, after reading, `Written`."""
    before: Sequence[Any] = ()
    """The asker's former items in these places, or None: of their windows only the rest is sent."""


class Told:
    """The items of one section that an asker already has, so that only the rest is sent."""

    def __init__(self) -> None:
        self._items: Items | None = None
        self._numbers: dict[Key, int] = {}

    def has(self, now: Items) -> bool:
        """Return whether the asker has exactly these items."""
        return self._items is now

    def changes(self, now: Items) -> Changes:
        """Return the changes; if an earlier item is gone, all items."""
        before, self._items, numbers = self._items, now, self._numbers
        if before is not None and [*before] == [*now]:  # as usual
            are_all, keys = False, list[Key]()
            new = [*compress(now, map(is_not, now.values(), before.values()))]
        else:
            are_all = before is None or not before.keys() <= now.keys()
            if before is None or are_all:
                before = {}
                numbers.clear()
            keys = [key for key in now if key not in numbers]
            numbers.update(zip(keys, range(len(numbers), len(numbers) + len(keys)), strict=True))
            new = [key for key, item in now.items() if before.get(key) is not item]
        return Changes(
            are_all,
            keys,
            [*map(numbers.__getitem__, new)],
            [*map(now.__getitem__, new)],
            [*map(before.get, new)],
        )


class Heard:
    """The items of one section of another worker, the same object until something changes."""

    def __init__(self) -> None:
        self.items: Items = {}
        self._keys: list[Key] = []

    def take(self, changes: Changes) -> None:
        """Apply changes. Raises Malformed."""
        known = [] if changes.are_all else self._keys
        keys = [*known, *changes.keys]
        if len(keys) > MOST_ITEMS:
            raise Malformed("there are too many items")
        if changes.numbers and max(changes.numbers) >= len(keys):
            raise Malformed("an item has no key")
        if isinstance(changes.items, Written):
            before = self.items if known and isinstance(self.items, Rows) else Rows()
            self.items = before.after(changes.keys, changes.numbers, changes.items)
        elif changes.items or changes.are_all:
            new = dict(zip(map(keys.__getitem__, changes.numbers), changes.items, strict=True))
            self.items = new if changes.are_all else {**self.items, **new}
        self._keys = keys
