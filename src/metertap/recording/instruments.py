"""OpenTelemetry instruments of one meter provider, by OpenTelemetry's public API.

Durations are recorded one by one (`Histogram.record`). Everything that the recorder already
holds as a number is observable: it is read when a reader collects, costs nothing before, and is
right from the first collection on, whichever provider comes into force and when.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Histogram, MeterProvider, Observation

from metertap import catalogue, guard
from metertap._version import __version__
from metertap.recording.recorder import Recorder

_Observe = Callable[[Recorder], Iterable[Observation]]
Observed = Mapping[str, Mapping[frozenset[tuple[str, Any]], float]]
"""Values by metric name and attributes, at one moment."""

_COUNTERS = frozenset(
    metric.name
    for metric in (
        catalogue.CACHE_REQUESTS,
        catalogue.CACHE_EVICTIONS,
        catalogue.CACHE_REJECTIONS,
        catalogue.FAULTS,
    )
)


class PlainInstruments:
    """Instruments on `provider` that observe and are fed by `recorder`."""

    path = "plain API"

    def __init__(self, provider: MeterProvider, recorder: Recorder) -> None:
        # Observable instruments cannot be taken back: after `close` they observe nothing.
        self._recorder: Recorder | None = recorder
        self._observers: dict[str, _Observe] = {}
        self._frozen: Observed | None = None
        self._begins: Observed = {}
        meter = provider.get_meter(catalogue.SCOPE, __version__)
        self._histograms: dict[str, Histogram] = {
            metric.name: meter.create_histogram(
                metric.name,
                unit=metric.unit,
                description=metric.description,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
            for metric in (
                catalogue.TOOL_DURATION,
                catalogue.SERVER_DURATION,
                catalogue.CLIENT_DURATION,
            )
        }
        for create, metric, observe in (
            (meter.create_observable_up_down_counter, catalogue.TOOL_ACTIVE, _tool_active),
            (meter.create_observable_up_down_counter, catalogue.SESSION_ACTIVE, _session_active),
            (meter.create_observable_counter, catalogue.CACHE_REQUESTS, _cache_requests),
            (meter.create_observable_counter, catalogue.CACHE_EVICTIONS, _cache_evictions),
            (meter.create_observable_counter, catalogue.CACHE_REJECTIONS, _cache_rejections),
            (meter.create_observable_gauge, catalogue.CACHE_ENTRIES, _cache_entries),
            (meter.create_observable_counter, catalogue.FAULTS, _faults),
        ):
            self._observers[metric.name] = observe
            create(
                metric.name,
                callbacks=[self._callback(metric.name)],
                unit=metric.unit,
                description=metric.description,
            )

    def record(self, metric: catalogue.Metric, seconds: float, attributes: dict[str, str]) -> None:
        """Record one duration in seconds."""
        self._histograms[metric.name].record(seconds, attributes)

    def reopen(self, recorder: Recorder) -> None:
        """Observe again after `close`: a provider takes each instrument only once."""
        self._recorder = recorder
        self._frozen = None

    def close(self) -> None:
        """Observe nothing from now on."""
        self._recorder = None

    def freeze(self) -> Observed:
        """Observe what is true now and nothing later; returns it."""
        if self._frozen is None:
            self._frozen = {name: self._values(name) for name in self._observers}
        return self._frozen

    def start_after(self, observed: Observed) -> None:
        """Count only what comes on top of `observed`: that much was exported elsewhere."""
        self._begins = observed

    def _values(self, name: str) -> Mapping[frozenset[tuple[str, Any]], float]:
        if self._recorder is None:
            return {}
        return {
            frozenset((seen.attributes or {}).items()): seen.value
            for seen in self._observers[name](self._recorder)
        }

    def _observations(self, name: str) -> list[Observation]:
        if self._frozen is not None and self._recorder is not None:
            values = self._frozen.get(name, {})
        else:
            values = self._values(name)
        begins = self._begins.get(name, {}) if name in _COUNTERS else {}
        return [
            Observation(value - begins.get(attributes, 0), dict(attributes))
            for attributes, value in values.items()
        ]

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(_options: CallbackOptions) -> Iterable[Observation]:
            with guard.guarded("observe"):
                return self._observations(name)
            return []

        return callback


def _tool_active(recorder: Recorder) -> Iterable[Observation]:
    for name, active in recorder.active_calls():
        yield Observation(active, {catalogue.TOOL_NAME: name})


def _session_active(recorder: Recorder) -> Iterable[Observation]:
    yield Observation(recorder.active_sessions())


def _cache_requests(recorder: Recorder) -> Iterable[Observation]:
    for cache in recorder.cache_figures():
        labels = _cache_labels(cache.name, cache.system)
        hits = cache.hits - sum(hits for hits, _ in cache.by_tool.values())
        misses = cache.misses - sum(misses for _, misses in cache.by_tool.values())
        yield from _lookups(labels, hits, misses)
        for tool, (hits, misses) in cache.by_tool.items():
            yield from _lookups({**labels, catalogue.TOOL_NAME: tool}, hits, misses)


def _lookups(labels: dict[str, str], hits: int, misses: int) -> Iterable[Observation]:
    yield Observation(hits, {**labels, catalogue.CACHE_REQUEST_TYPE: "hit"})
    yield Observation(misses, {**labels, catalogue.CACHE_REQUEST_TYPE: "miss"})


def _cache_evictions(recorder: Recorder) -> Iterable[Observation]:
    for cache in recorder.cache_figures():
        yield Observation(cache.evictions, _cache_labels(cache.name, cache.system))


def _cache_rejections(recorder: Recorder) -> Iterable[Observation]:
    for cache in recorder.cache_figures():
        yield Observation(cache.rejections, _cache_labels(cache.name, cache.system))


def _cache_entries(recorder: Recorder) -> Iterable[Observation]:
    for cache in recorder.cache_figures():
        if cache.entries is not None:
            yield Observation(cache.entries, _cache_labels(cache.name, cache.system))


def _cache_labels(name: str, system: str) -> dict[str, str]:
    return {catalogue.CACHE_NAME: name, catalogue.CACHE_SYSTEM: system}


def _faults(_recorder: Recorder) -> Iterable[Observation]:
    for place, count in guard.fault_counts().items():
        yield Observation(count, {catalogue.FAULT_PLACE: place})
