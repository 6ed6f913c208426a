"""A check whether a provider's histograms can be fed in bulk by `metertap.otel.histograms`.

That uses private parts of the SDK. So both ways of recording are compared once in a process, on a
provider of their own, before the faster one is used.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from metertap.otel.histograms import BulkHistogram, PlainHistogram
from metertap.recording.batch import Batch

try:
    from opentelemetry.sdk.metrics._internal.aggregation import (  # noqa: F401
        _ExplicitBucketHistogramAggregation,
    )
    from opentelemetry.sdk.metrics._internal.exemplar import (  # noqa: F401
        AlignedHistogramBucketExemplarReservoir,
        AlwaysOffExemplarFilter,
        TraceBasedExemplarFilter,
    )
    from opentelemetry.sdk.metrics._internal.instrument import Histogram as SdkHistogram
    from opentelemetry.sdk.metrics._internal.measurement import Measurement  # noqa: F401
    from opentelemetry.sdk.metrics._internal.measurement_consumer import (
        SynchronousMeasurementConsumer,
    )
except ImportError as error:
    _missing: str | None = str(error)
else:
    _missing = None


def problem(provider: MeterProvider, histograms: Iterable[Histogram]) -> str | None:
    """Return why `histograms` of `provider` cannot be fed in bulk; None if they can."""
    if _missing is not None:
        return f"this SDK is unknown ({_missing})"
    consumer = getattr(provider, "_measurement_consumer", None)
    if type(consumer) is not SynchronousMeasurementConsumer or any(
        not isinstance(item, SdkHistogram) or item._measurement_consumer is not consumer
        for item in histograms
    ):
        return "the provider is not the SDK's"
    exemplar_filter = type(consumer._sdk_config.exemplar_filter)
    if exemplar_filter not in {TraceBasedExemplarFilter, AlwaysOffExemplarFilter}:
        return f"{exemplar_filter.__name__} may want any measurement for an exemplar"
    return _difference()


@functools.lru_cache(maxsize=1)
def _difference() -> str | None:
    """Return how the bulk path differs from this SDK's own recording; None if it does not."""
    try:
        points = [_points(bulk=bulk) for bulk in (False, True)]
    except Exception as error:
        return f"this SDK is unknown ({type(error).__qualname__})"
    return None if points[0] == points[1] else "this SDK counts in another way"


def _points(*, bulk: bool) -> list[Any]:
    """Return the points of a few batches, recorded in bulk or by the public API, of two readers."""
    readers = [
        InMemoryMetricReader(preferred_temporality={SdkHistogram: temporality})
        for temporality in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA)
    ]
    # An empty resource: the SDK takes longer to describe the process than to do all the rest.
    provider = SdkMeterProvider(readers, Resource({}), shutdown_on_exit=False)
    instrument = provider.get_meter("metertap.check").create_histogram(
        "check", explicit_bucket_boundaries_advisory=[0.1, 0.2, 1.0]
    )
    histogram = (BulkHistogram if bulk else PlainHistogram)(provider, instrument)
    collected = []
    for durations in ([0.1], [0.3, 0.7, 0.1, 5.0], [], [0.2, 0.1]):
        for value in ("a", "b"):
            if durations:
                histogram.record(Batch(durations), {"name": value})
        collected += [_fields(reader.get_metrics_data()) for reader in readers]
    return collected


def _fields(data: Any) -> list[Any]:
    found = (
        []
        if data is None
        else [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        ]
    )
    return [
        (p.attributes, p.count, p.sum, p.bucket_counts, p.explicit_bounds, p.min, p.max)
        for p in found
    ]
