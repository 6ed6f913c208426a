"""Columns of values that are all equal, and counts of workers that have seen the same or others."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap.workers import columns
from metertap.workers.checking import Malformed, Samples
from metertap.workers.coding import decoder, encoder
from metertap.workers.merging import _counts
from metertap.workers.rows import Table
from metertap.workers.together import Windows
from metertap.workers.wire import VERSION, dumped, loaded
from metertap_exporters.exposition import summed


class Row(NamedTuple):
    """A value of every kind that a column may have."""

    name: str
    count: int
    share: float | None
    by_name: dict[str, int]
    both: tuple[bool, float] | None


ROWS = st.builds(
    Row,
    st.sampled_from("ab"),
    st.integers(0, 1),
    st.none() | st.sampled_from([0.5, 2.0]),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2), max_size=2),
    st.none() | st.tuples(st.booleans(), st.just(1.0)),
)


def sent(rows: list[Row]) -> bytes:
    samples: list[bytes] = []
    return dumped({"version": VERSION, "of": encoder(Row)(rows, samples)}, samples)


@given(st.lists(ROWS, max_size=5))
def test_whatever_is_equal_arrives_as_it_was(rows: list[Row]) -> None:
    found, left = loaded(sent(rows))
    assert [*decoder(Row)(found["of"], len(rows), left)] == rows


def test_of_equal_values_one_is_sent() -> None:
    row = Row("search", 7, 0.5, {"ok": 7}, (True, 1.0))
    assert len(sent([row] * 1000)) == len(sent([row] * 2)) < 300


@pytest.mark.parametrize("count", [0, 1, 100_001, 2**62])
def test_more_equal_values_than_there_may_be_are_refused(count: int) -> None:
    written: list[Any] = [{"all": ["a"]}] * 5
    with pytest.raises(Malformed, match="too many"):
        decoder(Row)(written, count, Samples(memoryview(b"")))


class Window(NamedTuple):
    """The latencies of a series, as workers send them."""

    samples: Sequence[float]


@pytest.mark.parametrize(
    ("value", "most"),
    [
        (Row("n" * 999, 1, None, {}, None), 1000),
        (Row("n", 1, None, {"n" * 99: 1}, None), 9803),
        (Window(array("d", [0.5] * 9999)), 100),
    ],
    ids=["text", "names", "samples"],
)
def test_a_value_stands_for_no_more_members_and_characters_than_there_may_be(
    value: Any, most: int
) -> None:
    """Or what a short message says would take gigabytes wherever each of them is shown."""
    kind, samples, all_samples = type(value), list[bytes](), list[bytes]()
    written = encoder(kind)([value] * most, samples)
    assert written[0].keys() == {"all"}
    assert decoded(kind, written, most, samples) == [value] * most
    with pytest.raises(Malformed, match="too many"):
        decoded(kind, written, most + 1, samples)
    written = encoder(kind)([value] * (most + 1), all_samples)
    assert decoded(kind, written, most + 1, all_samples) == [value] * (most + 1)


def decoded(kind: Any, written: Any, count: int, samples: list[bytes]) -> list[Any]:
    return [*decoder(kind)(written, count, Samples(memoryview(b"".join(samples))))]


def test_an_equal_value_that_is_none_of_its_type_is_refused() -> None:
    for wrong in ({}, {"all": None}, {"all": [5]}, {"all": ["a", "b"]}, {"all": []}):
        with pytest.raises(Malformed):
            decoder(Row)([wrong] * 5, 2, Samples(memoryview(bytes(80))))


@given(
    st.lists(
        st.lists(
            st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=3),
            min_size=2,
            max_size=2,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_counts_are_summed_by_name_whichever_names_each_worker_has(
    values: list[list[dict[str, int]]],
) -> None:
    expected = [
        {
            name: sum(each[row].get(name, 0) for each in values)
            for each in values
            for name in each[row]
        }
        for row in range(2)
    ]
    assert [*_counts(values)] == expected


def test_counts_of_nothing_are_those_of_the_first_worker() -> None:
    nothing: list[dict[str, int]] = [{}, {}]
    assert _counts([nothing, [{}, {}]]) is nothing


def test_columns_of_equal_names_stay_columns() -> None:
    column = columns.named([{"ok": 1, "failed": 0}, {"ok": 2, "failed": 5}])
    assert (column.names, column.rows) == (("ok", "failed"), [(1, 0), (2, 5)])
    assert columns.named([{"ok": 1}, {"failed": 1}]).names == ()
    other = columns.named([{"ok": 7, "failed": 7}])
    changed = columns.with_others(column, [1], other, 2, None)
    assert type(changed) is columns.Named
    assert [*changed] == [{"ok": 1, "failed": 0}, {"ok": 7, "failed": 7}]
    assert (changed[1], changed[:1]) == ({"ok": 7, "failed": 7}, [{"ok": 1, "failed": 0}])


def test_a_column_that_is_replaced_as_a_whole_is_the_new_one() -> None:
    column, new = ["a", "b"], ["c", "d"]
    assert columns.with_others(column, range(2), new, 2, None) is new
    assert columns.with_others(column, [1, 0], new, 2, None) == ["d", "c"]
    assert columns.with_others([], [0, 1], new, 2, None) is new
    assert columns.with_others(column, [1], ["d"], 3, "x") == ["a", "d", "x"]


def test_some_values_of_a_column_are_taken_by_a_function_of_c() -> None:
    assert isinstance(columns.chooser([1, 0]), itemgetter)
    assert [[*columns.chooser(places)("abc")] for places in ([2, 0], [1], [])] == [
        ["c", "a"],
        ["b"],
        [],
    ]


LENGTHS = st.lists(st.integers(0, 3), max_size=5) | st.builds(
    lambda length, count: [length] * count, st.sampled_from([1, 2, 64, 65]), st.integers(1, 4)
)


@given(LENGTHS)
def test_members_are_parted_by_lengths_that_are_equal_or_not(lengths: list[int]) -> None:
    found = columns.parted(range(sum(lengths)), lengths)
    assert [*map(len, found)] == lengths
    assert [*chain.from_iterable(found)] == [*range(sum(lengths))]


POINTS = st.builds(
    summed.Point,
    st.sampled_from(["histogram", "counter"]),
    st.none() | st.integers(0, 9).map(float),
    st.sampled_from(["[]", "[1.0]"]),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
) | st.builds(summed.Point, st.just("histogram"), st.just(0.5), st.just("[1.0]"), st.just((1, 2)))
"""Points that workers of two releases may have, and many that are alike."""


@given(
    st.integers(1, 3).flatmap(lambda workers: st.lists(st.tuples(*[POINTS] * workers), min_size=1))
)
def test_points_are_summed_as_one_by_one(groups: list[tuple[summed.Point, ...]]) -> None:
    def one_by_one() -> list[summed.Point]:
        return [summed._sum(points) for points in groups]

    found = faults_of(lambda: summed_by_columns(groups))
    assert found == faults_of(one_by_one)


def test_points_that_are_alike_are_summed_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(summed, "_sum")
    one, other = (summed.Point("histogram", 0.5, "[1.0]", (1, count)) for count in (2, 5))
    assert summed_by_columns([(one, other), (other, other)]) == [
        summed.Point("histogram", 1.0, "[1.0]", (2, 7)),
        summed.Point("histogram", 1.0, "[1.0]", (2, 10)),
    ]


def summed_by_columns(groups: Sequence[Sequence[summed.Point]]) -> list[summed.Point]:
    workers = [Table([*zip(*points, strict=True)]) for points in zip(*groups, strict=True)]
    return [*summed._sums(workers, Windows([], [], []))]


def faults_of(do: Callable[[], object]) -> object:
    """Return the result, or the type of what is raised: then items are summed one by one."""
    try:
        return do()
    except ValueError as error:
        return type(error)
