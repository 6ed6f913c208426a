"""Windows of several workers as one: percentiles are exact, whatever comes and goes."""

from __future__ import annotations

import random
import statistics
from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metertap.recording import Percentiles
from metertap.recording.batch import Batch
from metertap.recording.window import LatencyTotals, Run, run_of
from metertap.workers import together
from metertap.workers.checking import Malformed, Samples
from metertap.workers.coding import decoder, encoder
from metertap.workers.runs import NO_RUN, Fresh, Runs, completed, fresh, moves, runs_of
from metertap.workers.together import Together, Windows

LATENCIES = st.floats(0, 1e6, allow_nan=False)


class Looks:
    """One window of several workers, which is looked at again and again."""

    def __init__(self) -> None:
        self._known: dict[int, Together] = {}
        self._before: list[list[Runs]] = []

    def percentiles(self, runs: Sequence[Run]) -> tuple[Percentiles, int]:
        now = [[runs_of([run])] for run in runs]
        (found,), (count,) = Windows([self._known], self._before, now).percentiles()
        self._before = now
        return found, count


def after(sent: Fresh, before: Run) -> Run:
    """What is known of a window of another worker, once something of it came."""
    (found,) = completed([[column] for column in sent], runs_of([before])).each()
    return found


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.lists(LATENCIES, max_size=12), st.sampled_from([1.0, 1000.0])),
    max_size=30,
)
"""What workers measure, one after the other: the worker, samples, and what makes ms of them."""


@given(STEPS, st.lists(st.integers(1, 40), min_size=4, max_size=4))
def test_windows_that_move_have_the_percentiles_of_all_their_samples(
    steps: list[tuple[int, list[float], float]], sizes: list[int]
) -> None:
    looks = Looks()
    windows: list[LatencyTotals] = [LatencyTotals(size) for size in sizes]
    for worker, samples, factor in steps:
        if factor == 1.0 and samples:
            windows[worker].add_milliseconds(Batch(samples))
        elif samples:
            windows[worker].add_seconds(Batch(samples))
        found, count = looks.percentiles([window.run() for window in windows])
        everything = [ms for window in windows for ms in window.window.milliseconds()]
        assert count == len(everything)
        if count > 1:
            exact = statistics.quantiles(everything, n=100)
            assert [found.p50, found.p95, found.p99] == [exact[49], exact[94], exact[98]]


@pytest.mark.parametrize("seed", range(4))
def test_large_windows_that_move_have_the_percentiles_of_all_their_samples(seed: int) -> None:
    by, looks = random.Random(seed), Looks()
    windows = [LatencyTotals(size) for size in (300, 200, 150)]
    for step in range(200):
        for window in windows:
            count = by.choice([0, 1, 7, 40] if step else [150])
            if count:  # some are equal, and they become longer
                samples = [round(by.expovariate(1 / (1 + step)), 1) for _ in range(count)]
                window.add_milliseconds(Batch(samples))
        found, count = looks.percentiles([window.run() for window in windows])
        everything = [ms for window in windows for ms in window.window.milliseconds()]
        exact = statistics.quantiles(everything, n=100)
        assert (count, *found[:3]) == (len(everything), exact[49], exact[94], exact[98])


@pytest.fixture
def long() -> tuple[Together, list[float]]:
    """Windows of a thousand samples, of which few are kept sorted."""
    together, samples = Together(), [float(ms) for ms in range(1000)]
    together.sorted([run_of(array("d", samples), 1.0)])
    return together, samples


