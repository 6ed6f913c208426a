"""A long window that is looked at again and again: what it keeps, and what it says."""

from __future__ import annotations

import random
import statistics
import tracemalloc
from array import array
from collections import deque
from contextlib import nullcontext, suppress

import pytest

from metertap.recording import percentiles
from metertap.recording.percentiles import Bands, Ordered, Percentiles
from metertap.recording.window import Window


@pytest.mark.parametrize("values", [7, 10_000])
@pytest.mark.parametrize("size", [2, 256, 257, 300, 1000])
def test_percentiles_stay_exact_however_many_are_new_between_looks(size: int, values: int) -> None:
    """With few `values` most samples are equal to others."""
    chosen = random.Random(size)
    window, expected = Window(size), deque[float](maxlen=size)
    for new in (size // 2, 1, 9, 64, 65, 3, 3, size // 3, 64, 0, 1, 64, size, 2, 2, 2 * size, 5, 5):
        part = [float(chosen.randrange(values)) for _ in range(new)]
        window.add_milliseconds(part)
        expected.extend(part)
        found = window.percentiles()
        if len(expected) > 1:
            cuts = statistics.quantiles(expected, n=100)
            assert (found.p50, found.p95, found.p99) == (cuts[49], cuts[94], cuts[98])
    assert window.milliseconds() == list(expected)


def test_a_large_window_stays_exact() -> None:
    window, expected = Window(70_000), deque[float](maxlen=70_000)
    for new in (65_530, 3, 3, 3, 4_460, 10, 10):
        part = [float(number * 7919 % 100_003) for number in range(new)]
        window.add_milliseconds(part)
        expected.extend(part)
        cuts = statistics.quantiles(expected, n=100)
        found = window.percentiles()
        assert (found.p50, found.p95, found.p99) == (cuts[49], cuts[94], cuts[98])


def test_percentiles_stay_exact_while_all_latencies_rise_and_fall() -> None:
    """Each percentile leaves the samples about it, in both directions."""
    window, expected = Window(1000), deque[float](maxlen=1000)
    for number in range(300):
        part = [
            100.0 + (number if number < 150 else 300 - number) * 10.0 + digit / 7
            for digit in range(9)
        ]
        window.add_milliseconds(part)
        expected.extend(part)
        cuts = statistics.quantiles(expected, n=100)
        found = window.percentiles()
        assert (found.p50, found.p95, found.p99) == (cuts[49], cuts[94], cuts[98])


@pytest.mark.parametrize(("size", "kinds"), [(256, [list] * 3), (257, [list, list, Bands])])
def test_a_long_window_that_is_looked_at_again_is_not_sorted_as_a_whole(
    size: int, kinds: list[type], monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[object] = []
    compute = percentiles.percentiles

    def of(samples: Ordered, factor: float) -> Percentiles:
        ordered.append(samples)
        return compute(samples, factor)

    window = Window(size)
    window.add_milliseconds([float(number) for number in range(size)])
    with monkeypatch.context() as patched:
        patched.setattr(percentiles, "percentiles", of)
        for number in range(3):
            window.percentiles()
            window.add_milliseconds([float(number)])
    assert [type(samples) for samples in ordered] == kinds


def test_samples_near_percentiles_are_found_by_their_ranks_also_as_others_come_and_go() -> None:
    ring = array("d", random.Random(1).sample(range(1000), 1000))
    bands = Bands(ring, sorted(ring), 1002)
    for gone, new in (
        ([], []),
        ([], [508.0]),
        ([0.0], [492.0]),
        ([942.0, 999.0], [943.0, 500.0]),
        ([958.0, 960.0, 508.0], [959.0, 981.0, 982.0]),
        ([], [990.5]),
    ):
        places = [ring.index(sample) for sample in gone]
        places += range(len(ring), len(ring) + len(new) - len(gone))
        bands.replace(places, new)
        for place, sample in zip(places, new, strict=True):
            ring[place : place + 1] = array("d", [sample])
        ordered, found = sorted(ring), {}
        for rank in range(len(ring)):
            with suppress(IndexError):
                found[rank] = bands[rank]
        assert len(bands) == len(ring)
        assert (len(bands._places), bands._places.itemsize) == (len(found), 2)  # no others are kept
        assert found == {
            rank: sample
            for rank, sample in enumerate(ordered)
            if 492 <= sample < 509 or 942 <= sample < 959 or sample >= 982
        }


@pytest.mark.parametrize(("equal", "is_kept"), [(72, True), (73, False)])
def test_at_most_a_quarter_of_the_samples_is_kept_however_many_are_equal(
    equal: int, is_kept: bool
) -> None:
    """Those that are equal to p50 are all near it; 28 more are near p95 and above."""
    ordered = [float(max(rank, 192 + equal - 1) if rank >= 192 else rank) for rank in range(400)]
    with nullcontext() if is_kept else pytest.raises(IndexError):
        bands = Bands(array("d", ordered), ordered, 400)
        assert bands[200] == 192 + equal - 1


def test_none_is_found_once_more_than_a_quarter_are_kept() -> None:
    ordered = [float(max(rank, 263) if rank >= 192 else rank) for rank in range(400)]
    bands = Bands(array("d", ordered), ordered, 400)
    assert bands[200] == 263.0
    bands.replace([0], [263.0])
    bands.ring[0] = 263.0
    with pytest.raises(IndexError):
        bands[200]


def test_of_equal_samples_none_are_looked_for_that_are_not_kept() -> None:
    window = Window(1000)
    window.add_seconds([0.5] * 1000)
    for _ in range(3):
        window.add_seconds([0.5])
        assert window.percentiles() == (500.0, 500.0, 500.0, ())
        assert window._bands is None


def test_a_window_that_is_looked_at_again_takes_a_fifth_more_at_most() -> None:
    samples = [float(number * 7919 % 1009) for number in range(1000)]
    looked_at = Window(300)
    for _ in range(3):  # modules that are imported then
        looked_at.add_milliseconds(samples[:300])
        looked_at.percentiles()
    tracemalloc.start()
    try:
        window = Window(1000)
        window.add_milliseconds(samples)
        window.percentiles()
        once, _ = tracemalloc.get_traced_memory()
        for number in range(20):
            window.add_milliseconds([float(number)])
            window.percentiles()
        again, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert again - once < 8 * 1000 / 5
