"""A histogram of many points, of which a scrape collects some at a time."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap import pacing
from metertap.otel.histograms import BulkHistogram
from metertap.recording.buffer import Batch
from metertap_exporters.prometheus import PrometheusScrapeReader

POINTS = 250


class GivingWay(InMemoryMetricReader):
    gives_way = True


def points_of(reader: InMemoryMetricReader) -> dict[Any, Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (resource,) = data.resource_metrics
    (metric,) = resource.scope_metrics[0].metrics
    return {
        point.attributes["name"]: (point.count, point.sum, point.bucket_counts)
        for point in metric.data.data_points
    }


@pytest.mark.sdk
def test_who_records_between_two_pieces_does_not_wait_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giving_way, usual = GivingWay(), InMemoryMetricReader()
    provider = MeterProvider([giving_way, usual], shutdown_on_exit=False)
    histogram = BulkHistogram(provider, provider.get_meter("test").create_histogram("test"))
    attributes = [{"name": f"tool {number}"} for number in range(POINTS)]
    for number, names in enumerate(attributes):
        histogram.record(Batch([number / POINTS]), names)
    before = points_of(usual)
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


def test_a_scrape_gives_way() -> None:
    assert PrometheusScrapeReader.gives_way
