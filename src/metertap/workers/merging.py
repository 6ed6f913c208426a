"""Figures of several workers together: counts are added up, percentiles are of all samples.

Nothing is averaged: a percentile of several workers is computed from the latencies in all their
windows, as if one process had measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any

from metertap.recording import (
    CacheFigures,
    LatencyFigures,
    OperationFigures,
    Percentiles,
    ToolFigures,
    WeightFigures,
)
from metertap.recording.figures import Whole
from metertap.recording.percentiles import percentiles
from metertap.recording.usage_series import UsageSeries
from metertap.workers.columns import named
from metertap.workers.rows import Part, Table
from metertap.workers.together import Windows

Merge = Callable[[Sequence[Table], Windows], Sequence[Any]]
"""A function that merges the same items of several workers."""
Values = Sequence[Sequence[Any]]
"""The values of one member of figures: for each worker, of each tool, weight or operation."""
Columns = Mapping[str, Callable[[Values], Iterable[Any]]]
"""Functions that merge the values of a member; without one, the first worker's value counts."""


def tools(workers: Sequence[Table], windows: Windows) -> list[Part]:
    """Merge the figures of tools."""

    def with_cache(values: Values) -> Iterable[Any]:
        return with_cache_each(values) if any(map(any, values)) else values[0]

    def with_cache_each(values: Values) -> Iterator[Any]:
        hits, misses = windows.percentiles(1)[0], windows.percentiles(2)[0]
        for known, of_hits, of_misses in zip(zip(*values, strict=True), hits, misses, strict=True):
            both = [*filter(None, known)]
            if both:
                hit, missed = zip(*both, strict=True)
                yield _latencies(hit, of_hits), _latencies(missed, of_misses)
            else:
                yield None

    def first_item(values: Values) -> Iterable[Any]:
        return first_item_each(values) if any(map(any, values)) else values[0]

    def first_item_each(values: Values) -> Iterator[Any]:
        for known, of_all in zip(zip(*values, strict=True), windows.percentiles(3)[0], strict=True):
            found = [*filter(None, known)]
            yield _latencies(found, of_all) if found else None

    columns = {**_TOOLS, "with_cache": with_cache, "first_item": first_item}
    return _together(ToolFigures, workers, windows, columns)


def operations(workers: Sequence[Table], windows: Windows) -> list[Part]:
    """Merge the figures of MCP operations, each of one side, method and name, or of sessions."""
    return _together(OperationFigures, workers, windows, _OPERATIONS)


def weights(workers: Sequence[Table], windows: Windows) -> list[Part]:
    """Merge the weights of tools; the definition of a tool is the same in all workers."""
    return _together(WeightFigures, workers, windows, _WEIGHTS)


def _together(
    kind: Any, workers: Sequence[Table], windows: Windows, columns: Columns
) -> list[Part]:
    """Merge figures column by column, at a fraction of the cost of merging one by one."""
    members: dict[str, Iterable[Any]] = dict(
        zip(("percentiles", "window_samples"), windows.percentiles(), strict=True)
    )
    for place, name in enumerate(kind._fields):
        if name not in members:
            values = [worker.members[place] for worker in workers]
            members[name] = columns.get(name, itemgetter(0))(values)
    made = zip(*map(members.__getitem__, kind._fields), strict=True)
    return [*map(_part, zip(map(partial(tuple.__new__, kind), made), repeat(())))]


_part = partial(tuple.__new__, Part)


def _sum(values: Values) -> Iterable[Any]:
    return map(sum, zip(*values, strict=True))


def _least(values: Values) -> Iterable[Any]:
    return _extreme(min, values)


def _most(values: Values) -> Iterable[Any]:
    return _extreme(max, values)


def _extreme(function: Callable[..., Any], values: Values) -> Iterable[Any]:
    try:
        return [*map(function, zip(*values, strict=True))]
    except TypeError:  # a value is None
        pass
    return (_of_known(function, each) for each in zip(*values, strict=True))


