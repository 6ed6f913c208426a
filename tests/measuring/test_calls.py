"""The call in progress: what it counts, for how long it lasts, and who finds it."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import metertap
from metertap import faults, state
from metertap.measuring import calls
from metertap.measuring.slots import Slot, ToolSlot
from metertap.outcomes import EXCEPTION, Ending
from metertap.recording import ToolFigures, ToolSeries
from support.patched_call import patched
from support.stopped_clock import StoppedClock, stopped


class Owner(NamedTuple):
    name: str
    counted_by: object = None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls)


@pytest.fixture(autouse=True)
def outside_of_calls() -> Iterator[None]:
    token = calls.current.set(None)
    yield
    calls.current.reset(token)


def series_of(name: str) -> ToolSeries:
    return state.recorder().tool(name, "test")


def enter(name: str, by: object = None, **options: Any) -> calls.Frame:
    return calls.enter(Owner(name, by), series_of(name), **options)


def figures(name: str) -> ToolFigures:
    return series_of(name).figures()


def test_a_call_lasts_from_its_start_to_its_end(clock: StoppedClock) -> None:
    frame = enter("search")
    assert figures("search").active == 1
    clock.now += 0.25
    calls.leave(frame)
    found = figures("search")
    assert (found.succeeded, found.total_ms, found.active) == (1, 250.0, 0)
    clock.now += 5
    calls.leave(frame)  # it has ended
    assert figures("search").succeeded == 1


def test_a_call_may_have_taken_time_before_and_have_ended_before(clock: StoppedClock) -> None:
    frame = enter("search", spent=2.0)
    clock.now += 1
    calls.leave(frame, ended=clock.now - 0.5)
    assert figures("search").total_ms == 2500.0
    frame = enter("search")
    frame[calls.ENDED] = clock.now + 0.25  # a layer inside knows better
    clock.now += 1
    calls.leave(frame, ended=clock.now)
    assert figures("search").total_ms == 2750.0


def test_a_call_that_failed_lasts_as_long(clock: StoppedClock) -> None:
    frame = enter("search")
    clock.now += 0.125
    calls.leave(frame, Ending(EXCEPTION, "KeyError"))
    found = figures("search")
    assert (found.failed, found.error_types, found.total_ms) == (1, {"KeyError": 1}, 125.0)
    assert found.with_cache is None


@pytest.mark.parametrize("hits", [(), (True,), (False,), (True, False)])
def test_lookups_of_a_call_are_told_of_with_its_duration(
    hits: tuple[bool, ...], clock: StoppedClock
) -> None:
    frame = enter("search")
    for hit in hits:
        assert calls.tool_of_lookup(hit=hit) is series_of("search")
    clock.now += 0.5
    calls.leave(frame)
    found = figures("search").with_cache
    if not hits:
        assert found is None
        return
    assert found is not None
    all_hit, missed = found
    expected = (0, 1) if False in hits else (1, 0)
    assert (all_hit.calls, missed.calls) == expected
    assert all_hit.total_ms + missed.total_ms == 500.0
    assert calls.tool_of_lookup(hit=True) is None


def test_a_call_that_is_given_up_counts_nothing() -> None:
    frame = enter("search")
    calls.give_up(frame)
    calls.leave(frame)
    found = figures("search")
    assert (sum(found.counts.values()), found.active) == (0, 0)
    left_out = calls.enter(Owner("search"), calls.LEFT_OUT)
    calls.give_up(left_out)
    assert figures("search").active == 0


def test_a_call_that_is_left_out_counts_nothing_and_is_passed_over() -> None:
    outer = enter("outer")
    inner = calls.enter(Owner("outer"), calls.LEFT_OUT)
    assert calls.around() is inner
    assert calls.in_progress() is outer
    assert calls.tool_of_lookup(hit=True) is series_of("outer")
    calls.leave(inner)
    assert calls.around() is outer
    calls.leave(outer)
    assert calls.around() is calls.in_progress() is None
    assert figures("outer").succeeded == 1


def test_a_generators_call_is_not_the_current_one() -> None:
    frame = enter("pages", as_current=False)
    assert calls.around() is None
    assert figures("pages").active == 1
    calls.leave(frame)
    inner = enter("pages")
    assert calls.around() is inner


def test_ended_calls_between_are_skipped_and_cut_off() -> None:
    outer = enter("outer")
    for _ in range(3):
        calls.leave(enter("inner"))
    newest = enter("newest")
    assert newest[calls.PARENT] is outer
    assert newest[calls.DEPTH] == 1
    calls.leave(newest)
    between = enter("between")
    inside = enter("inside")
    calls.leave(between)
    assert inside[calls.PARENT] is between
    calls.leave(inside)
    assert calls.around() is outer
    assert inside[calls.PARENT] is between[calls.PARENT] is outer
    assert inside[calls.OWNER] is inside[calls.SERIES] is None


def test_without_a_call_around_there_is_no_parent_and_no_depth() -> None:
    alone = enter("alone")
    assert (alone[calls.PARENT], alone[calls.DEPTH]) == (None, 0)
    calls.leave(alone)
    after = enter("after")
    assert (after[calls.PARENT], after[calls.DEPTH]) == (None, 0)


def test_calls_that_begin_by_short_ways_have_the_same_entries(
    clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = ToolSlot("search", "test")
    series = slot.series = series_of("search")
    begun = [series, slot, None, False, False, None, clock.now, None, 0, None]
    assert calls.enter_outermost(slot, series) == begun
    calls.leave(calls.around() or [])
    monkeypatch.delattr(Slot, "enter")  # the way of a call that may be inside another
    assert slot.start() == begun
    series.tick = iter(()).__next__  # as when waiting calls are to be folded
    assert slot.start() == begun
    frame, started = slot.begins(series, None, StopIteration())
    assert (frame, started) == (begun[:5], clock.now)


def test_a_chain_is_as_deep_as_the_calls_in_progress() -> None:
    frames = [enter("deep") for _ in range(100)]
    assert [frame[calls.DEPTH] for frame in frames] == list(range(100))
    assert [frame[calls.PARENT] for frame in frames[1:]] == frames[:-1]


@pytest.mark.parametrize("kept", [0, 3])
def test_a_chain_of_tasks_stays_as_short_as_the_calls_in_progress(kept: int) -> None:
    """Each starts the next in a copy of its context, and ends before that one is over."""
    outer = [enter("outer") for _ in range(kept)]
    frame = enter("first")
    context = contextvars.copy_context()
    for _ in range(1000):
        before = frame
        frame = context.run(enter, "next")
        calls.leave(before)
        context = context.run(contextvars.copy_context)
    length, one = 0, frame
    while one is not None:
        length, one = length + 1, one[calls.PARENT]
    assert length <= 2 * 16
    assert frame[calls.DEPTH] <= 2 * 16
    assert all(item[calls.SERIES] for item in outer)


@pytest.mark.parametrize(
    ("around", "name", "by", "expected"),
    [
        ((), "search", None, False),
        ((("search", "patch"),), "search", None, True),
        ((("search", "patch"),), "search", "patch", False),
        ((("search", "patch"),), "buy", None, False),
        ((("search", "patch"), ("buy", None)), "search", None, True),
        ((("search", "patch"), ("search", None)), "search", None, False),
        ((("search", None), ("search", "patch")), "search", None, True),
    ],
)
def test_a_call_inside_another_of_its_name_is_the_same_one_if_other_means_count_it(
    around: tuple[tuple[str, object], ...], name: str, by: object, expected: bool
) -> None:
    frames = [enter(*one) for one in around]
    assert calls.counted_already(name, by) is expected
    for frame in frames:
        calls.leave(frame)
    assert calls.counted_already(name, by) is False


def test_a_layer_that_left_the_call_out_decides_for_its_own_means_alone() -> None:
    enter("search", "patch")
    calls.enter(Owner("search", "decorator"), calls.LEFT_OUT)
    assert calls.counted_already("search", "decorator") is False
    assert calls.counted_already("search", "block") is True


def test_a_call_after_another_inside_a_third_still_knows_the_third() -> None:
    with patched("outer"):
        with metertap.measure_tool("first"):
            pass
        with metertap.measure_tool("second"):
            metertap.record_tool_call("outer", True, 1.0)
    counted = metertap.get_all_metrics()["tool_metrics"]
    assert {name: tool["total_calls"] for name, tool in counted.items()} == {
        "outer": 1,
        "first": 1,
        "second": 1,
    }


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_after_another_call_inside_its_own_tool_is_the_same_call(
    is_async: bool,
) -> None:
    async def later() -> None:
        pass

    function = metertap.tool(name="outer")(later if is_async else lambda: None)
    with metertap.measure_tool("outer"):
        with metertap.measure_tool("inner"):
            pass
        if is_async:
            with pytest.raises(StopIteration):
                function().send(None)
        else:
            function()
    counted = metertap.get_all_metrics()["tool_metrics"]
    assert counted["outer"]["total_calls"] == 1


@pytest.mark.faults
def test_a_series_that_raises_is_a_fault_and_nothing_else() -> None:
    frame = enter("search")

    class Broken:
        def __bool__(self) -> bool:
            return True

    frame[calls.SERIES] = Broken()
    calls.leave(frame)
    assert faults.fault_counts() == {"measure": 1}


def test_a_deep_chain_holds_few_calls_that_have_ended() -> None:
    live, last = 0, enter("search")
    for _ in range(500):
        between = enter("search")
        last = enter("search")
        calls.leave(between)
        live += 1
    length, frame = 0, last
    while frame is not None:
        length += 1
        frame = frame[calls.PARENT]
    assert live < length < 1.5 * live


@pytest.mark.parametrize("kind", [Slot, ToolSlot])
def test_a_generators_call_leaves_the_current_one_as_it_is(kind: type[Slot]) -> None:
    outer = enter("outer")
    inner = kind("search", "test").start()
    assert inner is not None
    assert calls.current.get() is outer
    calls.leave(inner)
    assert figures("search").succeeded == 1