def test_a_sample_that_is_far_from_percentiles_is_only_counted(
    long: tuple[Together, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    window, samples = long
    monkeypatch.delattr(together, "insort")
    found = window.moved([700.5], [800.0], 1000)
    exact = statistics.quantiles([*samples, 700.5], n=100)
    assert found.p50 == exact[49] - 0.5 == 499.5


def test_percentiles_that_cannot_have_changed_are_not_computed_again(
    long: tuple[Together, list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    window, samples = long
    computed: list[int] = []
    between = Together._between

    def counted(self: Together, index: int, beyond: int) -> float:
        computed.append(index)
        return between(self, index, beyond)

    monkeypatch.setattr(Together, "_between", counted)
    for come, gone, times in ((499.0, 501.0, 1), (999.5, 0.0, 3), (501.0, 499.0, 1)):
        computed.clear()
        samples.remove(gone)
        samples.append(come)
        found = window.moved([come], [gone], 1000)
        assert len(computed) == times
        exact = statistics.quantiles(samples, n=100)
        assert found[:3] == (exact[49], exact[94], exact[98])


def test_for_few_new_samples_not_all_are_sorted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    totals, looks = LatencyTotals(1000), Looks()
    totals.add_milliseconds(Batch([float(ms) for ms in range(1000)]))
    looks.percentiles([totals.run()])
    monkeypatch.delattr(Together, "sorted")
    totals.add_milliseconds(Batch([500.25]))
    found, _ = looks.percentiles([totals.run()])
    assert found.p50 == statistics.quantiles([*map(float, range(1, 1000)), 500.25], n=100)[49]


def test_equal_samples_have_their_own_value_as_every_percentile() -> None:
    totals, looks = LatencyTotals(1000), Looks()
    for _ in range(3):
        totals.add_milliseconds(Batch([5.0] * 400))
        found, _ = looks.percentiles([totals.run()])
        assert found[:3] == (5.0, 5.0, 5.0)


def test_a_worker_that_is_gone_takes_its_samples_along() -> None:
    one, other = (run_of(array("d", [ms]), 1.0) for ms in (1.0, 9.0))
    looks = Looks()
    assert looks.percentiles([one, other])[1] == 2
    assert looks.percentiles([other])[1] == 1
    assert looks.percentiles([other, one])[0].p50 == 5.0


def test_a_window_that_moved_by_more_than_it_holds_has_none_of_its_old_samples() -> None:
    totals, looks = LatencyTotals(3), Looks()
    totals.add_milliseconds(Batch([1.0, 2.0, 3.0]))
    assert looks.percentiles([totals.run()])[0].p50 == 2.0
    totals.add_milliseconds(Batch([float(ms) for ms in range(10, 19)]))
    found, count = looks.percentiles([totals.run()])
    assert (found.p50, count) == (17.0, 3)


def test_of_a_window_that_is_known_only_what_is_new_is_sent() -> None:
    totals = LatencyTotals(3)
    totals.add_milliseconds(Batch([1.0, 2.0]))
    before = totals.run()
    totals.add_milliseconds(Batch([3.0, 4.0]))
    new = fresh(totals.run(), before)
    assert ([*new.samples], new.kept) == ([3.0, 4.0], 1)
    known = after(fresh(before, None), NO_RUN)
    held = after(new, known)
    assert ([*held.samples], held.window) == ([2.0, 3.0, 4.0], known.window)
    totals.add_milliseconds(Batch([5.0] * 9))
    assert fresh(totals.run(), before).kept == 0
    assert fresh(LatencyTotals(3).run(), before).kept == 0  # another window
    assert (fresh(before, before).kept, [*fresh(before, before).samples]) == (2, [])


def test_what_came_twice_after_the_same_window_is_behind_it_each_time() -> None:
    before = run_of(array("d", [1.0, 2.0]), 1.0)
    for new in (3.0, 4.0):
        held = after(Fresh(array("d", [new]), 1.0, 2), before)
        assert [*held.samples] == [1.0, 2.0, new]
        assert [*before.samples] == [1.0, 2.0]


def test_a_window_that_moves_on_is_written_anew_seldom_and_keeps_little() -> None:
    held, lengths, written = NO_RUN, list[int](), 0
    for ms in range(500):
        before = held
        held = after(Fresh(array("d", [float(ms)]), 1.0, min(ms, 20)), before)
        assert [*held.samples] == [float(old) for old in range(max(0, ms - 20), ms + 1)]
        lengths.append(len(held.data))
        written += held.data is not before.data
    assert 64 < max(lengths) < 100
    assert written < 10


def test_the_data_of_windows_that_move_little_is_added_to_where_it_is() -> None:
    known = runs_of([run_of(array("d", [1.0, 2.0]), 1.0)] * 2)
    data = [array("d", [1.0, 2.0]), array("d", [1.0, 2.0])]
    known = known._replace(data=data)
    new = completed([[array("d", [3.0])] * 2, [1.0] * 2, [2] * 2], known)
    assert new.data is data
    assert [[*run.samples] for run in new.each()] == [[1.0, 2.0, 3.0]] * 2


def test_windows_that_nothing_is_known_of_are_columns_too() -> None:
    none = runs_of([])
    assert none.each() == []
    some = none.with_others((), none, 2)
    assert some.each() == [NO_RUN] * 2
    assert some.with_others((), none, 2) is some


def test_what_moved_by_more_than_it_holds_or_back_has_to_be_sorted_again() -> None:
    totals, looks = LatencyTotals(3), list[Run]()
    for count in (2, 1, 4):
        totals.add_milliseconds(Batch([float(count)] * count))
        looks.append(totals.run())
    columns = [runs_of([run]) for run in looks]
    pairs = [(0, 1), (1, 2), (2, 0), (1, 1)]
    others = [moves(columns[before], columns[now]).others for before, now in pairs]
    assert others == [set(), {0}, {0}, set()]


@pytest.mark.parametrize(
    "sent", [Fresh(array("d"), 1.0, 3), Fresh(array("d"), 1000.0, 1), Fresh(array("d"), 7.0, 0)]
)
def test_samples_that_nobody_has_are_refused(sent: Fresh) -> None:
    before = run_of(array("d", [1.0, 2.0]), 1.0)
    for known in (before, NO_RUN):
        with pytest.raises(Malformed):
            after(sent, known)


def test_samples_that_are_no_durations_are_refused() -> None:
    def through(*values: float, cut: int = 0) -> list[float]:
        samples: list[bytes] = []
        column = encoder(Fresh)([Fresh(array("d", values), 1.0, 0)], samples)
        data = b"".join(samples)
        (found,) = decoder(Fresh)(column, 1, Samples(memoryview(data[: len(data) - cut])))
        return [*found.samples]

    assert through(1.0, 2.5) == [1.0, 2.5]
    assert through() == []
    with pytest.raises(Malformed):
        through(1.0, 2.5, cut=1)
    for number in (float("nan"), float("inf"), -1.0):
        for values in ((number,), (number, 1.0), (1.0, number), (1.0, number, 2.0)):
            with pytest.raises(Malformed):
                through(*values)
