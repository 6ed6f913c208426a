"""Instruments of many points, of which a scrape collects some at a time."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap import pacing
from metertap.otel.aggregations import collect_in_pieces
from metertap.otel.histograms import BulkHistogram
from metertap.recording.batch import Batch

POINTS = 250


def points_of(reader: InMemoryMetricReader) -> dict[Any, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    (metric,) = resource.scope_metrics[0].metrics
    return {
        point.attributes["name"]: (point.count, point.sum, point.bucket_counts)
        for point in metric.data.data_points
    }


def values_of(reader: InMemoryMetricReader) -> dict[Any, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    return {point.attributes["name"]: point.value for point in metric.data.data_points}


@pytest.mark.sdk
def test_who_records_between_two_pieces_does_not_wait_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giving_way, usual = InMemoryMetricReader(), InMemoryMetricReader()
    provider = MeterProvider([giving_way, usual], shutdown_on_exit=False)
    histogram = BulkHistogram(provider, provider.get_meter("test").create_histogram("test"))
    attributes = [{"name": f"tool {number}"} for number in range(POINTS)]
    for number, names in enumerate(attributes):
        histogram.record(Batch([number / POINTS]), names)
    before = points_of(usual)
    collect_in_pieces(giving_way)
    pauses = []

    def record_meanwhile() -> None:  # a lock that is held would stop the test here
        pauses.append(1)
        histogram.record(Batch([1.0]), {"name": f"new {len(pauses)}"})
        histogram.record(Batch([1.0]), attributes[-1])

    monkeypatch.setattr(pacing, "pause", record_meanwhile)
    found = points_of(giving_way)
    assert len(pauses) == 2
    assert found.keys() == before.keys()
    last = f"tool {POINTS - 1}"
    assert {name: found[name] for name in found if name != last} == {
        name: before[name] for name in before if name != last
    }
    assert found[last][0] == 3
    monkeypatch.undo()
    assert points_of(giving_way) == points_of(usual)
    assert points_of(usual).keys() == before.keys() | {"new 1", "new 2"}


@pytest.mark.sdk
@pytest.mark.parametrize("kind", ["observable_up_down_counter", "counter", "observable_gauge"])
def test_every_instrument_is_collected_in_pieces(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    make = getattr(provider.get_meter("test"), f"create_{kind}")
    names = [{"name": str(number)} for number in range(POINTS)]
    if kind == "counter":
        counter = make("test")
        for name in names:
            counter.add(1, name)
    else:
        make("test", [lambda _options: [Observation(1, name) for name in names]])
    before = values_of(reader)
    pauses: list[int] = []
    monkeypatch.setattr(pacing, "pause", lambda: pauses.append(1))
    collect_in_pieces(reader)
    assert values_of(reader) == before
    assert (len(before), len(pauses)) == (POINTS, 2)


def test_a_reader_that_is_not_attached_is_left_alone() -> None:
    collect_in_pieces(InMemoryMetricReader())
