"""Percentiles: exactly `statistics.quantiles` of a tool's last N counted calls."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import metertap
from metertap import catalogue, outcomes, state
from metertap.recording import Recorder
from metertap.recording.percentiles import Percentiles, percentiles
from metertap.recording.window import Window
from metertap.settings.settings import Settings

pytestmark = pytest.mark.interpreter

QUANTILES = {"p50_latency_ms": 49, "p95_latency_ms": 94, "p99_latency_ms": 98}
NOT_SAMPLED = [outcomes.CANCELLED, outcomes.CALLER_ERROR, outcomes.INTERIM]

latencies = st.floats(min_value=0, max_value=1e9) | st.integers(0, 10_000)
few = st.sampled_from([0.0, 0.25, 0.5, 1e-9, 3.0])
calls = st.lists(st.tuples(latencies, st.booleans()), max_size=150)


def document_of(name: str) -> dict[str, Any]:
    document: dict[str, Any] = metertap.get_all_metrics()["tool_metrics"][name]
    return document


def exact(samples: Sequence[float]) -> dict[str, float | None]:
    if len(samples) < 2:
        return dict.fromkeys(QUANTILES)
    cuts = statistics.quantiles(samples, n=100)
    return {name: cuts[index] for name, index in QUANTILES.items()}


def record_outcome(name: str, ended: str, latency_ms: float) -> None:
    """By the recorder: no hand-made record can be a caller's error or interim."""
    recorder = state.recorder()
    recorder.record_tool(recorder.tool_by_hand(name, "manual"), ended, None, latency_ms)


