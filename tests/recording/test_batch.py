"""Durations that were gathered: their buckets, their sum, and what is left of them."""

from __future__ import annotations

import functools
import operator

import pytest

from metertap.recording import batch as batches
from metertap.recording.batch import Batch

DURATIONS = [0.3, 0.1, 0.2, 0.1, 0.7, 1e-9, 0.1]


def test_a_bound_belongs_to_the_bucket_below_it() -> None:
    batch = Batch(DURATIONS)
    assert batch.counts((0.1, 0.3, 0.5)) == [4, 2, 0, 1]
    assert batch.counts((0.1,)) == [4, 3]
    assert batch.counts((1.0,)) == [7, 0]
    assert Batch([]).counts((0.1,)) == [0, 0]
    assert Batch([0.3, 0.1]).counts((0.1, 0.3, 0.5)) == [1, 1, 0, 0]
    assert Batch([0.7, 0.4, 0.1]).counts((0.1, 0.3, 0.5)) == [1, 0, 1, 1]


def test_few_durations_are_counted_without_sorting_them(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = Batch([0.3, 0.1, 0.3]), Batch([0.3, 0.1, 0.3, 0.9])
    assert many.counts((0.1, 0.2, 0.3)) == [1, 0, 2, 1]
    monkeypatch.delattr(Batch, "ordered")
    assert few.counts((0.1, 0.2, 0.3)) == [1, 0, 2, 0]


def test_many_durations_are_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(batches, "bisect_left")
    assert Batch([0.3, 0.1, 0.3, 0.9]).counts((0.1, 0.2, 0.3)) == [1, 0, 2, 1]


def test_buckets_are_counted_once_for_all_histograms() -> None:
    batch = Batch(DURATIONS)
    assert batch.counts((0.1, 0.3)) is batch.counts((0.1, 0.3))
    assert batch.counts((0.1,)) is not batch.counts((0.1, 0.3))
    assert batch.ordered == sorted(DURATIONS)
    assert len(batch) == 7


@pytest.mark.parametrize("total", [0.0, 0.1, 1e9])
@pytest.mark.parametrize("is_sequential", {False, batches._SUM_IS_SEQUENTIAL})
def test_a_sum_is_what_adding_one_after_the_other_gives(
    is_sequential: bool, total: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    summed = []

    def summing(values: list[float], start: float) -> float:
        summed.append(len(values))
        return sum(values, start)

    monkeypatch.setattr(batches, "_SUM_IS_SEQUENTIAL", is_sequential)
    monkeypatch.setattr(batches, "sum", summing, raising=False)
    durations = [0.1] * 1000
    expected = functools.reduce(operator.add, durations, total)
    assert Batch(durations).added_to(total) == expected
    assert summed == [1000] * is_sequential  # at a third of the time


def test_the_builtin_sum_is_used_where_it_adds_one_after_the_other() -> None:
    durations = [0.1] * 1000
    is_sequential = sum(durations) == functools.reduce(operator.add, durations)
    assert is_sequential == batches._SUM_IS_SEQUENTIAL


def test_what_is_left_after_some_is_made_once() -> None:
    batch = Batch(DURATIONS)
    assert batch.after(0) is batch
    assert list(batch.after(3).durations) == [0.1, 0.7, 1e-9, 0.1]
    assert batch.after(3) is batch.after(3)
    assert batch.after(1) is not batch.after(3)
    assert list(batch.after(1).durations) == DURATIONS[1:]
