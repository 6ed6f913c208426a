"""The items that one worker reports, and those of several workers merged into one."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain, compress
from typing import Any

from metertap import faults, locks
from metertap.recording import Figures, Recorder
from metertap.workers.merging import Windows
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
            figures = self._recorder.lifetime(is_bare=True)
            return {name: self._taken(name, figures) for name in names if name in self.sections}

    def forget(self) -> None:
        """Forget all items: a forked child counts from zero."""
        self._kept = {}

    def _taken(self, name: str, figures: Figures) -> Items:
        before = self._kept.setdefault(name, {})
        now = self.sections[name].take(figures, before)
        if before is now or (len(before) == len(now) and not _are_others(before, now)):
            return before  # the same object, by which it is seen that nothing has changed
        self._kept[name] = now
        return now


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
        self._windows: dict[str, dict[Key, Windows]] = {}
        self._sections: dict[str, tuple[list[Items], dict[Key, Any]]] = {}

    def of(self, section: Section, sheets: Sequence[Sheet]) -> dict[Key, Any]:
        """Merge the items of one section."""
        given = [sheet[section.name] for sheet in sheets if section.name in sheet]
        before, found = self._sections.get(section.name, ([], {}))
        if before and _are_same(before, given):
            return found
        keys: Collection[Key] | None = _changed(before, given)
        if keys is None:
            keys = dict.fromkeys(chain.from_iterable(given))
            found = {key: found[key] for key in keys if key in found}
        groups: dict[int, dict[Key, Sequence[Any]]] = {}
        known = [one for one in given if one]
        try:  # as usual, all have all of them
            items_of = zip(*(map(one.__getitem__, keys) for one in known), strict=True)
            if keys:
                groups[len(known)] = dict(zip(keys, items_of, strict=True))
        except KeyError:
            for key in keys:
                items = [one[key] for one in given if key in one]
                groups.setdefault(len(items), {})[key] = items
        merged: dict[Key, Any] = {}
        for group in groups.values():
            merged |= self._merged(section, group)
        is_whole = len(merged) == len(keys)
        if len(groups) > 1 or not is_whole:
            merged = {key: merged[key] for key in keys if key in merged}
        found = {**found, **merged}
        self._sections[section.name] = given if is_whole else [], found
        return found

    def _merged(self, section: Section, items: Mapping[Key, Sequence[Any]]) -> dict[Key, Any]:
        """Merge items of as many workers each; after a fault of ours an item is what it was."""
        given: list[Any] = [[*items.values()]]
        if section.has_windows:
            windows = self._windows.setdefault(section.name, {})
            windows |= {key: Windows() for key in items if key not in windows}
            given.append([*map(windows.__getitem__, items)])
        try:
            return dict(zip(items, section.merge(*given), strict=True))
        except Exception as error:
            if len(items) == 1:
                faults.fault("workers.merged", error)
                return {}
        one_by_one = [self._merged(section, {key: found}) for key, found in items.items()]
        return {key: item for found in one_by_one for key, item in found.items()}


def _are_same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _changed(before: Sequence[Items], now: Sequence[Items]) -> set[Key] | None:
    """Return the keys of new and changed items; None where an item or a worker is gone."""
    if len(before) != len(now):
        return None
    found: set[Key] = set()
    for old, new in zip(before, now, strict=True):
        if old is not new:
            if not old.keys() <= new.keys():
                return None
            found.update(compress(new, map(operator.is_not, new.values(), map(old.get, new))))
    return found
