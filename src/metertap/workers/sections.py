"""Sections that workers exchange: how each is collected, written, merged, and kept.

To make a section of the document true for all workers, add one `Section` to the list that
`metertap.workers.group` gets. Nothing else has to know of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from types import NoneType
from typing import Any, NamedTuple

from metertap import outcomes
from metertap.recording import (
    CacheFigures,
    Figures,
    OperationFigures,
    Recorder,
    ToolFigures,
    WeightFigures,
)
from metertap.recording.figures import Whole
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import Run
from metertap.workers import merging
from metertap.workers.merging import Part
from metertap.workers.runs import Fresh, completed, fresh
from metertap.workers.wire import Malformed, Samples, decoder, encoder

Key = tuple[str | None, ...]
Items = Mapping[Key, Any]
"""The items of one section: the same object as long as nothing changes."""
Sheet = Mapping[str, Items]
"""The known sections of one worker, by name."""
FIGURES = ("tools", "caches", "operations", "sessions", "weights", "usage", "whole")
"""The sections that `figures_of` makes figures of."""
_MOST_ITEMS = 100_000
_OUTCOMES = frozenset(outcomes.ALL)
_figures = itemgetter(0)


class Changes(NamedTuple):
    """Changes of one section: new keys, and items by their numbers.

    Keys are numbered in the order in which they were sent.
    """

    are_all: bool
    """Whether these are all items, so that numbers begin again."""
    keys: Sequence[Key]
    numbers: Sequence[int]
    items: Sequence[Any]
    before: Sequence[Any] = ()
    """What the asker has of these items, or None: of their windows only the rest is sent."""


class Told:
    """The items of one section that an asker already has, so that only the rest is sent."""

    def __init__(self) -> None:
        self._items: Items | None = None
        self._numbers: dict[Key, int] = {}

    def has(self, now: Items) -> bool:
        """Return whether the asker has exactly these."""
        return self._items is now

    def changes(self, now: Items) -> Changes:
        """Return the changes; all items if an earlier item is gone."""
        before, self._items, numbers = self._items, now, self._numbers
        are_all = before is None or not before.keys() <= now.keys()
        if before is None or are_all:
            before = {}
            numbers.clear()
        keys = [key for key in now if key not in numbers]
        numbers.update(zip(keys, range(len(numbers), len(numbers) + len(keys)), strict=True))
        new = {key: item for key, item in now.items() if before.get(key) is not item}
        return Changes(
            are_all,
            keys,
            [*map(numbers.__getitem__, new)],
            [*new.values()],
            [*map(before.get, new)],
        )


class Heard:
    """The items of one section of another worker, the same object until something changes."""

    def __init__(self) -> None:
        self.items: Items = {}
        self._keys: list[Key] = []

    def take(self, changes: Changes) -> None:
        """Apply changes. Raises Malformed."""
        keys = [*([] if changes.are_all else self._keys), *changes.keys]
        if len(keys) > _MOST_ITEMS:
            raise Malformed("there are too many items")
        if changes.numbers and max(changes.numbers) >= len(keys):
            raise Malformed("an item has no key")
        changed = [*map(keys.__getitem__, changes.numbers)]
        items = changes.items
        if items and type(items[0]) is Part:
            items = [*map(_completed, items, map(self.items.get, changed))]
        new = dict(zip(changed, items, strict=True))
        if new or changes.are_all:
            self.items = new if changes.are_all else {**self.items, **new}
        self._keys = keys


@dataclass(frozen=True, slots=True)
class Section:
    """One section: items of type `kind` by their keys."""

    name: str
    kind: Any
    """The type of an item, or of a part's figures: what `wire.encoder` writes."""
    take: Callable[[Figures, Items], Items]
    """A function that makes the present items from the recorder's figures and earlier items."""
    merge: Callable[..., Sequence[Any]]
    """A function that makes one item of each list of items; of parts, with their windows."""
    settle: Callable[[Any], Any]
    """A function that makes what stays of an item after its worker has ended; None for nothing."""
    tells_change: bool = True
    """Whether it is saved when it changes; otherwise only together with others."""
    is_sound: Callable[[Any], bool] = lambda _item: True
    """A check whether an item of another process has all that its type cannot demand."""
    has_windows: bool = False
    """Whether its items are parts."""

    def encoded(
        self, changes: Changes, samples: list[bytes], *, has_windows: bool = True
    ) -> list[Any]:
        """Return a form that JSON can write, and add to `samples` the numbers that follow it."""
        keys, items = [*map(list, changes.keys)], changes.items
        columns = None
        encoder(int)(changes.numbers, samples)
        if items and self.has_windows:
            figures, runs = zip(*items, strict=True)
            columns = [encoder(self.kind)(figures, samples), None]
            if has_windows:
                new = [*map(_fresh, runs, changes.before or [None] * len(runs))]
                columns[1] = [encoder(_WINDOWS)(new, samples)]
        elif items:
            columns = encoder(self.kind)(items, samples)
        return [changes.are_all, keys, len(items), columns]

    def decoded(self, found: Any, samples: Samples) -> Changes:
        """Read what another process wrote. Raises Malformed."""
        try:
            are_all, written, count, columns = found
            keys = [tuple(key) for key in written]
            if not all(type(name) in (str, NoneType) for key in keys for name in key):
                raise Malformed("a key is no list of names")
            if type(count) is not int or not 0 <= count <= _MOST_ITEMS:
                raise Malformed("there are too many items")
            numbers = [*decoder(int)(None, count, samples)]
            items: Sequence[Any] = ()
            if count and self.has_windows:
                written_figures, windows = columns
                figures = decoder(self.kind)(written_figures, count, samples)
                runs: Sequence[Any] = [()] * count
                if windows is not None:
                    (written_runs,) = windows
                    runs = decoder(_WINDOWS)(written_runs, count, samples)
                items = [*map(_part, zip(figures, runs, strict=True))]
            elif count:
                items = decoder(self.kind)(columns, count, samples)
        except (TypeError, ValueError) as error:
            raise Malformed(f"{self.name}: {error}") from None
        if not all(map(self.is_sound, items)):
            raise Malformed(f"{self.name}: something is missing")
        return Changes(are_all is True, keys, numbers, items)

    def settled(self, items: Items) -> dict[Key, Any]:
        """Return the permanent part of the items."""
        kept = {key: self.settle(item) for key, item in items.items()}
        return {key: item for key, item in kept.items() if item is not None}


