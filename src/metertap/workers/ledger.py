"""What one worker has to tell: its own items now, and what of them is new to somebody."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from metertap import locks
from metertap.recording import Figures, Recorder
from metertap.workers.sections import Items, Key, Section, Sheet


class Ledger:
    """This worker's items, of every section. Any thread may ask."""

    def __init__(self, recorder: Recorder, sections: Sequence[Section]) -> None:
        self._recorder = recorder
        self.sections: Mapping[str, Section] = {section.name: section for section in sections}
        self._lock = locks.lock()
        self._kept: dict[str, Items] = {}

    def now(self, names: Iterable[str]) -> dict[str, Items]:
        """Return the items of some sections as they are now."""
        with self._lock:
            figures = self._recorder.lifetime()
            return {name: self._taken(name, figures) for name in names if name in self.sections}

    def forget(self) -> None:
        """Keep nothing: a forked child counts from zero."""
        self._kept = {}

    def _taken(self, name: str, figures: Figures) -> Items:
        self._kept[name] = self.sections[name].take(figures, self._kept.get(name, {}))
        return self._kept[name]


class Told:
    """What one holder has been told on one connection, so that only the rest is written."""

    def __init__(self) -> None:
        self._items: dict[str, Items] = {}

    def news(self, ledger: Ledger, sheet: Sheet) -> dict[str, Any]:
        """Write the items that are new; all of a section where one of its items is gone."""
        written = {}
        for name, items in sheet.items():
            before = self._items.get(name, {})
            is_whole = not before or not before.keys() <= items.keys()
            new = items if is_whole else _changed(before, items)
            written[name] = [is_whole, ledger.sections[name].encoded(new)]
            self._items[name] = items
        return {"at": time.monotonic(), "sections": written}


def _changed(before: Items, now: Items) -> dict[Key, Any]:
    return {key: item for key, item in now.items() if before.get(key) is not item}


def is_changed(before: Sheet, now: Sheet) -> bool:
    """Say whether any item of `now` is another than that of `before`."""
    return any(
        name not in before or len(before[name]) != len(items) or _changed(before[name], items)
        for name, items in now.items()
    )


class Merged:
    """Items of several workers as one; what was merged stays the same where nothing changed.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, Key], tuple[list[Any], Any]] = {}

    def of(self, section: Section, sheets: Sequence[Sheet]) -> dict[Key, Any]:
        """Merge the items of one section."""
        parts: dict[Key, list[Any]] = {}
        for sheet in sheets:
            for key, item in sheet.get(section.name, {}).items():
                parts.setdefault(key, []).append(item)
        found = {}
        for key, items in parts.items():
            if len(items) == 1:
                found[key] = items[0]
                continue
            kept = self._kept.get((section.name, key))
            if kept is None or not _are_same(kept[0], items):
                kept = self._kept[section.name, key] = items, section.merge(items)
            found[key] = kept[1]
        return found


def _are_same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(lambda a, b: a is b, one, other))
