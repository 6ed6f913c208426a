"""The recorder: series by their names and limits, and activity."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from metertap import catalogue, faults, outcomes
from metertap.recording import Recorder
from metertap.recording.cache_series import EVICTIONS
from metertap.weight.definitions import definition
from support.kept_instruments import KeptInstruments
from support.used_recorder import used
from support.warned import warnings_of


class Slot:
    """Counts how often it is told to look again."""

    told = 0

    def forget(self) -> None:
        self.told += 1


def seen_by(recorder: Recorder) -> list[str]:
    seen: list[str] = []
    recorder.on_activity(lambda: seen.append("seen"))
    return seen


def names(recorder: Recorder) -> list[str]:
    return [tool.name for tool in recorder.figures().tools]


def test_a_tool_is_made_once_for_each_name_and_source() -> None:
    recorder = Recorder()
    tool = recorder.tool("search", "one")
    assert recorder.tool("search", "one") is recorder.find_tool("search", "one") is tool
    assert recorder.tool("search", "two") is not tool
    assert recorder.find_tool("buy", "one") is None
    assert recorder.other_tool("one").name == catalogue.OTHER
    assert names(recorder) == ["search", "search"]  # the other one has no call
    recorder.started(recorder.other_tool("one"))
    assert names(recorder) == ["search", "search", catalogue.OTHER]


@pytest.mark.parametrize("name", ["x" * 100_000, "\ud800"])
def test_registered_names_are_labels_of_bounded_length_too(name: str) -> None:
    # A proxy registers what another server lists, and a client learns that.
    recorder = Recorder()
    tool = recorder.tool(name, "one")
    assert recorder.find_tool(name, "one") is recorder.tool(name, "one") is tool
    weight = recorder.weight(name, "one", catalogue.CLIENT)
    assert recorder.weight(name, "one", catalogue.CLIENT) is weight
    for label in (tool.name, weight.name):
        assert 0 < len(label.encode()) <= 200
    assert names(recorder) == [tool.name]


@pytest.mark.faults
def test_a_fault_in_counting_sessions_costs_their_number_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    recorder.tool("search", "one")
    monkeypatch.setattr(recorder, "active_sessions", lambda: 1 // 0)
    figures = recorder.figures()
    assert (figures.active_sessions, [tool.name for tool in figures.tools]) == (0, ["search"])
    assert faults.fault_counts() == {"figures.sessions": 1}


def test_the_shared_series_is_shown_once_it_has_counted() -> None:
    recorder = Recorder()
    recorder.record_tool(recorder.other_tool("one"), outcomes.CALLER_ERROR, "caller_error")
    assert names(recorder) == [catalogue.OTHER]


def test_names_that_a_program_passes_in_are_bounded_and_registered_ones_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recorder = Recorder(series_limit=2)
    assert [recorder.tool_by_hand(name, "test").name for name in ("a", "b", "c", "a")] == [
        "a",
        "b",
        catalogue.OTHER,
        "a",
    ]
    assert recorder.tool("registered", "test").name == "registered"
    assert recorder.tool_by_hand("registered", "test").name == "registered"
    [warning] = warnings_of(caplog)
    assert warning.startswith("there are 2 names already")
    caches = [recorder.cache_by_hand(name, "test").name for name in ("a", "b", "c", "b")]
    assert caches == ["a", "b", catalogue.OTHER, "b"]


@pytest.mark.parametrize("name", ["", None, 5, ["search"]])
def test_what_is_no_name_is_one_warning(name: Any, caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    for _ in range(2):
        assert recorder.tool_by_hand(name, "test").name == catalogue.OTHER
        assert recorder.cache_by_hand(name, "test").name == catalogue.OTHER
    [warning] = warnings_of(caplog)
    assert "is not a name" in warning


def test_a_long_name_is_one_series_by_its_label() -> None:
    recorder = Recorder(series_limit=1)
    long = recorder.tool_by_hand("n" * 500, "test")
    assert long.name == "n" * 200
    assert recorder.tool_by_hand("n" * 500, "test") is long


@pytest.mark.parametrize(
    ("latency_ms", "is_one"),
    [
        (0, True),
        (0.0, True),
        (7, True),
        (1e15, True),
        (1.1e15, False),
        (10**400, False),
        (-0.1, False),
        (float("nan"), False),
        (float("inf"), False),
        (True, False),
        ("5", False),
    ],
)
def test_a_latency_that_is_no_duration_is_one_warning_and_the_call_counts(
    latency_ms: Any, is_one: bool, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    series = recorder.tool("search", "test")
    for _ in range(2):
        recorder.record_tool(series, outcomes.OK, None, latency_ms)
    figures = series.figures()
    assert (figures.succeeded, figures.sampled) == (2, 2 if is_one else 0)
    assert figures.maximum_ms == (latency_ms if is_one else None)
    assert len(warnings_of(caplog)) == (0 if is_one else 1)
    assert faults.fault_counts() == {}


def test_latencies_by_hand_are_milliseconds_here_and_seconds_for_instruments() -> None:
    instruments, recorder = KeptInstruments(), Recorder()
    recorder.instruments = [instruments]
    series = recorder.tool("search", "test")
    recorder.record_tool(series, outcomes.OK, None, 250.0)
    recorder.record_tool(series, outcomes.OK)
    recorder.fold()
    assert instruments.durations == [0.25]
    figures = series.figures()
    assert (figures.succeeded, figures.sampled, figures.total_ms) == (2, 1, 250.0)
    assert figures.active == 0


def test_records_that_were_left_out_are_counted_by_a_bounded_number_of_tools() -> None:
    recorder = Recorder()
    for number in range(101):
        recorder.left_out(f"t{number}")
    recorder.left_out("t0")
    recorder.left_out("n" * 500)
    assert len(recorder.duplicates) == 101
    assert recorder.duplicates["t0"] == 2
    assert recorder.duplicates["t99"] == 1
    assert recorder.duplicates[catalogue.OTHER] == 2
    recorder.reset()
    assert recorder.duplicates == {}


def test_slots_look_again_when_settings_or_figures_are_new() -> None:
    recorder, slot = Recorder(), Slot()
    recorder.keep(slot)
    for number, change in enumerate(
        (recorder.forget_slots, recorder.reset, lambda: recorder.configure(5, 5), recorder.forked),
        1,
    ):
        change()
        assert slot.told == number


def test_other_sizes_are_those_of_windows_and_limits() -> None:
    recorder = Recorder(window_size=10, series_limit=10)
    tool = recorder.tool("search", "test")
    for number in range(10):
        recorder.started(tool)
        tool.append(number / 1000)
    recorder.configure(window_size=3, series_limit=1)
    assert recorder.window_size == 3
    assert tool.figures().window_samples == 3
    assert recorder.tool_by_hand("more", "test").name == catalogue.OTHER


ACTIVITIES: dict[str, Any] = {
    "tool": lambda recorder: recorder.tool("search", "test"),
    "cache": lambda recorder: recorder.cache("prompts", "test"),
    "unnamed cache": lambda recorder: recorder.activity(),
    "session": lambda recorder: recorder.session_opened(),
    "operation": lambda recorder: recorder.record_operation(
        "key", catalogue.SERVER_DURATION, {}, 0.1
    ),
}


@pytest.mark.faults
@pytest.mark.parametrize("kind", ACTIVITIES)
def test_activity_is_told_once_and_at_once_to_who_asks_later(kind: str) -> None:
    recorder = Recorder()
    seen, forgotten = seen_by(recorder), []

    def not_any_more() -> None:
        forgotten.append("seen")

    recorder.on_activity(not_any_more)
    recorder.forget_activity_callback(not_any_more)
    recorder.forget_activity_callback(not_any_more)
    recorder.on_activity(lambda: 1 // 0)
    after = seen_by(recorder)
    assert seen == after == []
    for _ in range(2):
        ACTIVITIES[kind](recorder)
    assert seen == after == seen_by(recorder) == ["seen"]
    assert forgotten == []
    assert faults.fault_counts() == {"recorder.activity": 1}


@pytest.mark.faults
def test_who_waits_for_records_hears_of_each_until_that_is_forgotten() -> None:
    recorder, told = Recorder(), list[str]()

    def hear() -> None:
        told.append("record")

    recorder.on_record(lambda: 1 // 0)
    recorder.on_record(hear)
    recorder.wake()
    assert told == ["record"]
    recorder.activity()  # of a cache without a name
    assert told == ["record"] * 2
    for _ in range(2):
        recorder.forget_record_callback(hear)
    recorder.wake()
    assert told == ["record"] * 2
    assert faults.fault_counts() == {"recorder.record": 3}


def test_what_is_no_operation_of_a_side_is_no_activity() -> None:
    recorder = Recorder()
    seen = seen_by(recorder)
    recorder.record_operation("key", catalogue.TOOL_FIRST_ITEM, {}, 0.1)
    assert seen == []


def test_a_forked_child_sees_its_first_activity_with_the_first_record() -> None:
    parent = Recorder()
    tool, cache = parent.tool("search", "test"), parent.cache("prompts", "test")
    parent.record_tool(tool, outcomes.OK, None, 5.0)
    parent.cache_looked_up(cache, True, None)
    parent.requests_by_hand = parent.sessions_by_hand = 3
    for record in ("tool", "cache"):
        seen = seen_by(parent)
        seen.clear()
        parent.forked()
        assert names(parent) == ["search"]
        assert [(item.name, item.hits) for item in parent.figures().caches] == [("prompts", 0)]
        assert parent.figures().total_requests == 0
        assert (parent.active_sessions(), parent.requests_by_hand) == (0, 0)
        assert seen == []
        if record == "tool":
            parent.record_tool(parent.tool("search", "test"), outcomes.OK, None, 5.0)
        else:
            parent.cache_looked_up(parent.cache("prompts", "test"), True, None)
        assert seen == ["seen"]


def test_no_other_thread_is_inside_while_the_process_forks() -> None:
    recorder = Recorder()
    recorder.before_fork()
    taken: list[bool] = []

    def take() -> None:
        taken.append(recorder.lock.acquire(blocking=False))
        if taken[-1]:
            recorder.lock.release()

    for done in (lambda: None, recorder.forked_in_parent):
        done()
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert taken == [False, True]


def test_a_fork_whose_wait_was_interrupted_releases_nothing() -> None:
    Recorder().forked_in_parent()


@pytest.mark.faults
def test_caches_are_found_before_anybody_sees_them_and_once_for_each_finder() -> None:
    recorder = Recorder()
    looked: list[str] = []

    def find() -> None:
        looked.append("looked")
        recorder.cache("found", "test")

    recorder.on_look(lambda: 1 // 0)
    recorder.on_look(find)
    recorder.on_look(find)
    assert [cache.name for cache in recorder.figures().caches] == ["found"]
    assert looked == ["looked"]
    assert faults.fault_counts() == {"caches.look": 1}
    assert recorder.figures(caches=False).caches == ()
    assert looked == ["looked"]
    assert recorder.figures_of_cache("found", "test") is not None
    assert recorder.figures_of_cache("lost", "test") is None
    assert looked == ["looked"]


def test_a_cache_is_made_once_for_each_name_and_system() -> None:
    recorder = Recorder()
    cache = recorder.cache("prompts", "one", frozenset({EVICTIONS}))
    assert recorder.cache("prompts", "one") is recorder.cache_by_hand("prompts", "one") is cache
    assert recorder.cache("prompts", "two") is not cache
    assert cache.supports == {EVICTIONS}


def test_a_reset_forgets_everything() -> None:
    recorder = Recorder()
    used(recorder)
    recorder.cache("prompts", "test")
    recorder.record_operation("key", catalogue.SERVER_DURATION, {}, 0.1)
    recorder.session_opened()
    recorder.sessions_by_hand = recorder.requests_by_hand = 4
    recorder.reset()
    figures = recorder.figures()
    assert (figures.tools, figures.caches, figures.operations) == ((), (), ())
    assert (figures.active_sessions, figures.requests_by_hand) == (0, 0)
    assert recorder.find_operation("key") is None
    seen = seen_by(recorder)
    recorder.tool("search", "test")
    assert seen == ["seen"]


def test_the_limit_of_a_metric_is_of_that_metric_and_begins_again_with_a_reset() -> None:
    recorder = Recorder(series_limit=2)
    for number in range(3):
        recorder.record_operation(f"s{number}", catalogue.SERVER_DURATION, {}, 0.1)
    for number in range(2):
        recorder.record_operation(f"c{number}", catalogue.CLIENT_DURATION, {}, 0.1)
    assert recorder.find_operation("s1") is not None
    assert recorder.find_operation("s2") is None
    assert recorder.find_operation("c1") is not None
    assert recorder.overflown() == [catalogue.SERVER_DURATION.name]
    recorder.reset()
    assert recorder.overflown() == []
    recorder.record_operation("s2", catalogue.SERVER_DURATION, {}, 0.1)
    assert recorder.find_operation("s2") is not None


def test_tools_past_the_limit_of_weights_have_no_definition_together() -> None:
    recorder = Recorder(series_limit=1)
    for name in "abc":
        weight = recorder.weight(name, "mcp", catalogue.CLIENT)
        weight.defined_by(definition, f'{{"name": "{name}"}}')
        weight.record(10)
    found = {item.name: item for item in recorder.weight_figures() or ()}
    assert found["a"].definition is not None
    assert found[catalogue.OTHER].definition is None
    assert found[catalogue.OTHER].results == 2


def test_a_tool_has_a_weight_only_where_weights_are_recorded() -> None:
    recorder = Recorder()
    tool = recorder.tool("search", "test")
    weight = recorder.weight_of(tool)
    assert weight is recorder.weight_of(tool) is recorder.weight("search", "test")
    recorder.configure(10, 10, weighs=False)
    assert recorder.weight_of(tool) is recorder.weight_figures() is None
    recorder.configure(10, 10)
    assert recorder.weight_of(tool) is weight


def test_weights_that_clients_see_leave_room_for_others() -> None:
    recorder = Recorder(series_limit=2)
    of_clients = [recorder.weight(name, "mcp", catalogue.CLIENT).name for name in "abc"]
    assert of_clients == ["a", "b", catalogue.OTHER]
    assert recorder.weight("a", "mcp", catalogue.CLIENT).name == "a"
    # That of all others has taken a place.
    assert [recorder.weight(name, "mcp").name for name in "abc"] == ["a", *[catalogue.OTHER] * 2]


def test_models_past_the_limit_share_a_series() -> None:
    recorder = Recorder(series_limit=2)
    models = [recorder.usage("search", "x", model).model for model in "abca"]
    assert models == ["a", "b", catalogue.OTHER, "a"]
    assert recorder.usage("search", "x", "b") is recorder.usage("search", "x", "b")
