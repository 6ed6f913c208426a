"""Sketches of latencies: within a hundredth of the sample, merged without loss, small as bytes."""

from __future__ import annotations

import math
import random
import struct
import zlib
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics._internal.exponential_histogram.mapping.logarithm_mapping import (
    LogarithmMapping,
)

from metertap.history import sketch
from metertap.history.sketch import Sketch, merged

LATENCIES = st.lists(st.floats(1e-4, 100.0), min_size=1, max_size=300)
QUANTILES = (0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)


def sketched(values: list[float]) -> Sketch:
    made = Sketch()
    made.add(values)
    return made


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@given(LATENCIES)
def test_a_quantile_is_within_a_hundredth_of_the_sample_of_its_rank(values: list[float]) -> None:
    made = sketched(values)
    for share in QUANTILES:
        found = made.quantile(share)
        assert found == pytest.approx(nearest_rank(values, share), rel=0.0055)


@given(LATENCIES, LATENCIES)
def test_merging_equals_counting_together(one: list[float], other: list[float]) -> None:
    both, together = merged([sketched(one), sketched(other), None]), sketched(one + other)
    assert list(both.buckets()) == list(together.buckets())
    assert (both.count, both.minimum, both.maximum) == (
        together.count,
        together.minimum,
        together.maximum,
    )
    assert both.total == pytest.approx(together.total)


@given(LATENCIES, st.integers(1, 2**40))
def test_more_than_a_lane_holds_is_merged_too(values: list[float], more: int) -> None:
    one, other = sketched(values), Sketch()
    other.add_many(values[0], more)
    stored = Sketch.unpack(other.pack())
    both = merged([one, stored, one, stored])
    counts: Counter[float] = Counter()
    for bound, count in [*one.buckets(), *stored.buckets()]:
        counts[bound] += 2 * count
    assert dict(both.buckets()) == counts
    assert both.count == 2 * (len(values) + more) == counts.total()
    assert one.count == len(values)  # neither is changed
    assert [count for _, count in stored.buckets()] == [more]


@given(LATENCIES)
def test_a_bucket_that_is_computed_is_the_one_that_is_searched_for(values: list[float]) -> None:
    searched = Sketch()
    for value in values:
        searched.add_many(value, 1)
    assert [*sketched(values).buckets()] == [*searched.buckets()]


def test_a_latency_that_is_a_bound_is_in_the_bucket_below_it() -> None:
    for index in range(-20 * 64 + 1, 17 * 64):
        bound = 2.0 ** (index / 64)
        assert [*sketched([bound, bound]).buckets()] == [(bound, 2)]


@given(LATENCIES, st.sampled_from([1, 255, 256, 65_536, 2**32]))
def test_bytes_hold_everything(values: list[float], more: int) -> None:
    made = sketched(values)
    made.add_many(values[0], more)
    again = Sketch.unpack(made.pack())
    assert list(again.buckets()) == list(made.buckets())
    assert again.count == made.count
    for kept, was in ((again.total, made.total), (again.maximum, made.maximum)):
        assert kept == pytest.approx(was, rel=1e-6)


def test_buckets_are_those_of_opentelemetry() -> None:
    mapping = LogarithmMapping(sketch.SCALE)
    for index in range(-800, 480, 7):
        made = sketched([mapping.get_lower_boundary(index) * 1.001])
        ((upper, _),) = made.buckets()
        assert upper == pytest.approx(mapping.get_lower_boundary(index + 1))


def test_what_lies_beyond_the_buckets_is_counted_and_keeps_its_extremes() -> None:
    made = sketched([0.0, 1e-9, 1e9])
    assert (made.count, made.minimum, made.maximum) == (3, 0.0, 1e9)
    assert made.quantile(0) == 0.0
    assert made.quantile(1) == 1e9


def test_a_clock_that_was_set_back_makes_a_latency_of_zero() -> None:
    made = sketched([0.5, -1577821800.2, 0.25])
    assert (made.count, made.total, made.minimum, made.maximum) == (3, 0.75, 0.0, 0.5)
    stored = Sketch.unpack(made.pack())
    assert (stored.count, stored.total, stored.minimum, stored.maximum) == (3, 0.75, 0.0, 0.5)


def test_latencies_below_zero_that_an_earlier_version_wrote_are_read_as_zero() -> None:
    packed = sketched([0.5, 0.25]).pack()
    stored = Sketch.unpack(struct.pack("<ff", -7.5, -8.0) + packed[8:])
    assert (stored.count, stored.total, stored.minimum, stored.maximum) == (2, 0.0, 0.0, 0.5)


def test_a_sum_larger_than_any_that_is_written_is_written_as_the_largest() -> None:
    stored = Sketch.unpack(sketched([1e39, 1e308]).pack())
    assert (stored.count, stored.total, stored.maximum) == (2, *[pytest.approx(3e38)] * 2)


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [
        (1e-9, 2 ** (1 / 64 - 20)),
        (2.0**-20 * 1.001, 2 ** (1 / 64 - 20)),
        (2.0**17 * 0.999, 2.0**17),
        (2.0**18, 2.0**17),
        (2.0**17 * 0.985, 2 ** (17 - 1 / 64)),
    ],
)
def test_the_first_and_the_last_bucket_are_at_a_microsecond_and_a_day_and_a_half(
    seconds: float, bound: float
) -> None:
    made = Sketch()
    made.add([seconds])
    assert [*made.buckets()] == [(pytest.approx(bound), 1)]


def test_nothing_has_no_quantile() -> None:
    empty = Sketch.unpack(Sketch().pack())
    assert empty.quantiles(0.5, 0.99) == [None, None]
    assert (empty.count, list(empty.buckets())) == (0, [])


def test_nothing_that_was_stored_changes_nothing_that_it_is_merged_with() -> None:
    made = Sketch.unpack(Sketch().pack())
    made.merge(sketched([0.5, 2.0]))
    assert (made.count, made.minimum, made.maximum) == (2, 0.5, 2.0)


def test_many_of_one_value_are_as_many_and_take_one_byte() -> None:
    made = Sketch()
    made.add_many(0.5, 0)
    assert made.count == 0
    made.add_many(0.5, 3)
    assert (made.count, made.total, made.minimum, made.maximum) == (3, 1.5, 0.5, 0.5)
    assert [count for _, count in made.buckets()] == [3]
    assert len(made.pack()) == 17


def test_buckets_are_in_order_and_have_every_latency() -> None:
    made = sketched([0.1, 0.2, 0.2, 0.4])
    assert [count for _, count in made.buckets()] == [1, 2, 1]
    assert all(one < other for (one, _), (other, _) in pairwise(made.buckets()))


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(16), b"\xff" * 16, bytes(16) + b"x"])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no sketch"):
        Sketch.unpack(data)


def test_a_hundred_calls_take_less_than_a_hundred_bytes() -> None:
    values = random.Random(5)
    many = [sketched([values.lognormvariate(-3, 0.5) for _ in range(100)]) for _ in range(100)]
    assert len(zlib.compress(b"".join(each.pack() for each in many))) / 100 < 90
