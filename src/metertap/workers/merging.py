"""Figures of several workers together: counts are summed, percentiles are of all samples.

Nothing is averaged. A percentile of several workers is computed from the latencies of all their
windows, as if one process had measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from metertap.recording import CacheFigures, LatencyFigures, Percentiles
from metertap.recording.figures import Whole
from metertap.recording.percentiles import percentiles
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import Run
from metertap.workers.runs import Together


class Part(NamedTuple):
    """Figures of one tool, of its weight or of an MCP operation, and the windows they are of.

    They are of one worker, or of several: then there are no windows. `ToolSeries.runs` says which
    there are.
    """

    figures: Any
    runs: tuple[Run, ...] = ()


class Windows:
    """The windows of one tool, weight or operation in all workers. For one thread at a time."""

    def __init__(self) -> None:
        self._places: dict[int, Together] = {}

    def percentiles(self, parts: Sequence[Part], place: int = 0) -> tuple[Percentiles, int]:
        """Return the percentiles of the windows at one place, and the number of samples."""
        together = self._places.get(place)
        if together is None:
            together = self._places[place] = Together()
        if place:
            return together.percentiles([runs[place] for _, runs in parts if len(runs) > place])
        return together.percentiles([part[1][0] for part in parts if part[1]])


Groups = Sequence[Sequence[Part]]
"""Parts of several workers, by tool, weight or operation: of all as many."""
Values = Sequence[Sequence[Any]]
"""The values of one member of figures: by worker, and then by tool, weight or operation."""
Columns = Mapping[str, Callable[[Values], Iterable[Any]]]
"""Functions that merge the values of members; of a member without one the first value counts."""


def tools(groups: Groups, windows: Sequence[Windows]) -> list[Part]:
    """Merge the figures of tools."""

    def with_cache(values: Values) -> Iterable[Any]:
        return with_cache_each(values) if any(map(any, values)) else values[0]

    def with_cache_each(values: Values) -> Iterator[Any]:
        for parts, known, window in zip(groups, zip(*values, strict=True), windows, strict=True):
            both = [*filter(None, known)]
            if both:
                hit, missed = zip(*both, strict=True)
                yield _latencies(hit, parts, 1, window), _latencies(missed, parts, 2, window)
            else:
                yield None

    def first_item(values: Values) -> Iterable[Any]:
        return first_item_each(values) if any(map(any, values)) else values[0]

    def first_item_each(values: Values) -> Iterator[Any]:
        for parts, known, window in zip(groups, zip(*values, strict=True), windows, strict=True):
            found = [*filter(None, known)]
            yield _latencies(found, parts, 3, window) if found else None

    return _together(
        groups, windows, {**_TOOLS, "with_cache": with_cache, "first_item": first_item}
    )


def operations(groups: Groups, windows: Sequence[Windows]) -> list[Part]:
    """Merge the figures of MCP operations, each of one side, method and name, or of sessions."""
    return _together(groups, windows, _OPERATIONS)


def weights(groups: Groups, windows: Sequence[Windows]) -> list[Part]:
    """Merge the weights of tools; the definition of a tool is the same in all workers."""
    return _together(groups, windows, _WEIGHTS)


def _together(groups: Groups, windows: Sequence[Windows], columns: Columns) -> list[Part]:
    """Merge figures column by column, which costs a fraction of merging them one by one."""
    by_worker = [
        [*zip(*map(itemgetter(0), parts), strict=True)] for parts in zip(*groups, strict=True)
    ]
    kind = type(groups[0][0].figures)
    found = zip(*map(Windows.percentiles, windows, groups), strict=True)
    members: dict[str, Iterable[Any]] = dict(
        zip(("percentiles", "window_samples"), found, strict=True)
    )
    for place, name in enumerate(kind._fields):
        if name not in members:
            values = [worker[place] for worker in by_worker]
            members[name] = columns.get(name, itemgetter(0))(values)
    made = zip(*map(members.__getitem__, kind._fields), strict=True)
    return [Part(tuple.__new__(kind, figures)) for figures in made]


def _sum(values: Values) -> Iterable[Any]:
    return map(sum, zip(*values, strict=True))


def _least(values: Values) -> Iterable[Any]:
    return _extreme(min, values)


def _most(values: Values) -> Iterable[Any]:
    return _extreme(max, values)


def _extreme(function: Callable[..., Any], values: Values) -> Iterable[Any]:
    if len(values) > 1 and not any(None in each for each in values):
        return map(function, *values)
    return (_of_known(function, each) for each in zip(*values, strict=True))


def _counts(values: Values) -> Iterable[dict[str, int]]:
    if not any(map(any, values)):  # as usual of errors
        return values[0]
    names, *others = set(map(tuple, chain.from_iterable(values)))
    if others:
        return _counts_by_name(values)
    by_worker = [[*chain.from_iterable(map(dict.values, each))] for each in values]
    totals = map(sum, zip(*by_worker, strict=True))
    rows = zip(*[totals] * len(names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


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
    """Merge the figures of one cache, without those that a worker's library does not show."""
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
    """Add up the use of processes; they began when the first of them did."""
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
    """Return the figures of one worker's part with their percentiles, which its windows tell."""
    figures = part.figures
    if part.runs and figures.percentiles.p50 is None:
        run = part.runs[0]
        return figures._replace(percentiles=percentiles(sorted(run.samples), run.factor))
    return figures


# What stays of a worker that has ended: what it counted, and nothing that was so at one moment.


def settled_tool(part: Part) -> Part:
    """Return the counts of a tool alone."""
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
    """Return the counts of an operation, or the total weight of a tool's results, alone."""
    return Part(part.figures._replace(percentiles=Percentiles(), window_samples=0))


def settled_cache(figures: CacheFigures) -> CacheFigures:
    """Return a cache's counts without its entries."""
    return figures._replace(entries=None, objects=0)


def settled_whole(found: Whole) -> Whole:
    """Return the start, and the processor time used."""
    return Whole(found.start_time, 0, 0, found.cpu_seconds, None, 0, None)


def _settled(figures: LatencyFigures) -> LatencyFigures:
    return figures._replace(percentiles=Percentiles())


def _latencies(
    known: Sequence[LatencyFigures], parts: Sequence[Part], place: int, windows: Windows
) -> LatencyFigures:
    calls, totals, _ = zip(*known, strict=True)
    return LatencyFigures(sum(calls), sum(totals), windows.percentiles(parts, place)[0])


def _of_known(function: Callable[[list[Any]], Any], values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return function(known) if known else None
