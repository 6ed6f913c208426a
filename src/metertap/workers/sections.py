"""Sections that workers exchange: how each is collected, written, merged, and kept.

A section of the document that is to be true for all workers is one `Section` in the list that
whoever composes them gives to `metertap.workers.group`: nothing else has to know of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from metertap.recording import (
    CacheFigures,
    Figures,
    OperationFigures,
    Recorder,
    ToolFigures,
    WeightFigures,
)
from metertap.recording.usage_series import UsageSeries
from metertap.workers import merging, news
from metertap.workers.merging import OperationPart, ToolPart, WeightPart, Whole
from metertap.workers.wire import Malformed, decoder, encoder

Key = tuple[str | None, ...]
Items = Mapping[Key, Any]
"""Items of one section. The same object as long as nothing about it changes."""
Sheet = Mapping[str, Items]
"""What is known of one worker, by section."""
FIGURES = ("tools", "caches", "operations", "sessions", "weights", "usage", "whole")
"""Sections of which `figures_of` makes figures."""
_MOST_ITEMS = 100_000
_encoded_key, _decoded_key = encoder(tuple[str | None, ...]), decoder(tuple[str | None, ...])


class Changes(NamedTuple):
    """Changes of one section."""

    are_all: bool
    """Whether there is nothing else in it."""
    news: Mapping[Key, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One section: items of type `kind` by their keys."""

    name: str
    kind: Any
    """What is written of an item: a dataclass, or what else `wire.encoder` writes."""
    take: Callable[[Figures, Items], Items]
    """Makes the items of now of the recorder's figures and the items of before."""
    merge: Callable[[Sequence[Any]], Any]
    settle: Callable[[Any], Any]
    """Makes what stays of an item once its worker has ended; None where nothing does."""
    tells_change: bool = True
    """Whether it is written down when this changes; else only along with what does."""
    news: Callable[[Any | None, Any], Any] = lambda _before, now: now
    """Makes what is written of an item for somebody who knows what it was before."""
    applied: Callable[[Any, Any | None], Any] = lambda news, _held: news
    """Makes an item of that, and of what was known before; raises Malformed."""

    def changes(self, before: Items, now: Items) -> Changes:
        """Return what is new; everything, where an item of before is gone."""
        if before is now:
            return Changes(False, {})
        if not before or not before.keys() <= now.keys():
            return Changes(True, {key: self.news(None, item) for key, item in now.items()})
        found = {}
        for key, item in now.items():
            known = before.get(key)
            if known is not item:
                found[key] = self.news(known, item)
        return Changes(False, found)

    def after(self, held: Items, changes: Changes) -> Items:
        """Return what is known after changes; the same object, if there are none.

        Raises Malformed.
        """
        if changes.are_all:
            return {key: self.applied(news, None) for key, news in changes.news.items()}
        if not changes.news:
            return held
        found = {key: self.applied(news, held.get(key)) for key, news in changes.news.items()}
        return {**held, **found}

    def encoded(self, changes: Changes) -> list[Any]:
        """Make what JSON can write."""
        encode = encoder(self.kind)
        written = [[_encoded_key(key), encode(news)] for key, news in changes.news.items()]
        return [changes.are_all, written]

    def decoded(self, found: Any) -> Changes:
        """Read what another process wrote. Raises Malformed."""
        decode = decoder(self.kind)
        try:
            are_all, written = found
            if type(written) is not list or len(written) > _MOST_ITEMS:
                raise Malformed("it is no list")
            news = {_decoded_key(key): decode(item) for key, item in written}
        except (TypeError, ValueError) as error:
            raise Malformed(f"{self.name}: {error}") from None
        return Changes(are_all is True, news)

    def settled(self, items: Items) -> dict[Key, Any]:
        """Return what stays of the items."""
        kept = {key: self.settle(item) for key, item in items.items()}
        return {key: item for key, item in kept.items() if item is not None}


def of_recorder(recorder: Recorder) -> list[Section]:
    """List the sections of what a recorder holds, `FIGURES`."""

    def parts(
        part: type[Any],
        key_of: Callable[[Any], Key],
        figures_of: Callable[[Figures], Sequence[Any]],
    ) -> Callable[[Figures, Items], Items]:
        def take(figures: Figures, before: Items) -> Items:
            found: dict[Key, Any] = {}
            for item in figures_of(figures):
                key = key_of(item)
                kept = before.get(key)
                if kept is None or kept.figures is not item:
                    kept = part(*recorder.with_windows(item))
                found[key] = kept
            return found

        return take

    def of_operations(name: str, figures_of: Callable[[Figures], Sequence[Any]]) -> Section:
        return Section(
            name,
            news.OperationNews,
            parts(OperationPart, _operation, figures_of),
            merging.operations,
            merging.settled_operation,
            news=news.of_operation,
            applied=news.operation_with,
        )

    return [
        Section(
            "tools",
            news.ToolNews,
            parts(ToolPart, _tool, lambda figures: figures.tools),
            merging.tools,
            merging.settled_tool,
            news=news.of_tool,
            applied=news.tool_with,
        ),
        Section("caches", CacheFigures, _caches, merging.caches, merging.settled_cache),
        of_operations("operations", lambda figures: figures.operations),
        of_operations("sessions", lambda figures: figures.sessions),
        Section(
            "weights",
            news.WeightNews,
            parts(WeightPart, _weight, lambda figures: figures.weights or ()),
            merging.weights,
            merging.settled_weight,
            news=news.of_weight,
            applied=news.weight_with,
        ),
        Section("usage", UsageSeries, _usage, merging.usage, lambda series: series),
    ]


def of_process(take: Callable[[Figures], Whole]) -> Section:
    """Return the section of what there is once in a process; every list has to have it."""
    return Section(
        "whole",
        Whole,
        lambda figures, _before: {(): take(figures)},
        merging.wholes,
        merging.settled_whole,
        tells_change=False,
    )


def figures_of(sheet: Sheet) -> Figures:
    """Make figures for views of what workers handed over; a section that was not asked is empty."""
    whole: Whole = sheet["whole"][()]

    def parts(section: str) -> tuple[Any, ...]:
        return tuple(part.figures for part in sheet.get(section, {}).values())

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
    """Keep the objects of before where they are equal."""
    return {key: before[key] if before.get(key) == item else item for key, item in found.items()}
