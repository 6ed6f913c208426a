"""Metric families of several workers: what adds up is one series, and what does not stays apart."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from metertap.recording import Recorder
from metertap.workers import records
from metertap.workers.checking import Malformed, Samples
from metertap.workers.exchange import Told
from metertap.workers.ledger import Ledger
from metertap.workers.merged import Merged
from metertap_exporters.exposition import otel, summed
from metertap_exporters.exposition.families import Distribution, Family, Group, Series
from metertap_exporters.exposition.summed import Point, Summed
from metertap_exporters.exposition.text import Exposition

SHOP = {"shop": "a"}
HEAD = ("sold", "counter", "", "Sold.")


def family(kind: str, value: Any, adds_up: bool = True) -> Family:
    groups = [Group({"scope": "x"}, frozenset(SHOP), [Series(SHOP, value)])]
    return Family("sold", kind, "Sold.", groups=groups, adds_up=adds_up)


def collecting(made: Family) -> Callable[[], list[Family]]:
    return lambda: [made]


def merged(*workers: Family) -> list[tuple[dict[str, Any], Any]]:
    """Labels and value of each series, of workers that each collect one family."""
    ledgers = [Ledger(Recorder(), [summed.section(collecting(made))]) for made in workers]
    section = ledgers[0].sections[summed.NAME]
    items = Merged().of(section, [ledger.now([summed.NAME]) for ledger in ledgers])
    (found,) = Summed().families(items)
    assert (found.name, found.kind, found.description) == ("sold", workers[0].kind, "Sold.")
    return [
        ({**group.constant, **series.labels}, series.value)
        for group in found.groups
        for series in group.series
    ]


ALL = {"scope": "x", "shop": "a"}


def test_counters_are_added_up() -> None:
    assert merged(family("counter", 2), family("counter", 3)) == [(ALL, 5.0)]


def test_histograms_are_added_up_bucket_by_bucket() -> None:
    first = family("histogram", Distribution([1.0, 2.5], [1, 2, 3], 9.0, {}))
    second = family("histogram", Distribution([1.0, 2.5], [10, 20, 30], 90.0, {}))
    both = Distribution((1.0, 2.5), (11, 22, 33), 99.0, {})
    assert merged(first, second) == [(ALL, both)]


def test_of_histograms_with_other_bounds_those_of_the_first_are_told() -> None:
    first = family("histogram", Distribution([1.0], [1, 2], 9.0, {}))
    second = family("histogram", Distribution([5.0], [10, 20], 90.0, {}))
    assert merged(first, second) == [(ALL, Distribution((1.0,), (1, 2), 9.0, {}))]


def test_a_histogram_without_a_sum_has_none_together_either() -> None:
    made = family("histogram", Distribution([1.0], [1, 2], None, {}))
    assert merged(made, made) == [(ALL, Distribution((1.0,), (2, 4), None, {}))]


def test_what_does_not_add_up_stays_each_workers_own() -> None:
    worker = str(os.getpid())
    assert merged(family("gauge", 7, adds_up=False)) == [({**ALL, "worker": worker}, 7.0)]


def test_an_applications_own_label_worker_is_kept_apart() -> None:
    worker, labels = str(os.getpid()), [{"worker": "a"}, {"worker": "b"}]
    series = [Series(one, float(value)) for value, one in enumerate(labels)]
    made = Family("queued", "gauge", "", groups=[Group({}, frozenset(labels[0]), series)])
    made.adds_up = False
    ledger = Ledger(Recorder(), [summed.section(lambda: [made])])
    (of_all,) = Summed().families(ledger.now([summed.NAME])[summed.NAME])
    expected = [
        f'queued{{exported_worker="{name}",worker="{worker}"}} {value}.0'
        for value, name in enumerate("ab")
    ]
    for found in ([of_all], summed.labelled([of_all], worker), summed.labelled([made], worker)):
        text = Exposition().text(found, is_openmetrics=False).decode()
        assert [line for line in text.splitlines() if not line.startswith("#")] == expected


def test_what_is_no_number_adds_nothing() -> None:
    assert merged(family("gauge", math.nan), family("gauge", 4)) == [(ALL, 4.0)]
    [(_, value)] = merged(family("gauge", math.inf), family("gauge", math.nan))
    assert math.isnan(value)


def test_what_is_equal_is_the_same_object_as_before() -> None:
    values = [2, 2, 3]
    section = summed.section(lambda: [family("counter", values.pop(0))])
    figures = Recorder().figures()
    first = section.take(figures, {})
    second = section.take(figures, first)
    third = section.take(figures, second)
    [(key, point)] = first.items()
    assert second[key] is point
    assert third[key] == Point("counter", 3.0)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "[" * 100_000])
def test_labels_that_no_worker_would_write_are_none(text: str) -> None:
    items = {(*HEAD, "{}", text): Point("counter", 1.0)}
    (found,) = Summed().families(items)
    assert [[*group.series] for group in found.groups] == [[Series({}, 1.0)]]


@pytest.mark.parametrize("bounds", ["", "3", '["a"]', "[null]", "[" * 100_000])
def test_bounds_that_no_worker_would_write_are_none(bounds: str) -> None:
    items = {("took", "histogram", "", "", "{}", "{}"): Point("histogram", 1.0, bounds, (1,))}
    (found,) = Summed().families(items)
    ((series,),) = [[*group.series] for group in found.groups]
    assert series.value == Distribution((), (1,), 1.0, {})


def test_an_applications_label_exported_worker_is_kept_beside_its_label_worker() -> None:
    series = [Series({"worker": one, "exported_worker": "x"}, 1.0) for one in "ab"]
    made = Family("queued", "gauge", "", groups=[Group({}, frozenset(series[0].labels), series)])
    text = Exposition().text(summed.labelled([made], "7"), is_openmetrics=False).decode()
    for one in "ab":
        labels = f'exported_exported_worker="{one}",exported_worker="x",worker="7"'
        assert f"queued{{{labels}}} 1.0" in text


SOLD = ("sold", "counter", "", "Sold.", "{}", "{}")


@pytest.mark.parametrize(
    "key",
    [
        (),
        SOLD[:5],
        (*SOLD, "more"),
        ("sold", "summary", *SOLD[2:]),
        ("sold", "unheard", *SOLD[2:]),
        ("sold 1\nevil", *SOLD[1:]),
        ("sold", "counter", "x\nevil 1", *SOLD[3:]),
        ("", *SOLD[1:]),
        (*SOLD[:5], None),
    ],
)
def test_a_key_that_no_worker_would_write_is_refused(key: tuple[str | None, ...]) -> None:
    section = summed.section(list)
    samples: list[bytes] = []
    written = section.encoded(Told().changes({key: Point("counter", 1.0)}), samples)
    with pytest.raises(Malformed, match="a key has not the names"):
        section.decoded(written, Samples(memoryview(b"".join(samples))))


@pytest.mark.parametrize("unit", ["", "1", "%", "By/s", "USD:1k", "requests per second"])
def test_a_worker_is_read_whatever_units_its_application_has(unit: str) -> None:
    reader = InMemoryMetricReader()
    MeterProvider([reader]).get_meter("shop").create_counter("sold", unit).add(1)
    data = reader.get_metrics_data()
    assert data is not None
    ledger = Ledger(Recorder(), [summed.section(lambda: otel.families(data))])
    now = {name: (items, 1.0) for name, items in ledger.now([summed.NAME]).items()}
    taken = records.read(records.written(records.Head(), ledger.sections, now, {}), ledger.sections)
    assert [point.value for point in taken.sheet[summed.NAME].values()] == [1.0]


def test_a_point_that_is_not_of_its_family_costs_no_other_series() -> None:
    took = ("took", "histogram", "", "", "{}")
    items = {
        (*SOLD[:5], '{"a": "1"}'): Point("histogram", 1.0, "[1.0]", (1, 2)),
        (*SOLD[:5], '{"a": "2"}'): Point("counter", 2.0),
        (*took, '{"a": "1"}'): Point("counter", 3.0),
        (*took, '{"a": "2"}'): Point("histogram", 4.0, "[1.0]", (3, 1)),
    }
    for is_kept in (False, True):
        text = (
            Exposition()
            .text(Summed().families(items, is_kept=is_kept), is_openmetrics=False)
            .decode()
        )
        assert 'sold_total{a="2"} 2.0\n' in text
        assert 'took_bucket{a="2",le="+Inf"} 4.0\n' in text


def test_of_histograms_with_missing_buckets_those_of_the_first_are_told() -> None:
    section = summed.section(list)
    key = ("took", "histogram", "", "", "{}", "{}")
    sound, short = (Point("histogram", 1.0, "[1.0]", counts) for counts in ((1, 2), (1,)))
    found = Merged().of(section, [{summed.NAME: {key: one}} for one in (sound, short, sound)])
    assert found[key] == Point("histogram", 2.0, "[1.0]", (2, 4))


def test_series_of_one_name_and_other_constant_labels_are_groups_of_one_family() -> None:
    items = {
        (*HEAD, '{"scope": "x"}', "{}"): Point("counter", 1.0),
        (*HEAD, '{"scope": "y"}', "{}"): Point("counter", 2.0),
        ("lost", *HEAD[1:], '{"scope": "y"}', "{}"): Point("counter", 3.0),
    }
    sold, lost = Summed().families(items)
    assert [group.constant for group in sold.groups] == [{"scope": "x"}, {"scope": "y"}]
    assert [group.constant for group in lost.groups] == [{"scope": "y"}]
    assert sold.groups[1].constant is lost.groups[0].constant  # so that their text is kept


def test_of_a_worker_that_ended_its_counts_stay() -> None:
    section = summed.section(list)
    for point in (Point("counter", 1.0), Point("histogram", 1.0)):
        assert section.settle(point) is point
    assert section.settle(Point("gauge", 1.0)) is None


def test_a_number_that_no_worker_takes_costs_nothing_else() -> None:
    many = [family("counter", value) for value in (sys.float_info.max, -1e305, 4)]
    for number, one in enumerate(many):
        one.name += str(number)
    ledger = Ledger(Recorder(), [summed.section(lambda: many)])
    now = {name: (items, 1.0) for name, items in ledger.now([summed.NAME]).items()}
    taken = records.read(records.written(records.Head(), ledger.sections, now, {}), ledger.sections)
    values = [point.value for point in taken.sheet[summed.NAME].values()]
    assert values == [None, None, 4.0]
