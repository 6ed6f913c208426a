"""What a scrape makes of OpenTelemetry's metric data, which the test makes itself."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from metertap_exporters.exposition.families import Family, Series
from metertap_exporters.exposition.otel import Target, families

CUMULATIVE, DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
SPAN = {"trace_id": 0xA1, "span_id": 0xB2}
SPAN_LABELS = (("trace_id", f"{0xA1:032x}"), ("span_id", f"{0xB2:016x}"))


def data(*metrics: tuple[str, str, Any], **resource: str) -> MetricsData:
    """Make the collection of one scope, of (name, unit, data)."""
    made = [Metric(name, None, unit, points) for name, unit, points in metrics]
    scope = ScopeMetrics(InstrumentationScope("theirs"), made, "")
    return MetricsData([ResourceMetrics(Resource(resource), [scope], "")])


def number(value: float, *exemplars: Exemplar) -> NumberDataPoint:
    return NumberDataPoint({}, 0, 0, value, exemplars)


def counted(*exemplars: Exemplar) -> Sum:
    return Sum([number(3, *exemplars)], CUMULATIVE, True)


def only(family: Family) -> Series:
    """The one series of a family."""
    [group] = family.groups
    [series] = group.series
    return series


def exemplar_labels(exemplar: Exemplar) -> tuple[tuple[str, str], ...]:
    [family] = families(data(("sold", "1", counted(exemplar))))
    found = only(family).exemplar
    assert found is not None
    return found.labels


@pytest.mark.parametrize(
    ("points", "kind"),
    [
        (Sum([number(1)], CUMULATIVE, True), "counter"),
        (Sum([number(1)], CUMULATIVE, False), "gauge"),
        (Sum([number(1)], DELTA, True), "counter"),
        (Sum([number(1)], DELTA, False), "counter"),
        (Gauge([number(1)]), "gauge"),
    ],
)
def test_only_what_may_fall_is_a_gauge(points: Any, kind: str) -> None:
    [family] = families(data(("sold", "1", points)))
    assert (family.kind, only(family).value) == (kind, 1)


@pytest.mark.parametrize(
    ("name", "points", "adds_up"),
    [
        ("cache.entries", Gauge([number(3)]), True),
        ("queue.length", Gauge([number(3)]), False),
        ("queue.length", Sum([number(3)], CUMULATIVE, False), True),
        ("sold", counted(), True),
    ],
)
def test_gauges_of_workers_do_not_add_up_but_entries_of_their_caches_do(
    name: str, points: Any, adds_up: bool
) -> None:
    [family] = families(data((name, "1", points)))
    assert family.adds_up is adds_up


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("sold", "By", ("sold_bytes", "bytes")),
        ("sold_bytes", "By", ("sold_bytes", "bytes")),
        ("sold_bytes_total", "By", ("sold_bytes", "bytes")),
        ("sold.total", "", ("sold", "")),
        ("bytes", "By", ("bytes_bytes", "bytes")),
    ],
)
def test_a_name_ends_with_its_unit_once(name: str, unit: str, expected: tuple[str, str]) -> None:
    [family] = families(data((name, unit, counted())))
    assert (family.name, family.unit) == expected


def test_only_a_counter_loses_the_ending_that_all_counters_get() -> None:
    [family] = families(data(("disk.total", "By", Gauge([number(3)]))))
    assert family.name == "disk_total_bytes"


def test_metrics_that_agree_share_a_family() -> None:
    one, other = data(("sold", "1", counted())), data(("sold", "1", counted()))
    both = MetricsData([*one.resource_metrics, *other.resource_metrics])
    [family] = families(both)
    assert len(family.groups) == 2


def test_the_target_is_that_of_the_first_scrape_with_all_its_resources() -> None:
    target = Target()
    first = MetricsData([*data(a="1").resource_metrics, *data(b="2").resource_metrics])
    family = target.family(first)
    assert only(family).labels == {"a": "1", "b": "2"}
    assert target.family(data(a="3")) is family


def test_the_newest_exemplar_of_a_series_stands_there() -> None:
    exemplars = [Exemplar({}, value, int(at * 1e9)) for value, at in ((1, 2.5), (2, 4.5), (3, 3))]
    [family] = families(data(("sold", "1", counted(*exemplars))))
    found = only(family).exemplar
    assert found is not None
    assert (found.value, found.timestamp, found.labels) == (2, 4.5, ())
    [bare] = families(data(("sold", "1", counted())))
    assert only(bare).exemplar is None


def test_the_newest_exemplar_of_each_bucket_stands_there() -> None:
    taken = ((0.5, 3), (1.0, 1), (1.5, 1), (0.7, 2), (9.0, 1))
    exemplars = [Exemplar({}, value, second * 10**9) for value, second in taken]
    point = HistogramDataPoint({}, 0, 0, 5, 12.7, [3, 1, 1], [1.0, 5.0], 0.5, 9.0, exemplars)
    [family] = families(data(("took", "s", Histogram([point], CUMULATIVE))))
    value = only(family).value
    assert (value.bounds, value.counts, value.total) == ([1.0, 5.0], [3, 1, 1], 12.7)
    shown = {place: (item.value, item.timestamp) for place, item in value.exemplars.items()}
    assert shown == {0: (0.5, 3.0), 1: (1.5, 1.0), 2: (9.0, 1.0)}


def test_an_exemplar_names_its_span_and_then_what_a_view_left_out() -> None:
    assert exemplar_labels(Exemplar({}, 1, 0, **SPAN)) == SPAN_LABELS
    left_out = {"user.kind": 5, "trace_id": "theirs"}
    found = exemplar_labels(Exemplar(left_out, 1, 0, **SPAN))
    assert found == (*SPAN_LABELS, ("user_kind", "5"))
    for half in ({"trace_id": 1}, {"span_id": 1}, {}):
        assert exemplar_labels(Exemplar(None, 1, 0, **half)) == ()


def test_an_exemplar_has_as_many_labels_as_fit_into_128_characters() -> None:
    left = 128 - sum(len(name) + len(text) for name, text in SPAN_LABELS) - len("user_kind")
    for length, fits in ((left - 1, True), (left, True), (left + 1, False)):
        attributes = {"user.kind": "x" * length, "next": "y"}
        found = dict(exemplar_labels(Exemplar(attributes, 1, 0, **SPAN)))
        assert ("user_kind" in found) is fits
        assert "next" not in found
