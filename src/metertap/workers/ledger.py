"""The items that one worker reports, and those of several workers merged into one."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metertap import locks
from metertap.recording import Figures, Recorder
from metertap.workers.sections import Items, Key, Section, Sheet


class Ledger:
    """The items of this worker, section by section. Any thread may ask."""

    def __init__(self, recorder: Recorder, sections: Sequence[Section]) -> None:
        self._recorder = recorder
        self.sections: Mapping[str, Section] = {section.name: section for section in sections}
        self.telling = [section.name for section in sections if section.tells_change]
        """Sections whose changes are saved."""
        self._lock = locks.lock()
        self._kept: dict[str, Items] = {}

    def now(self, names: Iterable[str]) -> dict[str, Items]:
        """Return the items of some sections as they are now."""
        with self._lock:
            figures = self._recorder.lifetime()
            return {name: self._taken(name, figures) for name in names if name in self.sections}

    def forget(self) -> None:
        """Forget all items: a forked child counts from zero."""
        self._kept = {}

    def _taken(self, name: str, figures: Figures) -> Items:
        before = self._kept.setdefault(name, {})
        now = self.sections[name].take(figures, before)
        if len(before) == len(now) and not _are_others(before, now):
            return before  # the same object, by which it is seen that nothing has changed
        self._kept[name] = now
        return now


"""The items that one worker reports, and those of several workers merged into one."""


def _are_others(before: Items, now: Items) -> bool:
    return any(before.get(key) is not item for key, item in now.items())


def is_changed(before: Sheet, now: Sheet) -> bool:
    """Return whether any section of `now` differs from that of `before`."""
    return any(before.get(name) is not items for name, items in now.items())


class Merged:
    """Items of several workers as one; merged items stay the same if nothing changed.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, Key], tuple[list[Any], Any]] = {}
        self._sections: dict[str, tuple[list[Items], dict[Key, Any]]] = {}

    def of(self, section: Section, sheets: Sequence[Sheet]) -> dict[Key, Any]:
        """Merge the items of one section."""
        given = [sheet[section.name] for sheet in sheets if section.name in sheet]
        known = self._sections.get(section.name)
        if known is not None and _are_same(known[0], given):
            return known[1]
        parts: dict[Key, list[Any]] = {}
        for items in given:
            for key, item in items.items():
                parts.setdefault(key, []).append(item)
        found = {key: self._merged(section, key, items) for key, items in parts.items()}
        self._sections[section.name] = given, found
        return found

    def _merged(self, section: Section, key: Key, items: list[Any]) -> Any:
        if len(items) == 1:
            return items[0]
        kept = self._items.get((section.name, key))
        if kept is None or not _are_same(kept[0], items):
            kept = self._items[section.name, key] = items, section.merge(items)
        return kept[1]


def _are_same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))
