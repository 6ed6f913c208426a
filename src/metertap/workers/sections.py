"""Sections that workers exchange: how each is collected, written, merged, and kept.

To add a section of the document for all workers, add a `Section` to the list that
`metertap.workers.group` gets. No other module knows the sections.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, compress, repeat
from operator import attrgetter, eq, is_not, itemgetter
from types import NoneType
from typing import Any

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
from metertap.workers.checking import Malformed, Samples
from metertap.workers.coding import all_of, columns_decoder, columns_encoder, decoder, encoder
from metertap.workers.columns import Named
from metertap.workers.exchange import MOST_ITEMS, Changes
from metertap.workers.merging import Merge
from metertap.workers.rows import Items, Key, Part, Sheet, Written
from metertap.workers.runs import Fresh, fresh

FIGURES = ("tools", "caches", "operations", "sessions", "weights", "usage", "whole")
"""The sections from which `figures_of` makes figures."""
_OUTCOMES = frozenset(outcomes.ALL)
_tool, _weight = attrgetter("name", "source"), attrgetter("name", "source", "side")
_operation = attrgetter("side", "method", "name")
_figures, _runs = itemgetter(0), itemgetter(1)


@dataclass(frozen=True, slots=True)
class Section:
    """One section: items of type `kind` by their keys."""

    name: str
    kind: Any
    """The type of an item, or of a part's figures, for `coding.encoder`."""
    take: Callable[[Figures, Items], Items]
    """Returns the present items, given the recorder's figures and the former items."""
    merge: Callable[..., Sequence[Any]]
    """Returns an item for each list of items, or for the items of workers' tables."""
    settle: Callable[[Any], Any]
    """Returns the part of an item that stays after its worker has ended; None for nothing."""
    tells_change: bool = True
    """Whether a change is saved at once, and not only together with others."""
    is_sound: Callable[[Sequence[Sequence[Any] | None]], bool] = lambda _members: True
    """Checks that columns from another process have what their type cannot demand."""
    has_windows: bool = False
    """Whether its items are parts, with windows."""
    are_keys: Callable[[Sequence[Key]], bool] = lambda _keys: True
    """Checks keys from another process, which are of names and None."""
    has_columns: bool = False
    """Whether its items are named tuples, or parts, which are merged column by column."""

    def encoded(
        self, changes: Changes, samples: list[bytes], *, has_windows: bool = True
    ) -> list[Any]:
        """Return a form for JSON, and add to `samples` the numbers that follow it."""
        keys, items = [*map(list, changes.keys)], changes.items
        columns = None
        encoder(int)(changes.numbers, samples)
        if items and self.has_columns:
            columns = self._encoded(changes, samples, has_windows=has_windows)
        elif items:
            columns = encoder(self.kind)(items, samples)
        return [changes.are_all, keys, len(items), columns]

    def _encoded(self, changes: Changes, samples: list[bytes], *, has_windows: bool) -> list[Any]:
        figures, before = changes.items, () if None in changes.before else changes.before
        if self.has_windows:
            figures, runs = zip(*figures, strict=True)
            before = [*map(_figures, before)]
        now, known = ([*zip(*each, strict=True)] for each in (figures, before))
        columns: list[Any] = columns_encoder(self.kind)(now, known, samples)
        if not self.has_windows:
            return columns
        if not has_windows:
            return [columns, None]
        new = [*map(_fresh, runs, changes.before or repeat(None))]
        return [columns, [encoder(_WINDOWS)(new, samples)]]

    def decoded(self, found: Any, samples: Samples) -> Changes:
        """Read what another process wrote. Raises Malformed."""
        try:
            are_all, written, count, columns = found
            keys = [tuple(key) for key in written]
            if not all(type(name) in (str, NoneType) for key in keys for name in key):
                raise Malformed("a key is no list of names")
            if not self.are_keys(keys):
                raise Malformed("a key has not the names that it needs")
            if type(count) is not int or not 0 <= count <= MOST_ITEMS:
                raise Malformed("there are too many items")
            numbers = [*decoder(int)(None, count, samples)]
            items: Sequence[Any] | Written = ()
            if count and self.has_columns:
                items = self._written(columns, count, samples)
            elif count:
                items = decoder(self.kind)(columns, count, samples)
        except (TypeError, ValueError) as error:
            raise Malformed(f"{self.name}: {error}") from None
        return Changes(are_all is True, keys, numbers, items)

    def _written(self, columns: Any, count: int, samples: Samples) -> Written:
        make, windows = partial(tuple.__new__, self.kind), None
        if self.has_windows:
            columns, windows = columns
        members = columns_decoder(self.kind)(columns, count, samples)
        if not self.is_sound(members):
            raise Malformed("something is missing")
        if windows is None:
            return Written(make, members, self.has_windows, [0] * count)
        (written,) = windows
        lengths = decoder(int)(None, count, samples)
        new = all_of(columns_decoder(Fresh)(written, sum(lengths), samples))
        return Written(make, members, self.has_windows, lengths, new)

    def settled(self, items: Items) -> dict[Key, Any]:
        """Return the permanent part of the items."""
        kept = {key: self.settle(item) for key, item in items.items()}
        return {key: item for key, item in kept.items() if item is not None}


