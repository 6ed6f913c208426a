"""The histograms of one meter provider: batches of durations go into the SDK's own aggregations.

`Histogram.record` takes the SDK 4 to 8 µs for each reader, nearly all of it to find the aggregation
for one value. A batch finds it once and merges all values: buckets by bisecting the bounds into the
sorted batch, the sum in the order of the values, so that it equals the SDK's to the last digit.
Views, temporality, limits, resets and start times stay the SDK's. Values that have no aggregation
yet, or one of another kind, are recorded one by one through the SDK.

All of this is private to the SDK. `metertap.otel.bulk_check` decides whether it can be relied on;
otherwise durations go one by one through the public `Histogram.record`.
"""

from __future__ import annotations

import math
import operator
import time
import weakref
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    get_current_span,
    set_span_in_context,
)

from metertap import catalogue, faults
from metertap.otel import others
from metertap.recording.batch import Batch, Trace

try:
    from opentelemetry.sdk.metrics._internal.aggregation import (
        _ExplicitBucketHistogramAggregation as Explicit,
    )
    from opentelemetry.sdk.metrics._internal.exemplar import (
        AlignedHistogramBucketExemplarReservoir,
    )
    from opentelemetry.sdk.metrics._internal.measurement import Measurement
except ImportError:
    pass  # `bulk_check` reports the SDK as unknown, and nothing of this is used

try:
    from opentelemetry.sdk.metrics._internal import _view_instrument_match as matching
except ImportError:
    matching: Any = None  # type: ignore[no-redef]


_NOWHERE = Context()


def _without_span() -> Context | None:
    """Return the present context with the span's ids only; None if there is no span.

    A provider may write what is recorded into the span, which is the program's: logfire's sums up
    the tokens of model calls there, and would have them twice.
    """
    span = get_current_span()
    if span is INVALID_SPAN:
        return None
    return set_span_in_context(NonRecordingSpan(span.get_span_context()))


