"""Figures of several workers together: counts are summed, percentiles are of all samples.

Nothing is averaged. A percentile of several workers is computed from the latencies of all their
windows, as if one process had measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metertap.recording import (
    CacheFigures,
    LatencyFigures,
    OperationFigures,
    Percentiles,
    ToolFigures,
    WeightFigures,
    percentiles,
)
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import Window
from metertap.workers.runs import Runs


@dataclass(frozen=True, slots=True, eq=False)
class ToolPart:
    """Figures of one tool, of one worker or several, and the windows of their percentiles.

    `ToolSeries.windows` says which these are.
    """

    figures: ToolFigures
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class OperationPart:
    """The same of MCP operations or sessions, with one window."""

    figures: OperationFigures
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class WeightPart:
    """The same of what a tool weighs, in bytes, with one window."""

    figures: WeightFigures
    windows: tuple[Window, ...] = ()


Part = ToolPart | OperationPart | WeightPart


@dataclass(frozen=True, slots=True)
class Whole:
    """The figures that a process has once: times in Unix seconds, `gc` as in the standard library.

    Of the collector's generations each is collections, collected and uncollectable objects.
    """

    start_time: float
    active_sessions: int
    requests_by_hand: int
    cpu_seconds: float
    resident_bytes: int | None
    threads: int
    gc: tuple[tuple[int, int, int], ...] | None


def tools(parts: Sequence[ToolPart]) -> ToolPart:
    """Merge the figures of one tool."""
    figures = [part.figures for part in parts]
    window = _samples(parts, 0)
    hit, missed, first = (_latencies(parts, place) for place in (1, 2, 3))
    return ToolPart(
        ToolFigures(
            name=figures[0].name,
            source=figures[0].source,
            counts=_counts(item.counts for item in figures),
            error_types=_counts(item.error_types for item in figures),
            sampled=sum(item.sampled for item in figures),
            total_ms=sum(item.total_ms for item in figures),
            minimum_ms=_of_known(min, (item.minimum_ms for item in figures)),
            maximum_ms=_of_known(max, (item.maximum_ms for item in figures)),
            percentiles=percentiles(window),
            window_samples=len(window),
            active=sum(item.active for item in figures),
            last_call=_of_known(max, (item.last_call for item in figures)),
            with_cache=None if hit is None or missed is None else (hit, missed),
            first_item=first,
            unsampled=sum(item.unsampled for item in figures),
            unsampled_ms=sum(item.unsampled_ms for item in figures),
        )
    )


def operations(parts: Sequence[OperationPart]) -> OperationPart:
    """Merge the figures of MCP operations of one side, method and name, or of sessions."""
    figures = [part.figures for part in parts]
    window = _samples(parts, 0)
    return OperationPart(
        figures[0]._replace(
            calls=sum(item.calls for item in figures),
            failed=sum(item.failed for item in figures),
            error_types=_counts(item.error_types for item in figures),
            total_ms=sum(item.total_ms for item in figures),
            minimum_ms=_of_known(min, (item.minimum_ms for item in figures)),
            maximum_ms=_of_known(max, (item.maximum_ms for item in figures)),
            percentiles=percentiles(window),
            window_samples=len(window),
            last_call=_of_known(max, (item.last_call for item in figures)),
        )
    )


def weights(parts: Sequence[WeightPart]) -> WeightPart:
    """Merge what one tool weighs; of its definition one worker's is taken, they are the same."""
    figures = [part.figures for part in parts]
    window = _samples(parts, 0)
    defined = [item.definition for item in figures if item.definition is not None]
    return WeightPart(
        figures[0]._replace(
            definition=defined[0] if defined else None,
            results=sum(item.results for item in figures),
            unknown=sum(item.unknown for item in figures),
            skipped=sum(item.skipped for item in figures),
            is_sampled=any(item.is_sampled for item in figures),
            total=sum(item.total for item in figures),
            maximum=_of_known(max, (item.maximum for item in figures)),
            percentiles=percentiles(window),
            window_samples=len(window),
        )
    )


