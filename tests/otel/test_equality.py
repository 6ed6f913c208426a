"""What the SDK's own way and the bulk way make of the same calls, field by field.

A stream of calls, collections and late readers is played twice: through `Histogram.record` of the
plain API, and through buffers and batches. Every reader has to collect the same.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics._internal import (
    _view_instrument_match,
    instrument,
    measurement_consumer,
    metric_reader_storage,
)
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from metertap import catalogue, outcomes
from metertap.otel import sdk
from metertap.otel.instruments import OtelInstruments
from metertap.otel.sdk import sampled_context
from metertap.recording import Recorder, buffer

pytestmark = pytest.mark.sdk

LIMIT = 3
TOOLS = ("search", "fetch", "index")
ENDINGS = ((outcomes.OK, None), (outcomes.OK, None), (outcomes.EXCEPTION, "KeyError"))
DURATION = catalogue.TOOL_DURATION.name
VIEWS = {
    "none": [],
    "name only": [View(instrument_name=DURATION, attribute_keys={catalogue.TOOL_NAME})],
    "no attributes": [View(instrument_name=DURATION, attribute_keys=set())],
    "dropped": [View(instrument_name=DURATION, aggregation=DropAggregation())],
    "without extremes": [
        View(
            instrument_name=DURATION,
            aggregation=ExplicitBucketHistogramAggregation([0.05, 1.0], record_min_max=False),
        )
    ],
    "twice": [
        View(instrument_name=DURATION, name="one"),
        View(
            instrument_name=DURATION,
            name="two",
            aggregation=ExponentialBucketHistogramAggregation(),
        ),
    ],
}
KINDS_OF_BOTH = ("", " exponential", " limited")

_clock = itertools.count(1_000)
_now = 1_000


@pytest.fixture(autouse=True, scope="module")
def one_clock() -> Iterator[None]:
    """Time stands still between two steps, so that times can be compared too."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            _view_instrument_match,
            instrument,
            measurement_consumer,
            metric_reader_storage,
        ):
            patch.setattr(module, "time_ns", lambda: _now)
        patch.setattr("time.time_ns", lambda: _now)
        yield


def reader(kind: str) -> InMemoryMetricReader:
    options: dict[str, Any] = {}
    if "delta" in kind:
        options["preferred_temporality"] = {Histogram: AggregationTemporality.DELTA}
    if "exponential" in kind:
        options["preferred_aggregation"] = {Histogram: ExponentialBucketHistogramAggregation()}
    if "limited" in kind:
        options.update(sdk.series_limits(LIMIT))
    return InMemoryMetricReader(**options)


class Side:
    """One of the two ways: a provider with its readers, and a recorder."""

    def __init__(self, kinds: list[str], view: str, *, plain: bool) -> None:
        self.readers = [reader(kind) for kind in kinds]
        self.provider = MeterProvider(list(self.readers), views=VIEWS[view], shutdown_on_exit=False)
        self.recorder = Recorder()
        self.instruments = OtelInstruments(self.provider, plain=plain)
        self.instruments.open(self.recorder)
        self.recorder.instruments = (self.instruments,)
        self.recorder.trace_with(sampled_context)

    def add_reader(self, kind: str) -> None:
        self.recorder.fold()  # as the pipeline does
        self.readers.append(reader(kind))
        self.provider.add_metric_reader(self.readers[-1])
        self.recorder.begin_again()

    def call(self, tool: str, ending: tuple[str, str | None], seconds: float) -> None:
        series = self.recorder.tool(tool, "library")
        self.recorder.started(series)
        if ending[0] == outcomes.OK:
            series.append(seconds)
        else:
            series.end(*ending, seconds * 1000.0, seconds)

    def collect(self, index: int) -> Any:
        return comparable(self.readers[index % len(self.readers)].get_metrics_data())


def comparable(data: Any) -> Any:
    """Metric data without the order of points, and without what is random by design."""
    if data is None:
        return None
    found = {}
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = [point_fields(point) for point in metric.data.data_points]
                key = (scope.scope.name, scope.schema_url, metric.name, metric.unit)
                found[key] = (
                    metric.description,
                    type(metric.data).__name__,
                    getattr(metric.data, "aggregation_temporality", None),
                    sorted(points, key=repr),
                    resource.resource.attributes,
                )
    return found