class PlainHistogram:
    """Recording by the public API, value by value."""

    in_order = True
    is_full = False

    def __init__(self, _provider: MeterProvider, histogram: Any) -> None:
        self._histogram = histogram

    def begin_again(self) -> None:
        """Do nothing: no attributes are kept."""

    def record(self, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations; their exemplars have the ids of the present span."""
        context = _without_span()
        for done in range(batch.taken_by.get(self, 0), len(batch)):
            self._histogram.record(batch.durations[done], attributes, context)
            batch.taken_by[self] = done + 1


class BulkHistogram:
    """Recording of batches, with the same result as `Histogram.record` of each value.

    If several series share a data point (past a reader's limit, or under a View that drops
    attributes), the order of values between series matters, at least for the last digit of the sum.
    Then `in_order` becomes true, and every value must be recorded at once. `is_full` says that the
    next new series may cause that.

    Series are identified by the contents of their attributes: after a reset and in a forked child
    the recorder makes new attributes for a series, which continues under the SDK's own key.
    """

    def __init__(self, provider: Any, histogram: Any) -> None:
        self.in_order = False
        self.is_full = False
        self._histogram = histogram
        self._consumer = provider._measurement_consumer
        self._storages: Any = None
        self._matches: list[Any] = []
        self._limit: float = math.inf
        self._known: dict[int, dict[str, str]] = {}  # by id, which they keep from being reused
        self._streams: dict[tuple[str, ...], dict[str, str]] = {}  # by names and values
        self._keys: dict[frozenset[str] | None, dict[int, Any]] = {}

    def begin_again(self) -> None:
        """Forget the recorder's attributes, whose series may be gone, but not the SDK's data."""
        self._known, self._keys = {}, {}

    def record(self, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations. `attributes` is the same object for the same series."""
        enabled = getattr(self._histogram, "_is_enabled", None)
        if enabled is not None and not enabled():
            return
        if self._storages is not self._consumer._reader_storages:  # replaced, never changed
            self._find_matches()
            self._look_at_limits()
        if id(attributes) not in self._known:
            self._known[id(attributes)] = attributes
            # The first object stands for all: its id is a key as long as the object is kept.
            names = sorted(attributes)
            key = (*names, *map(attributes.__getitem__, names))
            self._streams.setdefault(key, attributes)
            self._look_at_limits()
        for match in self._matches:
            self._record(match, batch, attributes)

    def _find_matches(self) -> None:
        self._storages = self._consumer._reader_storages
        self._matches = [
            match
            for reader, storage in self._storages.items()
            if not getattr(reader, "ignores_metertap", False)
            for match in storage._get_or_init_view_instrument_match(self._histogram)
        ]
        limits = [getattr(item, "_cardinality_limit", math.inf) for item in self._matches]  # ≥ 1.45
        self._limit = min(limits, default=math.inf)

    def _look_at_limits(self) -> None:
        streams = len(self._streams)
        for match in self._matches:
            if match._view._attribute_keys is not None:
                self.is_full = True
                if self.in_order:
                    break
                points = {self._key(match, attributes) for attributes in self._streams.values()}
                self.in_order = self.in_order or len(points) < streams
        self.in_order = self.in_order or streams > self._limit
        self.is_full = self.is_full or streams >= self._limit

    def _record(self, match: Any, batch: Batch, attributes: dict[str, str]) -> None:
        key = self._key(match, attributes)
        # From where an earlier call was interrupted.
        for done in range(batch.taken_by.get(match, 0), len(batch)):
            with match._lock:  # a delta reader's collection removes the aggregations
                aggregation = match._attributes_aggregation.get(key)
                if type(aggregation) is Explicit:
                    _merge(match, aggregation, batch, done)
                    break
            self._record_one(match, batch, done, attributes)
            batch.taken_by[match] = done + 1
            if aggregation is None:
                key = self._shared_key(match, attributes, key)
        else:
            return
        if batch.traces:
            self._offer(aggregation, batch, done, attributes)

    def _shared_key(self, match: Any, attributes: dict[str, str], key: Any) -> Any:
        """Return the SDK's own object for `key`, if any: another copy takes half a kilobyte."""
        with match._lock:
            newest = next(reversed(match._attributes_aggregation), None)
        if newest == key:
            kept = match._view._attribute_keys
            self._keys[None if kept is None else frozenset(kept)][id(attributes)] = newest
            return newest
        return key

    def _record_one(
        self, match: Any, batch: Batch, position: int, attributes: dict[str, str]
    ) -> None:
        seconds = batch.durations[position]
        trace = next((item for item in batch.traces if item.position == position), None)
        if trace is None:
            taken = Measurement(seconds, time.time_ns(), self._histogram, _NOWHERE, attributes)
            match.consume_measurement(taken, False)
        else:
            taken = Measurement(seconds, trace.time_ns, self._histogram, trace.context, attributes)
            match.consume_measurement(taken, self._should_sample(taken))

    def _offer(
        self, aggregation: Any, batch: Batch, first: int, attributes: dict[str, str]
    ) -> None:
        """Offer the traced values from index `first` on as exemplars."""
        durations = batch.durations
        offered: Iterable[Trace] = [item for item in batch.traces if item.position >= first]
        reservoir = aggregation._reservoir
        if type(reservoir) is AlignedHistogramBucketExemplarReservoir:  # one for each bucket
            bounds = aggregation._boundaries
            offered = {
                bisect_left(bounds, durations[item.position]): item for item in offered
            }.values()
        for trace in offered:
            taken = Measurement(
                durations[trace.position], trace.time_ns, self._histogram, trace.context, attributes
            )
            if self._should_sample(taken):
                reservoir.offer(taken.value, taken.time_unix_nano, taken.attributes, taken.context)

    def _should_sample(self, taken: Any) -> bool:
        exemplar_filter = self._consumer._sdk_config.exemplar_filter
        sampled: bool = exemplar_filter.should_sample(
            taken.value, taken.time_unix_nano, taken.attributes, taken.context
        )
        return sampled

    def _key(self, match: Any, attributes: dict[str, str]) -> Any:
        """Return the key under which the SDK keeps the aggregation for `attributes`."""
        kept = match._view._attribute_keys
        keys = self._keys.setdefault(None if kept is None else frozenset(kept), {})
        key = keys.get(id(attributes))
        if key is None:
            # A measurement cleans its attributes first.
            taken = Measurement(0.0, 0, self._histogram, _NOWHERE, attributes).attributes or {}
            taken = {k: v for k, v in taken.items() if kept is None or k in kept}
            hashed = getattr(matching, "_hash_attributes", None)  # since SDK 1.45
            key = keys[id(attributes)] = (
                frozenset(taken.items()) if hashed is None else hashed(taken)
            )
        return key


def _merge(match: Any, aggregation: Any, batch: Batch, done: int) -> None:
    rest, count = batch.after(done), len(batch)
    counts, ordered = rest.counts(aggregation._boundaries), rest.ordered
    with aggregation._lock:
        value, least, most = aggregation._value, aggregation._min, aggregation._max
        value = list(counts if value is None else map(operator.add, value, counts))
        total = rest.added_to(aggregation._sum)
        if aggregation._record_min_max:
            least, most = min(least, ordered[0]), max(most, ordered[-1])
        # Without a call, so that an interrupt comes before or after all of it.
        aggregation._value, aggregation._sum = value, total
        aggregation._min, aggregation._max = least, most
        batch.taken_by[match] = count


class Histograms:
    """The histograms on `provider`, to which a recorder hands its batches."""

    def __init__(
        self, provider: MeterProvider, histograms: Mapping[str, Histogram], problem: str | None
    ) -> None:
        """Feed `histograms`, by metric name; one by one if there is a `problem` with the bulk."""
        self._provider = weakref.ref(provider)  # the provider keeps its instruments
        self.in_order = problem is not None
        self.is_full = False
        self.path = "bulk" if problem is None else f"plain API: {problem}"
        self.stood_back: str | None = None
        """Why metrics of model calls are not recorded, if another instrumentation records them."""
        self._other: str | None = None
        make = BulkHistogram if problem is None else PlainHistogram
        self._histograms = {name: make(provider, item) for name, item in histograms.items()}

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations. `attributes` is the same object for the same series."""
        if metric in catalogue.OF_MODELS and self._others_measure_models():
            return
        histogram = self._histograms[metric.name]
        histogram.record(batch, attributes)
        self.is_full = self.is_full or histogram.is_full
        if histogram.in_order and not self.in_order:
            self.in_order = True
            self.path = "value by value: series share a data point (past a limit, or by a View)"

    def _others_measure_models(self) -> bool:
        """Return whether another instrumentation records these metrics to the same provider.

        Then its figures include each call, which must not be in the same metric twice.
        """
        if self._other is not None and others.has_ended(self._other):
            self.stood_back = self._other = None
        if self.stood_back is None:
            found = others.recording(self._provider(), {item.name for item in catalogue.OF_MODELS})
            if found is not None:
                self._other = found
                self.stood_back = (
                    f"{found} measures calls of models on this provider: "
                    f"{' and '.join(item.name for item in catalogue.OF_MODELS)} are left to it"
                )
                faults.info("%s", self.stood_back)
        return self.stood_back is not None

    def begin_again(self) -> None:
        """Look up attributes anew: the recorder's series may be new ones."""
        for histogram in self._histograms.values():
            histogram.begin_again()
