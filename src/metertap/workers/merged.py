"""The items of several workers as one; only changed items are merged again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any, NamedTuple

from metertap import faults
from metertap.workers.columns import chooser
from metertap.workers.rows import (
    Items,
    Key,
    Rows,
    Sheet,
    changed_places,
    have_same_places,
    places_of,
    table_of,
    windows_of,
)
from metertap.workers.sections import Section
from metertap.workers.together import Together, Windows


class _Share(NamedTuple):
    """One worker's items and its former ones, by places."""

    items: Items
    places: Sequence[int]
    before: Items | None = None
    places_before: Sequence[int | None] = ()


class _Group(NamedTuple):
    """Items that the same workers have."""

    keys: Sequence[Key]
    places: Mapping[int, Sequence[int]]
    """The places of the items in each of these workers."""


class _State(NamedTuple):
    """A section after its last merge."""

    given: Sequence[Items] = ()
    """The items of each worker; empty if it is unknown how far windows have moved."""
    found: Mapping[Key, Any] = {}
    groups: Sequence[_Group] = ()
    where: Sequence[Sequence[tuple[int, int]]] = ()
    """For each worker, the group of each of its items, and the place in the group."""


class Merged:
    """Items of several workers as one; an unchanged item stays the same object.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._windows: dict[str, dict[Key, dict[int, Together]]] = {}
        self._states: dict[str, _State] = {}

    def of(self, section: Section, sheets: Sequence[Sheet]) -> Mapping[Key, Any]:
        """Merge the items of one section."""
        given = [sheet[section.name] for sheet in sheets if section.name in sheet]
        state = self._states.get(section.name, _State())
        is_known = len(given) == len(state.given) > 0
        if is_known and all(map(is_, given, state.given)):
            return state.found
        # A fault below would leave it unknown how far windows have moved.
        self._states[section.name] = _State(found=state.found)
        order: Iterable[Key] = state.found
        if is_known and all(map(have_same_places, state.given, given)):
            shares = _changed(state, given)
        else:
            order = dict.fromkeys(chain.from_iterable(given))
            state, shares = _anew(state, given, order)
        merged: dict[Key, Any] = {}
        for keys, of_each in shares:
            merged |= self._merged(section, keys, of_each)
        found = {**state.found, **merged}
        if order is not state.found:
            found = {key: found[key] for key in order if key in found}
        is_whole = len(merged) == sum(len(keys) for keys, _ in shares)
        if is_whole:
            self._states[section.name] = state._replace(given=given, found=found)
        else:
            self._states[section.name] = _State(found=found)
        return found

    def _merged(
        self, section: Section, keys: Sequence[Key], shares: Sequence[_Share]
    ) -> dict[Key, Any]:
        """Merge items that all these workers have; after a fault, the former item stays."""
        try:
            if not section.has_columns:
                items = zip(*(map(one.items.__getitem__, keys) for one in shares), strict=True)
                return dict(zip(keys, section.merge([*items]), strict=True))
            togethers: list[dict[int, Together]] = []
            if section.has_windows:
                known = self._windows.setdefault(section.name, {})
                togethers = [known.setdefault(key, {}) for key in keys]
            tables = [table_of(one.items, one.places) for one in shares]
            before = [
                windows_of(one.before, one.places_before)
                for one in shares
                if one.before is not None
            ]
            now = [table.windows for table in tables]
            made = section.merge(tables, Windows(togethers, before, now))
            return dict(zip(keys, made, strict=True))
        except Exception as error:
            reason = error
        if len(keys) == 1:
            faults.fault("workers.merged", reason)
            return {}
        merged: dict[Key, Any] = {}
        for number, key in enumerate(keys):
            alone = [_Share(one.items, [one.places[number]]) for one in shares]
            merged |= self._merged(section, [key], alone)
        if len(merged) == len(keys):
            faults.fault("workers.merged", reason)  # the fault is not of a single item
        return merged


_Shares = list[tuple[Sequence[Key], Sequence[_Share]]]


def _changed(state: _State, given: Sequence[Items]) -> _Shares:
    """Return the changes, if all workers have the same items as before."""
    changed = [set[int]() for _ in state.groups]
    for worker, (before, now) in enumerate(zip(state.given, given, strict=True)):
        if now is before:
            continue
        where = state.where[worker]
        for place in changed_places(before, now):
            number, there = where[place]
            changed[number].add(there)
    found: _Shares = []
    for numbers, (keys, places_of_each) in zip(changed, state.groups, strict=True):
        if numbers:
            take = chooser(sorted(numbers))
            shares = []
            for worker, all_places in places_of_each.items():
                places = take(all_places)
                shares.append(_Share(given[worker], places, state.given[worker], places))
            found.append((take(keys), shares))
    return found


def _anew(state: _State, given: Sequence[Items], keys: Iterable[Key]) -> tuple[_State, _Shares]:
    """Group all items by the workers that have them, and return the changes."""
    places = [*map(places_of, given)]
    having: dict[tuple[int, ...], list[Key]] = {}
    for key in keys:
        workers = tuple(worker for worker, known in enumerate(places) if key in known)
        having.setdefault(workers, []).append(key)
    groups = [
        _Group(those, {worker: [*map(places[worker].__getitem__, those)] for worker in workers})
        for workers, those in having.items()
    ]
    where: list[list[tuple[int, int]]] = [[(0, 0)] * len(items) for items in given]
    for number, group in enumerate(groups):
        for worker, of_worker in group.places.items():
            for there, place in enumerate(of_worker):
                where[worker][place] = number, there
    new = _changed_keys(state.given, given)
    before = [*map(places_of, state.given)] if new is not None else []
    shares: _Shares = []
    for group in groups:
        those = [key for key in group.keys if new is None or key in new]
        if those:
            shares.append(
                (
                    those,
                    [
                        _Share(
                            given[worker],
                            [*map(places[worker].__getitem__, those)],
                            *(
                                (state.given[worker], [*map(before[worker].get, those)])
                                if before
                                else ()
                            ),
                        )
                        for worker in group.places
                    ],
                )
            )
    found = {key: state.found[key] for key in keys if key in state.found}
    return _State((), found, groups, where), shares


def _changed_keys(before: Sequence[Items], now: Sequence[Items]) -> set[Key] | None:
    """Return the keys of new and changed items; None if an item or a worker is gone."""
    if len(before) != len(now):
        return None
    found: set[Key] = set()
    for old, new in zip(before, now, strict=True):
        if old is new:
            continue
        if type(new) is Rows and type(old) is Rows and new.follows(old):
            keys = [*new]
            found.update(map(keys.__getitem__, new.changed_since(old)))
        elif type(new) is Rows or not old.keys() <= new.keys():
            return None
        else:
            found.update(key for key, item in new.items() if old.get(key) is not item)
    return found