def caches(figures: Sequence[CacheFigures]) -> CacheFigures:
    """Merge the figures of one cache; what one worker's library does not show is not added."""
    by_tool: dict[str, tuple[int, int]] = {}
    for item in figures:
        for tool, (hits, misses) in (item.by_tool or {}).items():
            before = by_tool.get(tool, (0, 0))
            by_tool[tool] = (before[0] + hits, before[1] + misses)
    return figures[0]._replace(
        hits=sum(item.hits for item in figures),
        misses=sum(item.misses for item in figures),
        evictions=_of_known(sum, (item.evictions for item in figures)),
        rejections=_of_known(sum, (item.rejections for item in figures)),
        by_tool=None if all(item.by_tool is None for item in figures) else by_tool,
        entries=_of_known(sum, (item.entries for item in figures)),
        is_read=any(item.is_read for item in figures),
        objects=sum(item.objects for item in figures),
    )


def usage(found: Sequence[UsageSeries]) -> UsageSeries:
    """Add what was used by one tool, of one provider and model."""
    return found[0].plus(found[1:])


def wholes(found: Sequence[Whole]) -> Whole:
    """Add what processes use; they began when the first of them did."""
    collections = [item.gc for item in found if item.gc is not None]
    return Whole(
        start_time=min(item.start_time for item in found),
        active_sessions=sum(item.active_sessions for item in found),
        requests_by_hand=sum(item.requests_by_hand for item in found),
        cpu_seconds=sum(item.cpu_seconds for item in found),
        resident_bytes=_of_known(sum, (item.resident_bytes for item in found)),
        threads=sum(item.threads for item in found),
        gc=tuple(
            (sum(column[0]), sum(column[1]), sum(column[2]))
            for column in (
                tuple(zip(*rows, strict=True)) for rows in zip(*collections, strict=False)
            )
        )
        if collections
        else None,
    )


# What stays of a worker that has ended: what it counted, and nothing that was so at one moment.


def settled_tool(part: ToolPart) -> ToolPart:
    """Return the counts of a tool alone."""
    figures = part.figures
    with_cache, first = figures.with_cache, figures.first_item
    return ToolPart(
        figures._replace(
            percentiles=Percentiles(),
            window_samples=0,
            active=0,
            with_cache=with_cache and (_settled(with_cache[0]), _settled(with_cache[1])),
            first_item=first and _settled(first),
        )
    )


def settled_operation(part: OperationPart) -> OperationPart:
    """Return the counts of an operation alone."""
    return OperationPart(part.figures._replace(percentiles=Percentiles(), window_samples=0))


def settled_weight(part: WeightPart) -> WeightPart:
    """Return what the results of a tool weighed in all."""
    return WeightPart(part.figures._replace(percentiles=Percentiles(), window_samples=0))


def settled_cache(figures: CacheFigures) -> CacheFigures:
    """Return a cache's counts without what it holds."""
    return figures._replace(entries=None, objects=0)


def settled_whole(found: Whole) -> Whole:
    """Return when it began, and the time that it took of the processor."""
    return Whole(found.start_time, 0, 0, found.cpu_seconds, None, 0, None)


def _settled(figures: LatencyFigures) -> LatencyFigures:
    return figures._replace(percentiles=Percentiles())


def _latencies(parts: Sequence[ToolPart], place: int) -> LatencyFigures | None:
    found = [_placed(part.figures, place) for part in parts]
    known = [item for item in found if item is not None]
    if not known:
        return None
    return LatencyFigures(
        sum(item.calls for item in known),
        sum(item.total_ms for item in known),
        percentiles(_samples(parts, place)),
    )


def _placed(figures: ToolFigures, place: int) -> LatencyFigures | None:
    if place == 3:
        return figures.first_item
    return figures.with_cache and figures.with_cache[place - 1]


def _samples(parts: Sequence[Part], place: int) -> Runs:
    return Runs([part.windows[place].ordered() for part in parts if len(part.windows) > place])


def _counts(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counts in found:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _of_known(function: Callable[[list[Any]], Any], values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return function(known) if known else None
