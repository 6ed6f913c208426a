"""What workers hand over, section by section: how it is taken, written, merged, and what stays.

A section of the document that is to be true for all workers is one `Section` in the list that
whoever composes them gives to `metertap.workers.group`: nothing else has to know of it.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from metertap.recording import (
    CacheFigures,
    Figures,
    OperationFigures,
    Recorder,
    ToolFigures,
    WeightFigures,
)
from metertap.workers import merging
from metertap.workers.merging import OperationPart, ToolPart, WeightPart, Whole
from metertap.workers.wire import Malformed, Samples, decoder, encoder

T = TypeVar("T")
Key = tuple[str | None, ...]
Items = Mapping[Key, Any]
"""Items of one section. The same object as long as nothing about it changes."""
Sheet = Mapping[str, Items]
"""What is known of one worker, by section."""
_MOST_ITEMS = 100_000
_encoded_key, _decoded_key = encoder(tuple[str | None, ...]), decoder(tuple[str | None, ...])


@dataclass(frozen=True, slots=True)
class Section:
    """One section: items of type `kind` by their keys."""

    name: str
    kind: Any
    """A dataclass, or what else `wire.encoder` writes."""
    take: Callable[[Figures, Items], Items]
    """Makes the items of now of the recorder's figures and the items of before."""
    merge: Callable[[Sequence[Any]], Any]
    settle: Callable[[Any], Any]
    """Makes what stays of an item once its worker has ended; None where nothing does."""
    tells_change: bool = True
    """Whether it is written down when this changes; else only along with what does."""

    def encoded(self, items: Items) -> list[Any]:
        """Make what JSON can write."""
        encode = encoder(self.kind)
        return [[_encoded_key(key), encode(item)] for key, item in items.items()]

    def decoded(self, found: Any) -> dict[Key, Any]:
        """Read what another process wrote. Raises Malformed."""
        decode = decoder(self.kind)
        if type(found) is not list or len(found) > _MOST_ITEMS:
            raise Malformed(f"{self.name} is no list")
        try:
            return {_decoded_key(key): decode(item) for key, item in found}
        except (TypeError, ValueError) as error:
            raise Malformed(f"{self.name}: {error}") from None

    def settled(self, items: Items) -> dict[Key, Any]:
        """Return what stays of the items."""
        kept = {key: self.settle(item) for key, item in items.items()}
        return {key: item for key, item in kept.items() if item is not None}


def of_recorder(recorder: Recorder) -> list[Section]:
    """List the sections of what a recorder holds."""

    def parts(
        part: type[Any], name: Callable[[Any], Key], figures_of: Callable[[Figures], Sequence[Any]]
    ) -> Callable[[Figures, Items], Items]:
        def take(figures: Figures, before: Items) -> Items:
            found: dict[Key, Any] = {}
            for item in figures_of(figures):
                key = name(item)
                kept = before.get(key)
                if kept is None or kept.figures is not item:
                    windows = (Samples(array("d", each)) for each in recorder.windows_of(item))
                    kept = part(item, tuple(windows))
                found[key] = kept
            return found

        return take

    def of_operations(name: str, figures_of: Callable[[Figures], Sequence[Any]]) -> Section:
        return Section(
            name,
            OperationPart,
            parts(OperationPart, _operation, figures_of),
            merging.operations,
            merging.settled_operation,
        )

    return [
        Section(
            "tools",
            ToolPart,
            parts(ToolPart, _tool, lambda figures: figures.tools),
            merging.tools,
            merging.settled_tool,
        ),
        Section("caches", CacheFigures, _caches, merging.caches, merging.settled_cache),
        of_operations("operations", lambda figures: figures.operations),
        of_operations("sessions", lambda figures: figures.sessions),
        Section(
            "weights",
            WeightPart,
            parts(WeightPart, _weight, lambda figures: figures.weights or ()),
            merging.weights,
            merging.settled_weight,
        ),
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
    )


def _tool(figures: ToolFigures) -> Key:
    return figures.name, figures.source


def _weight(figures: WeightFigures) -> Key:
    return figures.name, figures.source, figures.side


def _operation(figures: OperationFigures) -> Key:
    return figures.side, figures.method, figures.name


def _caches(figures: Figures, before: Items) -> Items:
    found = {(cache.name, cache.system): cache for cache in figures.caches}
    return {key: before[key] if before.get(key) == item else item for key, item in found.items()}