def each(merge: Callable[[list[Any]], Any]) -> Callable[[list[list[Any]]], list[Any]]:
    """Return a section's `merge` that merges each item by itself."""
    return lambda groups: [*map(merge, groups)]


_WINDOWS = tuple[Fresh, ...]
_part = partial(tuple.__new__, Part)


def _fresh(runs: Sequence[Run], before: Part | None) -> tuple[Fresh, ...]:
    known = () if before is None else before.runs
    return tuple(map(fresh, runs, chain(known, repeat(None))))


def of_recorder(recorder: Recorder) -> list[Section]:
    """List the sections of a recorder, `FIGURES`."""

    def section(
        name: str,
        kind: type[Any],
        key_of: Callable[[Any], Key],
        figures_of: Callable[[Figures], Sequence[Any]],
        merge: Merge,
        settle: Callable[[Part], Part] = merging.settled_part,
        is_sound: Callable[[Sequence[Sequence[Any] | None]], bool] = lambda _members: True,
    ) -> Section:
        def take(figures: Figures, before: Items) -> Items:
            now, found = figures_of(figures), dict(before)
            changed = [*compress(now, map(is_not, now, map(_figures, before.values())))]
            keys = [*map(key_of, changed)]
            if len(now) != len(before) or not {*keys}.issubset(before):
                found, changed, keys = {}, [*now], [*map(key_of, now)]  # a key has come or gone
            if not changed:
                return before
            new = []
            for key, item in zip(keys, changed, strict=True):
                kept = found[key] = before.get(key)
                if kept is None or kept.figures is not item:
                    new.append((key, item))
            parts = map(_part, recorder.with_runs(item for _, item in new))
            found.update(zip((key for key, _ in new), parts, strict=True))
            return found

        return Section(
            *(name, kind, take, merge, settle),
            is_sound=is_sound,
            has_windows=True,
            has_columns=True,
        )

    return [
        section(
            "tools",
            ToolFigures,
            _tool,
            lambda figures: figures.tools,
            merging.tools,
            merging.settled_tool,
            _have_all_outcomes,
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
    """Return the section of the process's own figures, which every list needs."""
    return Section(
        "whole",
        Whole,
        lambda figures, _before: {(): take(figures)},
        each(merging.wholes),
        merging.settled_whole,
        tells_change=False,
    )


def figures_of(sheet: Sheet) -> Figures:
    """Return figures for views from sections; a missing section is empty."""
    whole: Whole = sheet["whole"][()]

    def parts(section: str) -> tuple[Any, ...]:
        found = [*sheet.get(section, {}).values()]
        if any(map(_runs, found)):
            return tuple(map(merging.apart, found))
        return tuple(map(_figures, found))

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


def _have_all_outcomes(tools: Sequence[Sequence[Any] | None]) -> bool:
    counts = tools[ToolFigures._fields.index("counts")]
    if counts is None:  # they have not changed
        return True
    if isinstance(counts, Named):
        return {*counts.names} == _OUTCOMES
    return all(map(eq, map(dict.keys, counts), repeat(_OUTCOMES)))


def _caches(figures: Figures, before: Items) -> Items:
    return _kept({(cache.name, cache.system): cache for cache in figures.caches}, before)


def _usage(figures: Figures, before: Items) -> Items:
    return _kept({series.key: series for series in figures.usage}, before)


def _kept(found: Items, before: Items) -> Items:
    """Return the items, with the former objects for those that are equal."""
    return {key: before[key] if before.get(key) == item else item for key, item in found.items()}