def point_fields(point: Any) -> dict[str, Any]:
    fields = {field.name: getattr(point, field.name) for field in dataclasses.fields(point)}
    fields["attributes"] = sorted((point.attributes or {}).items())
    exemplars = fields["exemplars"]
    if hasattr(point, "explicit_bounds"):
        fields["exemplars"] = [dataclasses.astuple(item) for item in exemplars]
    else:  # an exponential histogram's reservoir draws lots
        fields["exemplars"] = bool(exemplars)
    return fields


KINDS = st.sampled_from(
    [f"{temporality}{kind}" for temporality in ("cumulative", "delta") for kind in KINDS_OF_BOTH]
)
DURATIONS = st.one_of(
    st.floats(0.0, 100.0, allow_subnormal=False),
    st.sampled_from([0.0, 0.01, 0.02, 0.04, 81.92, 1e-9]),  # on the bounds and beside
)
CALLS = st.lists(DURATIONS, min_size=1, max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("call"), st.sampled_from(TOOLS), st.sampled_from(ENDINGS), CALLS, st.booleans()
        ),
        st.tuples(st.just("collect"), st.integers(0, 5)),
        st.tuples(st.just("reader"), KINDS),
        st.tuples(st.just("chunk")),
    ),
    max_size=25,
)


@given(
    kinds=st.lists(KINDS, min_size=1, max_size=3), view=st.sampled_from(list(VIEWS)), steps=STEPS
)
@settings(max_examples=6 * settings().max_examples, suppress_health_check=list(HealthCheck))
def test_every_reader_collects_what_the_plain_api_would_have_given_it(
    kinds: list[str], view: str, steps: list[Any]
) -> None:
    global _now
    plain, bulk = Side(kinds, view, plain=True), Side(kinds, view, plain=False)
    assert (plain.instruments.path, bulk.instruments.path) == ("plain API: asked for", "bulk")
    for step in [*steps, *[("collect", index) for index in range(len(kinds) + 3)]]:
        _now = next(_clock)
        if step[0] == "call":
            _, tool, ending, durations, traced = step
            for seconds in durations:
                _now = next(_clock)
                with span(_now if traced else 0):
                    plain.call(tool, ending, seconds)
                    bulk.call(tool, ending, seconds)
        elif step[0] == "collect":
            assert bulk.collect(step[1]) == plain.collect(step[1])
        elif step[0] == "reader":
            plain.add_reader(step[1])
            bulk.add_reader(step[1])
        else:  # what a full buffer brings about, in the middle of anything
            bulk.recorder.fold()


def span(number: int) -> Any:
    """Run under a span that is sampled, if it has a number."""
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if number else 0)
    context = trace.SpanContext(number or 1, number or 1, is_remote=False, trace_flags=flags)
    return trace.use_span(trace.NonRecordingSpan(context))


@pytest.mark.parametrize("kinds", [["cumulative", "delta"], ["delta exponential", "cumulative"]])
def test_threads_that_record_while_readers_collect_lose_nothing(kinds: list[str]) -> None:
    """The order between threads is anyone's, so totals are compared; durations add up exactly."""
    threads, times = 6, 4 * buffer.CHUNK
    side = Side(kinds, "none", plain=False)
    assert side.instruments.path == "bulk"
    seen = [0.0, 0.0]
    counted = [0, 0]
    done = threading.Event()

    def record(number: int) -> None:
        chosen = random.Random(number)
        for _ in range(times):
            ending = chosen.choice(ENDINGS)
            side.call(chosen.choice(TOOLS), ending, chosen.randrange(1, 64) / 64)

    def collect() -> None:
        while True:
            last = done.is_set()
            for index in range(2):
                points = duration_points(side.readers[index].get_metrics_data())
                if "delta" in kinds[index]:
                    counted[index] += sum(point.count for point in points)
                    seen[index] += sum(point.sum for point in points)
                else:
                    counted[index] = sum(point.count for point in points)
                    seen[index] = sum(point.sum for point in points)
            if last:
                return

    recording = [threading.Thread(target=record, args=(number,)) for number in range(threads)]
    collecting = threading.Thread(target=collect)
    collecting.start()
    for thread in recording:
        thread.start()
    for thread in recording:
        thread.join()
    done.set()
    collecting.join()

    expected = 0.0
    for number in range(threads):
        chosen = random.Random(number)
        for _ in range(times):
            (chosen.choice(ENDINGS), chosen.choice(TOOLS))
            expected += chosen.randrange(1, 64) / 64
    assert counted == [threads * times] * 2
    assert seen == [expected] * 2


def duration_points(data: Any) -> list[Any]:
    if data is None:
        return []
    return [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == catalogue.TOOL_DURATION.name
        for point in metric.data.data_points
    ]
