"""A history that is played to observable instruments and to the SDK's own counters."""

from __future__ import annotations

from collections import Counter as Totals
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics import (
    Counter,
    Histogram,
    MeterProvider,
    ObservableCounter,
    ObservableUpDownCounter,
    UpDownCounter,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

from metertap import catalogue, outcomes
from metertap.otel import sdk
from metertap.otel.instruments import OtelInstruments
from metertap.recording import CacheSeries, Recorder
from metertap.recording.cache_series import Reading, Statistics

LIMIT = 3
TOOLS = [("search", "library"), ("search", "manual"), ("fetch", "library"), ("index", "manual")]
CACHES = [("prompts", "one"), ("prompts", "another"), ("pages", "one")]
ENDINGS = [(outcomes.OK, None), (outcomes.OK, None), (outcomes.EXCEPTION, "KeyError")]
COUNTERS = (catalogue.CACHE_REQUESTS, catalogue.CACHE_EVICTIONS, catalogue.CACHE_REJECTIONS)
UP_DOWN_COUNTERS = (catalogue.TOOL_ACTIVE, catalogue.SESSION_ACTIVE)
OBSERVED = [metric.name for metric in (*COUNTERS, *UP_DOWN_COUNTERS)]
CALLS = catalogue.TOOL_DURATION.name
VIEWS = {
    "none": [],
    "name only": [
        View(instrument_name=catalogue.CACHE_REQUESTS.name, attribute_keys={catalogue.CACHE_NAME}),
        View(instrument_name=catalogue.TOOL_ACTIVE.name, attribute_keys=set()),
    ],
}
KINDS = ("cumulative", "delta", "cumulative limited", "delta limited")


class PatientReader(InMemoryMetricReader):
    """A reader whose collection may take long on a loaded machine."""

    def collect(self, timeout_millis: float = 120_000) -> None:
        super().collect(timeout_millis)


def reader(kind: str) -> InMemoryMetricReader:
    options: dict[str, Any] = {}
    if "delta" in kind:
        options["preferred_temporality"] = dict.fromkeys(
            (Counter, UpDownCounter, Histogram, ObservableCounter, ObservableUpDownCounter),
            AggregationTemporality.DELTA,
        )
    if "limited" in kind:
        options.update(sdk.series_limits(LIMIT))
    return PatientReader(**options)


class Told:
    """Counters of the plain API."""

    def __init__(self, kinds: Sequence[str], view: str) -> None:
        self.readers = [reader(kind) for kind in kinds]
        self.provider = MeterProvider(list(self.readers), views=VIEWS[view], shutdown_on_exit=False)
        meter = self.provider.get_meter(catalogue.SCOPE)
        makers = dict.fromkeys(COUNTERS, meter.create_counter)
        makers |= dict.fromkeys(UP_DOWN_COUNTERS, meter.create_up_down_counter)
        self._counters = {
            metric.name: make(metric.name, metric.unit, metric.description)
            for metric, make in makers.items()
        }
        self._counters[CALLS] = meter.create_counter(CALLS)

    def add(self, name: str, amount: int, attributes: dict[str, str]) -> None:
        self._counters[name].add(amount, attributes)

    def add_reader(self, kind: str) -> None:
        self.readers.append(reader(kind))
        self.provider.add_metric_reader(self.readers[-1])


class ReadCache:
    """A cache that counts itself."""

    def __init__(self) -> None:
        self.is_gone = False
        self.clear()

    def clear(self) -> None:
        self.hits = self.misses = self.evictions = 0

    def statistics(self) -> Statistics | None:
        return None if self.is_gone else Statistics(self.hits, self.misses, self.evictions)


class Play:
    """One history, told to everybody."""

    def __init__(self, kinds: Sequence[str], later: Sequence[str], view: str) -> None:
        self.kinds = [*kinds, *later]
        self.told = Told(self.kinds, view)
        self.joined = Told(kinds, view)  # readers come to this one when they come to ours
        self.readers = [reader(kind) for kind in kinds]
        self.provider = MeterProvider(list(self.readers), views=VIEWS[view], shutdown_on_exit=False)
        self.recorder = Recorder()
        instruments = OtelInstruments(self.provider)
        instruments.open(self.recorder)
        self.recorder.instruments = (instruments,)
        self.in_progress: list[tuple[str, str]] = []
        self.sessions: list[object] = []
        self.parts: list[tuple[tuple[str, str], CacheSeries]] = []
        self.read: list[tuple[tuple[str, str], ReadCache]] = []

    # Tools

    def start(self, tool: tuple[str, str]) -> None:
        self.recorder.started(self.recorder.tool(*tool))
        self.in_progress.append(tool)
        self.told.add(catalogue.TOOL_ACTIVE.name, 1, {catalogue.TOOL_NAME: tool[0]})

    def _ends(self, which: int) -> tuple[str, str] | None:
        if not self.in_progress:
            return None
        tool = self.in_progress.pop(which % len(self.in_progress))
        self.told.add(catalogue.TOOL_ACTIVE.name, -1, {catalogue.TOOL_NAME: tool[0]})
        return tool

    def end(self, which: int, ending: tuple[str, str | None]) -> None:
        tool = self._ends(which)
        if tool is not None:
            series = self.recorder.tool(*tool)
            if ending[0] == outcomes.OK:
                series.append(0.01)
            else:
                series.end(*ending, 10.0, 0.01)
            attributes = {catalogue.TOOL_NAME: tool[0], catalogue.OUTCOME: ending[0]}
            if ending[1] is not None:
                attributes[catalogue.ERROR_TYPE] = ending[1]
            self.joined.add(CALLS, 1, attributes)

    def never_ended(self, which: int) -> None:
        tool = self._ends(which)
        if tool is not None:
            self.recorder.never_ended(self.recorder.tool(*tool))

    # Caches

    def _told_of(
        self, cache: tuple[str, str], metric: catalogue.Metric, amount: int, **more: str
    ) -> None:
        labels = {catalogue.CACHE_NAME: cache[0], catalogue.CACHE_SYSTEM: cache[1]}
        self.told.add(metric.name, amount, {**labels, **more})

    def _told_of_lookup(
        self, cache: tuple[str, str], hit: bool, tool: tuple[str, str] | None = None
    ) -> None:
        labels = {catalogue.CACHE_REQUEST_TYPE: "hit" if hit else "miss"}
        if tool is not None:
            labels[catalogue.TOOL_NAME] = tool[0]
        self._told_of(cache, catalogue.CACHE_REQUESTS, 1, **labels)

    def look_up(self, cache: tuple[str, str], hit: bool, tool: tuple[str, str] | None) -> None:
        """In a cache that is counted under its name."""
        series = None if tool is None else self.recorder.tool(*tool)
        self.recorder.cache_looked_up(self.recorder.cache(*cache), hit, series)
        self._told_of_lookup(cache, hit, tool)

    def evict(self, cache: tuple[str, str], entries: int) -> None:
        self.recorder.cache_evicted(self.recorder.cache(*cache), entries)
        self._told_of(cache, catalogue.CACHE_EVICTIONS, entries)

    def reject(self, cache: tuple[str, str]) -> None:
        self.recorder.cache_rejected(self.recorder.cache(*cache))
        self._told_of(cache, catalogue.CACHE_REJECTIONS, 1)

    def make_part(self, cache: tuple[str, str], hit: bool) -> None:
        """A cache object that turns out to have this name, after its first lookup."""
        part = CacheSeries("", cache[1])
        self.recorder.cache_looked_up(part, hit, None)
        self.recorder.cache_evicted(part, 1)
        self.recorder.cache(*cache).parts[part] = None
        self.parts.append((cache, part))
        self._told_of_lookup(cache, hit)
        self._told_of(cache, catalogue.CACHE_EVICTIONS, 1)

    def look_up_in_part(self, which: int, hit: bool, tool: tuple[str, str] | None) -> None:
        if self.parts:
            cache, part = self.parts[which % len(self.parts)]
            series = None if tool is None else self.recorder.tool(*tool)
            self.recorder.cache_looked_up(part, hit, series)
            self.recorder.cache_evicted(part, 1)
            self._told_of_lookup(cache, hit, tool)
            self._told_of(cache, catalogue.CACHE_EVICTIONS, 1)

    def end_part(self, which: int) -> None:
        if self.parts:
            cache, part = self.parts.pop(which % len(self.parts))
            self.recorder.cache(*cache).absorb(part)

    def make_read(self, cache: tuple[str, str]) -> None:
        found = ReadCache()
        self.recorder.cache(*cache).readings[Reading(found.statistics)] = None
        self.read.append((cache, found))

    def look_up_in_read(self, which: int, hits: int, misses: int) -> None:
        if self.read:
            cache, found = self.read[which % len(self.read)]
            found.hits += hits
            found.misses += misses
            found.evictions += misses
            for hit in [True] * hits + [False] * misses:
                self._told_of_lookup(cache, hit)
            self._told_of(cache, catalogue.CACHE_EVICTIONS, misses)

    def clear_read(self, which: int) -> None:
        """What a cache counted since somebody looked last is lost with it: one looks before."""
        if self.read:
            self.recorder.cache_figures()
            self.read[which % len(self.read)][1].clear()
            self.recorder.cache_figures()

    def end_read(self, which: int) -> None:
        if self.read:
            self.recorder.cache_figures()
            self.read.pop(which % len(self.read))[1].is_gone = True

    # Sessions

    def open_session(self) -> None:
        self.sessions.append(self.recorder.session_opened())
        self.told.add(catalogue.SESSION_ACTIVE.name, 1, {})

    def close_session(self) -> None:
        if self.sessions:
            self.recorder.session_closed(self.sessions.pop())
            self.told.add(catalogue.SESSION_ACTIVE.name, -1, {})

    # Views

    def start_over(self) -> None:
        self.recorder.start_over()

    def fold(self) -> None:
        self.recorder.fold()

    def add_reader(self) -> None:
        if len(self.readers) < len(self.kinds):
            kind = self.kinds[len(self.readers)]
            self.recorder.fold()  # as the pipeline does
            self.readers.append(reader(kind))
            self.provider.add_metric_reader(self.readers[-1])
            self.recorder.begin_again()
            self.joined.add_reader(kind)

    def collect(self, which: int) -> None:
        """Every reader has to get the same from either side."""
        index = which % len(self.readers)
        limited = "limited" in self.kinds[index]
        observed = values(self.readers[index].get_metrics_data(), limited=limited)
        told = values(self.told.readers[index].get_metrics_data(), limited=limited)
        joined = values(self.joined.readers[index].get_metrics_data(), limited=limited)
        for name in OBSERVED:
            assert observed.get(name, {}) == told.get(name, {}), name
        assert counts(observed) == counts(joined)


def values(data: Any, *, limited: bool) -> dict[str, dict[Any, Any]]:
    """By metric and attributes what is not zero, with what sort of number it is.

    Past a limit the order of first appearance decides who has a point of its own: then the totals.
    """
    found: dict[str, dict[Any, Any]] = {}
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                sort = [metric.data.aggregation_temporality]
                if hasattr(metric.data, "is_monotonic"):
                    sort += [metric.data.is_monotonic, metric.unit, metric.description]
                totals: Totals[Any] = Totals()
                for point in metric.data.data_points:
                    key = () if limited else tuple(sorted((point.attributes or {}).items()))
                    totals[key] += point.count if hasattr(point, "count") else point.value
                found[metric.name] = {
                    (*sort, key): value for key, value in totals.items() if value != 0
                }
    return found


def counts(found: dict[str, dict[Any, Any]]) -> dict[Any, int]:
    """Calls by temporality and attributes: a histogram's counts, or a counter's values."""
    return {(key[0], key[-1]): value for key, value in found.get(CALLS, {}).items()}