def _counts(values: Values) -> Iterable[dict[str, int]]:
    if not any(map(any, values)):  # errors usually have none
        return values[0]
    columns = [*map(named, values)]
    names = columns[0].names
    if not names or any(column.names != names for column in columns):
        return _counts_by_name(values)
    nothing = dict.fromkeys(names, 0)
    found = [nothing.copy() for _ in columns[0].rows]
    by_name = zip(*(zip(*column.rows, strict=True) for column in columns), strict=True)
    for name, of_each in zip(names, by_name, strict=True):
        if any(map(any, of_each)):  # most outcomes never happen
            totals = map(sum, zip(*of_each, strict=True))
            for counts, total in zip(found, totals, strict=True):
                counts[name] = total
    return found


def _counts_by_name(values: Values) -> Iterable[dict[str, int]]:
    for found in zip(*values, strict=True):
        total = dict(found[0])
        for counts in filter(None, found[1:]):
            if counts.keys() == total.keys():
                total = {name: count + counts[name] for name, count in total.items()}
            else:
                total |= {name: total.get(name, 0) + count for name, count in counts.items()}
        yield total


def _definition(values: Values) -> Iterable[Any]:
    return (
        next((item for item in each if item is not None), None)
        for each in zip(*values, strict=True)
    )


_TOOLS: Columns = {
    **dict.fromkeys(("counts", "error_types", "errors"), _counts),
    **dict.fromkeys(("sampled", "total_ms", "active", "unsampled", "unsampled_ms"), _sum),
    "minimum_ms": _least,
    **dict.fromkeys(("maximum_ms", "last_call"), _most),
}
_OPERATIONS: Columns = {
    **dict.fromkeys(("calls", "failed", "total_ms"), _sum),
    "error_types": _counts,
    "minimum_ms": _least,
    **dict.fromkeys(("maximum_ms", "last_call"), _most),
}
_WEIGHTS: Columns = {
    "definition": _definition,
    **dict.fromkeys(("results", "unknown", "skipped", "total"), _sum),
    "is_sampled": lambda values: map(any, zip(*values, strict=True)),
    "maximum": _most,
}


def caches(figures: Sequence[CacheFigures]) -> CacheFigures:
    """Merge the figures of one cache; what a worker's library does not show is left out."""
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
    """Add up the usage of one tool, provider and model."""
    return found[0].plus(found[1:])


def wholes(found: Sequence[Whole]) -> Whole:
    """Add up the use of processes; they began when the first one did."""
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


def apart(part: Part) -> Any:
    """Return the figures of one worker's part, with the percentiles of its windows."""
    figures = part.figures
    if part.runs and figures.percentiles.p50 is None:
        run = part.runs[0]
        return figures._replace(percentiles=percentiles(sorted(run.samples), run.factor))
    return figures


# The permanent part of an ended worker's items: its counts, without the state of a moment.


def settled_tool(part: Part) -> Part:
    """Return only the counts of a tool."""
    figures = part.figures
    with_cache, first = figures.with_cache, figures.first_item
    return Part(
        figures._replace(
            percentiles=Percentiles(),
            window_samples=0,
            active=0,
            with_cache=with_cache and (_settled(with_cache[0]), _settled(with_cache[1])),
            first_item=first and _settled(first),
        )
    )


def settled_part(part: Part) -> Part:
    """Return only the counts of an operation, or the total weight of a tool's results."""
    return Part(part.figures._replace(percentiles=Percentiles(), window_samples=0))


def settled_cache(figures: CacheFigures) -> CacheFigures:
    """Return a cache's counts without its entries."""
    return figures._replace(entries=None, objects=0)


def settled_whole(found: Whole) -> Whole:
    """Return the start, and the processor time used."""
    return Whole(found.start_time, 0, 0, found.cpu_seconds, None, 0, None)


def _settled(figures: LatencyFigures) -> LatencyFigures:
    return figures._replace(percentiles=Percentiles())


def _latencies(known: Sequence[LatencyFigures], of_all: Percentiles) -> LatencyFigures:
    calls, totals, _ = zip(*known, strict=True)
    return LatencyFigures(sum(calls), sum(totals), of_all)


def _of_known(function: Callable[[list[Any]], Any], values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return function(known) if known else None