@hypothesis_settings(
    max_examples=hypothesis_settings().max_examples // 4,  # each with a tap of its own
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(window_size=st.integers(2, 120), made=calls)
def test_percentiles_are_exact_to_the_last_digit(
    window_size: int, made: list[tuple[float, bool]]
) -> None:
    metertap.reset()
    with metertap.instrument(window_size=window_size, json_endpoint=False):
        metertap.record_tool_call("t", success=True)  # without a latency: no sample
        for latency_ms, success in made:
            metertap.record_tool_call("t", success, latency_ms)
        found = document_of("t")
    window = [latency_ms for latency_ms, _ in made][-window_size:]
    assert {name: found[name] for name in QUANTILES} == exact(window)
    assert found["window_samples"] == len(window)


def test_the_default_window_is_the_last_1000_calls() -> None:
    drifting = [1.0 + 0.1 * call for call in range(2500)]
    for latency_ms in drifting:
        metertap.record_tool_call("t", True, latency_ms)
    found = document_of("t")
    assert {name: found[name] for name in QUANTILES} == exact(drifting[-1000:])


def test_without_settings_sizes_are_what_settings_are_by_default() -> None:
    recorder, defaults = Recorder(), Settings()
    assert recorder.window_size == defaults.window_size
    names = (str(number) for number in range(defaults.series_limit))
    last = [recorder.tool_by_hand(name, "test").name for name in names][-1]
    assert last != catalogue.OTHER
    assert recorder.tool_by_hand("one more", "test").name == catalogue.OTHER


def test_the_window_is_of_the_tool_while_outcomes_alternate_and_latency_drifts() -> None:
    """Windows kept for each outcome would mix old and new calls here."""
    counted = []
    with metertap.instrument(window_size=10, json_endpoint=False):
        for call in range(500):
            latency_ms = float(call)
            metertap.record_tool_call("t", call % 7 != 0, latency_ms, "ValueError")
            counted.append(latency_ms)
            record_outcome("t", NOT_SAMPLED[call % 3], 1e6)
        found = document_of("t")
    assert {name: found[name] for name in QUANTILES} == exact(counted[-10:])
    assert found["max_latency_ms"] == 499.0


@pytest.mark.parametrize("ended", NOT_SAMPLED)
def test_what_is_neither_ok_nor_failed_leaves_no_sample(ended: str) -> None:
    record_outcome("t", ended, 5.0)
    found = document_of("t")
    assert found["total_calls"] == 1
    assert found["window_samples"] == 0
    assert found["total_latency_ms"] == 0
    assert found["max_latency_ms"] is None


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_samples_have_no_percentiles(count: int) -> None:
    metertap.record_tool_call("t", True)
    for _ in range(count):
        metertap.record_tool_call("t", True, 5.0)
    assert {name: document_of("t")[name] for name in QUANTILES} == dict.fromkeys(QUANTILES)


@pytest.mark.parametrize(
    ("count", "marked"),
    [
        (1, ()),
        (2, ("p95", "p99")),
        (18, ("p95", "p99")),
        (19, ("p99",)),
        (98, ("p99",)),
        (99, ()),
        (1000, ()),
    ],
)
def test_percentiles_beyond_the_largest_sample_are_marked(
    count: int, marked: tuple[str, ...]
) -> None:
    samples = [float(sample) for sample in range(count)]
    found = percentiles(sorted(samples))
    assert found.extrapolated == marked
    for name in marked:
        assert getattr(found, name) > max(samples)
    if count > 1 and "p99" not in marked:
        assert found.p99 is not None
        assert found.p99 <= max(samples)


def test_extremes_average_and_total_are_of_the_lifetime() -> None:
    with metertap.instrument(window_size=2, json_endpoint=False):
        for latency_ms in (1, 100, 40, 50):
            metertap.record_tool_call("t", True, latency_ms)
        found = document_of("t")
    assert found["min_latency_ms"] == 1
    assert found["max_latency_ms"] == 100
    assert found["avg_latency_ms"] == 191 / 4
    assert found["total_latency_ms"] == 191
    assert found["window_samples"] == 2


def test_extremes_stay_when_later_calls_are_within_them() -> None:
    with metertap.instrument(json_endpoint=False):
        for latency_ms in (50, 1, 100, 40):
            metertap.record_tool_call("t", True, latency_ms)
            found = document_of("t")  # which takes over what was recorded since the last look
    assert (found["min_latency_ms"], found["max_latency_ms"]) == (1, 100)


@pytest.mark.parametrize(("size", "kept"), [(3, [7.0, 8.0, 9.0]), (50, [*map(float, range(10))])])
def test_another_window_size_keeps_the_newest_samples(size: int, kept: list[float]) -> None:
    with metertap.instrument(window_size=10, json_endpoint=False):
        for latency_ms in range(10):
            metertap.record_tool_call("t", True, float(latency_ms))
    with metertap.instrument(window_size=size, json_endpoint=False):
        assert {name: document_of("t")[name] for name in QUANTILES} == exact(kept)
        for latency_ms in range(100):
            metertap.record_tool_call("t", True, float(latency_ms))
        assert document_of("t")["window_samples"] == size


@pytest.mark.parametrize(("size", "kept"), [(3, [7, 8, 9]), (50, [*range(10)])])
def test_the_windows_beside_a_tools_own_take_another_size_too(size: int, kept: list[int]) -> None:
    def measure(latencies: Sequence[int]) -> None:
        series = state.recorder().tool("t", "manual")
        for latency in latencies:
            series.looked_up(True, False, latency / 1000)
            series.looked_up(False, True, latency / 1000)
            series.first_item(latency / 1000)

    def shown(latencies: Sequence[int]) -> bool:
        found = document_of("t")
        parts = (found["with_cache"]["all_hit"], found["with_cache"]["missed"], found["first_item"])
        expected = exact([latency / 1000 * 1000.0 for latency in latencies])
        return [{name: part[name] for name in QUANTILES} for part in parts] == [expected] * 3

    with metertap.instrument(window_size=10, json_endpoint=False):
        measure(range(10))
        assert shown(range(10))
    with metertap.instrument(window_size=size, json_endpoint=False):
        assert shown(kept)
        measure(range(100))
        assert shown(range(100 - size, 100))


@given(
    size=st.integers(2, 40),
    batches=st.lists(
        st.tuples(
            st.booleans(), st.lists(st.sampled_from([0.0, 0.25, 0.5, 1e-9, 3.0]), max_size=50)
        ),
        max_size=12,
    ),
)
def test_a_window_that_is_looked_at_after_every_batch_stays_exact(
    size: int, batches: list[tuple[bool, list[float]]]
) -> None:
    window, expected = Window(size), deque[float](maxlen=size)
    for by_hand, samples in batches:
        if by_hand:
            window.add_milliseconds(samples)
            expected.extend(samples)
        else:
            window.add_seconds(samples)
            expected.extend(seconds * 1000.0 for seconds in samples)
        assert window.milliseconds() == list(expected)
        if len(expected) > 1:
            cuts = statistics.quantiles(expected, n=100)
            found = window.percentiles()
            assert (found.p50, found.p95, found.p99) == (cuts[49], cuts[94], cuts[98])


def filled(size: int, count: int) -> Window:
    """A window that has got 1, 2, 3 … seconds one by one."""
    window = Window(size)
    for number in range(count):
        window.add_seconds([number + 1.0])
    return window


@pytest.mark.parametrize("count", range(1, 10))
def test_the_newest_are_the_last_ones_wherever_the_ring_begins(count: int) -> None:
    window, latencies = filled(4, count), [1000.0 * (number + 1) for number in range(count)][-4:]
    assert window.milliseconds() == latencies
    for wanted in range(1, 6):
        assert window.newest(wanted) == latencies[-wanted:]
        assert window.newest(wanted, above=latencies[-1] - 1) == latencies[-wanted:]
        assert window.newest(wanted, above=latencies[-1]) == []
    assert window.newest(0) == []
    assert Window(4).newest(2) == []
    for size in (2, 3, 8):
        resized = window.resized(size)
        assert (resized.size, resized.milliseconds()) == (size, latencies[-size:])
        assert len(resized) == min(size, len(latencies))


def test_seconds_that_filled_a_window_unseen_are_milliseconds_once_those_come() -> None:
    window = Window(3)
    window.add_seconds([1.0, 2.0, 3.0, 4.0])
    window.add_milliseconds([5.0])
    assert window.milliseconds() == [3000.0, 4000.0, 5.0]
    window.add_seconds([6.0])
    assert window.milliseconds() == [4000.0, 5.0, 6000.0]


def test_no_shown_percentile_lies_beyond_the_longest() -> None:
    found = Percentiles(1.0, 20.0, 30.0, ("p95", "p99"))
    assert found.at_most(None) is found
    assert found.at_most(25.0) == Percentiles(1.0, 20.0, 25.0, ("p95", "p99"))
    assert found.at_most(15.0) == Percentiles(1.0, 15.0, 15.0, ("p95", "p99"))
    exact = Percentiles(1.0, 2.0, 30.0)
    assert exact.at_most(25.0) is exact
    unknown = Percentiles(1.0, None, 30.0, ("p99",))
    assert unknown.at_most(25.0) == Percentiles(1.0, None, 25.0, ("p99",))


@pytest.mark.parametrize("new", [1, 64, 65, 200])
def test_a_window_that_was_looked_at_takes_few_and_many_new_samples(new: int) -> None:
    window, expected = Window(150), deque[float](maxlen=150)
    chosen = [float(number * 7919 % 1009) for number in range(150 + new)]
    for part in (chosen[:100], chosen[100:150], chosen[150:]):
        window.add_milliseconds(part)
        expected.extend(part)
        cuts = statistics.quantiles(expected, n=100)
        found = window.percentiles()
        assert (found.p50, found.p95, found.p99) == (cuts[49], cuts[94], cuts[98])


def test_a_copy_of_a_window_follows_it_and_keeps_little_of_what_has_gone() -> None:
    window, longest = Window(20), 0
    for ever in range(1, 300):
        window.add_milliseconds([float(ever)])
        run = window.run(ever)
        assert list(run.samples) == window.milliseconds()
        longest = max(longest, len(run.data))
    assert 20 < longest < 100
