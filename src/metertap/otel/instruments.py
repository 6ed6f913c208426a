"""OpenTelemetry instruments of one meter provider.

Durations come in batches (`metertap.otel.histograms`). Numbers that the recorder holds anyway are
observable: they cost nothing until a reader collects, and are right from the first collection on,
whichever provider comes into force and when.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from metertap import catalogue, faults, outcomes
from metertap._version import __version__
from metertap.otel import bulk_check
from metertap.otel.histograms import Histograms
from metertap.recording.figures import CacheFigures
from metertap.recording.recorder import Recorder

silent: ContextVar[bool] = ContextVar("metertap_silent", default=False)
"""True while a reader collects that must not get what metertap recorded."""

paced: ContextVar[Callable[[], None] | None] = ContextVar("metertap_paced", default=None)
"""The function that a reader without haste calls while it collects, so that other threads run."""
_PACE = 50  # observations between two pauses: each costs the SDK several microseconds

FEE = "fee"
"""The mark in place of a provider's name, for the fees of a tool's calls."""

_Values = Mapping[frozenset[tuple[str, Any]], float]
_NONE: Mapping[str, _Values] = {}


class Observed(NamedTuple):
    """The values of a recorder's counters at one moment, by metric name and attributes.

    `since` identifies the beginning of the counts: `reset()` and a fork begin anew.
    """

    since: float = 0.0
    counters: Mapping[str, _Values] = _NONE


class OtelInstruments(Histograms):
    """Instruments on `provider`, which observe a recorder from `open` to `close`.

    A provider keeps its instruments for ever, so these are opened again and not made again.
    """

    def __init__(self, provider: MeterProvider, *, plain: bool = False) -> None:
        """`plain` avoids the bulk path, as with an unknown SDK."""
        self._recorder: Recorder | None = None
        self._frozen: Observed | None = None
        self._begins = Observed()
        self._unseen: dict[catalogue.Metric, Sequence[CacheFigures]] = {}
        meter = provider.get_meter(catalogue.SCOPE, __version__)
        histograms = {
            metric.name: meter.create_histogram(
                metric.name,
                unit=metric.unit,
                description=metric.description,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
            for metric in (
                catalogue.TOOL_DURATION,
                catalogue.TOOL_FIRST_ITEM,
                catalogue.SERVER_DURATION,
                catalogue.CLIENT_DURATION,
                catalogue.SERVER_SESSION,
                catalogue.CLIENT_SESSION,
                catalogue.TOOL_RESULT_SIZE,
                *catalogue.OF_MODELS,
            )
        }
        problem = "asked for" if plain else bulk_check.problem(provider, histograms.values())
        super().__init__(provider, histograms, problem)
        for create, metric, observe in (
            *((meter.create_observable_counter, metric, self._counted) for metric in _COUNTERS),
            (meter.create_observable_up_down_counter, catalogue.TOOL_ACTIVE, self._present),
            (meter.create_observable_up_down_counter, catalogue.SESSION_ACTIVE, self._present),
            *((meter.create_observable_gauge, metric, self._present) for metric in _GAUGES),
        ):
            create(
                metric.name,
                callbacks=[self._callback(observe, metric)],
                unit=metric.unit,
                description=metric.description,
            )

    def open(self, recorder: Recorder) -> None:
        """Observe `recorder` from now on."""
        self._recorder = recorder
        self._frozen = None
        self.begin_again()

    def close(self) -> None:
        """Observe nothing from now on."""
        self._recorder = None

    def freeze(self) -> Observed:
        """Keep the present counts for later collections, with no call in progress."""
        assert self._recorder is not None
        self._frozen = Observed(
            since=self._recorder.start_time,
            counters={
                metric.name: _values(self._observe(self._recorder, metric)) for metric in _COUNTERS
            },
        )
        return self._frozen

    def start_after(self, observed: Observed) -> None:
        """Count only what exceeds `observed`, which was exported elsewhere."""
        self._begins = observed

    def _observe(self, recorder: Recorder, metric: catalogue.Metric) -> Iterable[Observation]:
        if metric not in _OF_CACHE:
            return _OTHERS[metric](recorder)
        # A reader observes all cache metrics in turn. The first one looks at the caches, and each
        # of the others takes that result once.
        caches = self._unseen.pop(metric, None)
        if caches is None or metric is catalogue.CACHE_REQUESTS:
            caches = recorder.cache_figures()
            self._unseen = dict.fromkeys(_OF_CACHE.keys() - {metric}, caches)
        return itertools.chain.from_iterable(map(_OF_CACHE[metric], caches))

    def _counted(self, recorder: Recorder, metric: catalogue.Metric) -> list[Observation]:
        values = _values(self._observe(recorder, metric))
        if self._frozen is not None:  # read last, since it may be set meanwhile
            values = self._frozen.counters[metric.name]
        begins: _Values = {}
        if self._begins.since == recorder.start_time:
            begins = self._begins.counters[metric.name]
        return [
            Observation(value - begins.get(attributes, 0), dict(attributes))
            for attributes, value in values.items()
        ]

    def _present(self, recorder: Recorder, metric: catalogue.Metric) -> list[Observation]:
        observations = list(self._observe(recorder, metric))
        if self._frozen is None:
            return observations
        if metric in _GAUGES:  # a gauge just ends, but a sum must end at zero
            return []
        return [Observation(0, seen.attributes) for seen in observations]

    def _callback(
        self,
        observe: Callable[[Recorder, catalogue.Metric], list[Observation]],
        metric: catalogue.Metric,
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(_options: CallbackOptions) -> Iterable[Observation]:
            recorder = self._recorder
            if recorder is not None and not silent.get():
                with faults.guarded("observe"):
                    found, pause = observe(recorder, metric), paced.get()
                    return found if pause is None else _with_pauses(found, pause)
            return []

        return callback


def _with_pauses(
    observations: Iterable[Observation], pause: Callable[[], None]
) -> Iterable[Observation]:
    for number, observation in enumerate(observations, 1):
        yield observation
        if number % _PACE == 0:
            pause()


def _values(observations: Iterable[Observation]) -> _Values:
    return {frozenset((seen.attributes or {}).items()): seen.value for seen in observations}


def _tool_active(recorder: Recorder) -> Iterable[Observation]:
    recorder.fold()  # the SDK asks observable instruments before it reads its histograms
    for name, active in recorder.active_calls():
        yield Observation(active, {catalogue.TOOL_NAME: name})


def _session_active(recorder: Recorder) -> Iterable[Observation]:
    yield Observation(recorder.active_sessions())


def _faults(_recorder: Recorder) -> Iterable[Observation]:
    for place, count in faults.fault_counts().items():
        yield Observation(count, {catalogue.FAULT_PLACE: place})


def _tool_cost(
    recorder: Recorder, part: str = "spent", fees: Collection[str] = outcomes.RAN
) -> Iterable[Observation]:
    for series in recorder.usage_figures():
        if series.cost is not None:
            attributes = {
                catalogue.TOOL_NAME: series.tool,
                catalogue.PROVIDER_NAME: series.provider,
                catalogue.RESPONSE_MODEL: series.model,
            }
            yield Observation(float(getattr(series, part)), attributes)
    for name, fee in recorder.spent_on_fees(fees).items() if fees else ():
        yield Observation(float(fee), {catalogue.TOOL_NAME: name, catalogue.PROVIDER_NAME: FEE})


def _lookups_of_tools(recorder: Recorder, part: str) -> Iterable[Observation]:
    found: defaultdict[tuple[str, str], float] = defaultdict(float)  # of all sources of a name
    for (name, _), sums in recorder.looked_up():
        found[name, "hit"] += sums[f"all_hit_{part}"]
        found[name, "miss"] += sums[f"missed_{part}"]
    for labels, value in found.items():
        keys = (catalogue.TOOL_NAME, catalogue.CACHE_REQUEST_TYPE)
        yield Observation(value, dict(zip(keys, labels, strict=True)))


def _definition_size(recorder: Recorder) -> Iterable[Observation]:
    sizes: Counter[tuple[str, str, str]] = Counter()  # equal names of several sources together
    for weight in recorder.weighed():
        found = weight.definition
        if found is not None:
            sizes[weight.name, weight.side, "description"] += found.description
            sizes[weight.name, weight.side, "schema"] += found.schema
            sizes[weight.name, weight.side, "other"] += found.other
    for labels, size in sizes.items():
        keys = (catalogue.TOOL_NAME, catalogue.SIDE, catalogue.DEFINITION_PART)
        yield Observation(size, dict(zip(keys, labels, strict=True)))


_OTHERS: dict[catalogue.Metric, Callable[[Recorder], Iterable[Observation]]] = {
    catalogue.FAULTS: _faults,
    catalogue.TOOL_COST: _tool_cost,
    catalogue.TOOL_FAILED_COST: partial(_tool_cost, part="spent_in_failed", fees=outcomes.FAILED),
    catalogue.TOOL_MISS_COST: partial(_tool_cost, part="spent_after_miss", fees=()),
    catalogue.TOOL_LOOKUP_CALLS: partial(_lookups_of_tools, part="calls"),
    catalogue.TOOL_LOOKUP_TIME: partial(_lookups_of_tools, part="seconds"),
    catalogue.TOOL_ACTIVE: _tool_active,
    catalogue.TOOL_DEFINITION_SIZE: _definition_size,
    catalogue.SESSION_ACTIVE: _session_active,
}


def _cache_requests(cache: CacheFigures) -> Iterable[Observation]:
    labels = _cache_labels(cache)
    by_tool = cache.by_tool or {}
    hits = cache.hits - sum(hits for hits, _ in by_tool.values())
    misses = cache.misses - sum(misses for _, misses in by_tool.values())
    yield from _lookups(labels, hits, misses)
    for tool, (hits, misses) in by_tool.items():
        yield from _lookups({**labels, catalogue.TOOL_NAME: tool}, hits, misses)


def _lookups(labels: dict[str, str], hits: int, misses: int) -> Iterable[Observation]:
    yield Observation(hits, {**labels, catalogue.CACHE_REQUEST_TYPE: "hit"})
    yield Observation(misses, {**labels, catalogue.CACHE_REQUEST_TYPE: "miss"})


def _cache_evictions(cache: CacheFigures) -> Iterable[Observation]:
    if cache.evictions is not None:
        yield Observation(cache.evictions, _cache_labels(cache))


def _cache_rejections(cache: CacheFigures) -> Iterable[Observation]:
    if cache.rejections is not None:
        yield Observation(cache.rejections, _cache_labels(cache))


def _cache_entries(cache: CacheFigures) -> Iterable[Observation]:
    if cache.entries is not None:
        yield Observation(cache.entries, _cache_labels(cache))


def _cache_labels(cache: CacheFigures) -> dict[str, str]:
    return {catalogue.CACHE_NAME: cache.name, catalogue.CACHE_SYSTEM: cache.system}


_OF_CACHE: dict[catalogue.Metric, Callable[[CacheFigures], Iterable[Observation]]] = {
    catalogue.CACHE_REQUESTS: _cache_requests,
    catalogue.CACHE_EVICTIONS: _cache_evictions,
    catalogue.CACHE_REJECTIONS: _cache_rejections,
    catalogue.CACHE_ENTRIES: _cache_entries,
}
_GAUGES = (catalogue.CACHE_ENTRIES, catalogue.TOOL_DEFINITION_SIZE)
_COUNTERS = (
    catalogue.CACHE_REQUESTS,
    catalogue.CACHE_EVICTIONS,
    catalogue.CACHE_REJECTIONS,
    catalogue.FAULTS,
    catalogue.TOOL_COST,
    catalogue.TOOL_FAILED_COST,
    catalogue.TOOL_MISS_COST,
    catalogue.TOOL_LOOKUP_CALLS,
    catalogue.TOOL_LOOKUP_TIME,
)