def each(merge: Callable[[list[Any]], Any]) -> Callable[[list[list[Any]]], list[Any]]:
    """Return a section's way to merge where each item is merged by itself."""
    return lambda groups: [*map(merge, groups)]


_WINDOWS = tuple[Fresh, ...]
_part = partial(tuple.__new__, Part)


def _fresh(runs: Sequence[Run], before: Part | None) -> tuple[Fresh, ...]:
    known = () if before is None else before.runs
    return tuple(map(fresh, runs, chain(known, repeat(None))))


def _completed(part: Any, before: Part | None) -> Part:
    figures, runs = part
    known = () if before is None else before[1]
    if len(runs) == len(known) == 1:  # as usual
        return _part((figures, (completed(runs[0], known[0]),)))
    return _part((figures, tuple(map(completed, runs, chain(known, repeat(None))))))


def of_recorder(recorder: Recorder) -> list[Section]:
    """List the sections of a recorder, `FIGURES`."""

    def section(
        name: str,
        kind: type[Any],
        key_of: Callable[[Any], Key],
        figures_of: Callable[[Figures], Sequence[Any]],
        merge: Callable[..., list[Part]],
        settle: Callable[[Part], Part] = merging.settled_part,
        is_sound: Callable[[Any], bool] = lambda _part: True,
    ) -> Section:
        def take(figures: Figures, before: Items) -> Items:
            now = figures_of(figures)
            if len(now) == len(before) and all(map(is_, now, map(_figures, before.values()))):
                return before
            found: dict[Key, Any] = {}
            for item in now:
                key = key_of(item)
                kept = before.get(key)
                if kept is None or kept.figures is not item:
                    kept = Part(*recorder.with_runs(item))
                found[key] = kept
            return found

        return Section(name, kind, take, merge, settle, is_sound=is_sound, has_windows=True)

    return [
        section(
            "tools",
            ToolFigures,
            _tool,
            lambda figures: figures.tools,
            merging.tools,
            merging.settled_tool,
            lambda part: part.figures.counts.keys() == _OUTCOMES,
        ),
        Section("caches", CacheFigures, _caches, each(merging.caches), merging.settled_cache),
        *(
            section(name, OperationFigures, _operation, attrgetter(name), merging.operations)
            for name in ("operations", "sessions")
        ),
        section(
            "weights",
            WeightFigures,
            _weight,
            lambda figures: figures.weights or (),
            merging.weights,
        ),
        Section("usage", UsageSeries, _usage, each(merging.usage), lambda series: series),
    ]


def of_process(take: Callable[[Figures], Whole]) -> Section:
    """Return the section of figures that a process has once; every list needs it."""
    return Section(
        "whole",
        Whole,
        lambda figures, _before: {(): take(figures)},
        each(merging.wholes),
        merging.settled_whole,
        tells_change=False,
    )


def figures_of(sheet: Sheet) -> Figures:
    """Make figures for views from the workers' sections; one that was not asked for is empty."""
    whole: Whole = sheet["whole"][()]

    def parts(section: str) -> tuple[Any, ...]:
        return tuple(map(merging.apart, sheet.get(section, {}).values()))

    return Figures(
        tools=parts("tools"),
        caches=tuple(sheet.get("caches", {}).values()),
        active_sessions=whole.active_sessions,
        start_time=whole.start_time,
        uptime_seconds=max(0.0, time.time() - whole.start_time),
        requests_by_hand=whole.requests_by_hand,
        operations=parts("operations"),
        sessions=parts("sessions"),
        weights=parts("weights"),
        usage=tuple(sheet.get("usage", {}).values()),
    )


def _tool(figures: ToolFigures) -> Key:
    return figures.name, figures.source


def _weight(figures: WeightFigures) -> Key:
    return figures.name, figures.source, figures.side


def _operation(figures: OperationFigures) -> Key:
    return figures.side, figures.method, figures.name


def _caches(figures: Figures, before: Items) -> Items:
    return _kept({(cache.name, cache.system): cache for cache in figures.caches}, before)


def _usage(figures: Figures, before: Items) -> Items:
    return _kept({series.key: series for series in figures.usage}, before)


def _kept(found: Items, before: Items) -> Items:
    """Keep earlier objects that are equal."""
    return {key: before[key] if before.get(key) == item else item for key, item in found.items()}
