"""Figures of several workers together: counts are summed, percentiles are of all samples.

Nothing is averaged. A percentile of several workers is computed from the latencies of all their
windows, as if one process had measured them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from metertap.recording import CacheFigures, LatencyFigures, Percentiles, ToolFigures
from metertap.recording.figures import Whole
from metertap.recording.usage_series import UsageSeries
from metertap.recording.window import Run, percentiles
from metertap.workers.runs import Together

NOT_SENT = Percentiles()
"""The percentiles of a window that another worker has sent: its samples say what they are."""


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
        return together.percentiles([part.runs[place] for part in parts if len(part.runs) > place])


def tools(parts: Sequence[Part], windows: Windows) -> Part:
    """Merge the figures of one tool."""
    of = _columns(parts)
    found, count = windows.percentiles(parts)
    with_cache, first = None, None
    if any(of.with_cache):
        hit, missed = zip(*filter(None, of.with_cache), strict=True)
        with_cache = _latencies(hit, parts, 1, windows), _latencies(missed, parts, 2, windows)
    if any(of.first_item):
        first = _latencies([*filter(None, of.first_item)], parts, 3, windows)
    return Part(
        ToolFigures(
            name=of.name[0],
            source=of.source[0],
            counts=_counts(of.counts),
            error_types=_counts(of.error_types),
            errors=_counts(of.errors),
            sampled=sum(of.sampled),
            total_ms=sum(of.total_ms),
            minimum_ms=_of_known(min, of.minimum_ms),
            maximum_ms=_of_known(max, of.maximum_ms),
            percentiles=found,
            window_samples=count,
            active=sum(of.active),
            last_call=_of_known(max, of.last_call),
            with_cache=with_cache,
            first_item=first,
            unsampled=sum(of.unsampled),
            unsampled_ms=sum(of.unsampled_ms),
        )
    )


def operations(parts: Sequence[Part], windows: Windows) -> Part:
    """Merge the figures of MCP operations of one side, method and name, or of sessions."""
    of = _columns(parts)
    found, count = windows.percentiles(parts)
    return Part(
        parts[0].figures._replace(
            calls=sum(of.calls),
            failed=sum(of.failed),
            error_types=_counts(of.error_types),
            total_ms=sum(of.total_ms),
            minimum_ms=_of_known(min, of.minimum_ms),
            maximum_ms=_of_known(max, of.maximum_ms),
            percentiles=found,
            window_samples=count,
            last_call=_of_known(max, of.last_call),
        )
    )


def weights(parts: Sequence[Part], windows: Windows) -> Part:
    """Merge the weights of one tool; the definition is the same in all workers."""
    of = _columns(parts)
    found, count = windows.percentiles(parts)
    return Part(
        parts[0].figures._replace(
            definition=next((each for each in of.definition if each is not None), None),
            results=sum(of.results),
            unknown=sum(of.unknown),
            skipped=sum(of.skipped),
            is_sampled=any(of.is_sampled),
            total=sum(of.total),
            maximum=_of_known(max, of.maximum),
            percentiles=found,
            window_samples=count,
        )
    )


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
    """Return the figures of one worker's part with their percentiles, which are not sent."""
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


def _columns(parts: Sequence[Part]) -> Any:
    """Return figures by member, each one a column of the values of all parts."""
    figures = [part.figures for part in parts]
    return type(figures[0])._make(zip(*figures, strict=True))


def _latencies(
    known: Sequence[LatencyFigures], parts: Sequence[Part], place: int, windows: Windows
) -> LatencyFigures:
    calls, totals, _ = zip(*known, strict=True)
    return LatencyFigures(sum(calls), sum(totals), windows.percentiles(parts, place)[0])


def _counts(found: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total = dict(found[0])
    for counts in found[1:]:
        for name, count in counts.items():
            if count or name not in total:  # most are 0
                total[name] = total.get(name, 0) + count
    return total


def _of_known(function: Callable[[list[Any]], Any], values: Iterable[Any]) -> Any:
    known = [value for value in values if value is not None]
    return function(known) if known else None
