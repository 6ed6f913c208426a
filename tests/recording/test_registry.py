"""The series of a process by name: one that is there already is found without the lock."""

from __future__ import annotations

from decimal import Decimal

import pytest

from metertap import locks, outcomes
from metertap.recording import Recorder
from metertap.recording.registry import Registry


def test_what_is_there_is_found_without_the_lock_and_its_name_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    tool = recorder.tool_by_hand("search", "test")
    weight = recorder.weight("search", "test")
    cache = recorder.cache_by_hand("prompts", "test")
    usage = recorder.usage("search", "anthropic", "claude")
    for name in ("tried", "briefly"):
        monkeypatch.delattr(locks, name)
    monkeypatch.delattr(Registry, "_name_by_hand")
    assert recorder.tool("search", "test") is recorder.tool_by_hand("search", "test") is tool
    assert recorder.weight("search", "test") is weight
    assert recorder.cache("prompts", "test") is recorder.cache_by_hand("prompts", "test") is cache
    assert recorder.usage("search", "anthropic", "claude") is usage


def test_what_was_left_out_before_is_counted_without_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    recorder.left_out("search")
    monkeypatch.delattr(locks, "briefly")
    recorder.left_out("search")
    assert recorder.duplicates == {"search": 2}


def test_the_weight_of_a_tool_is_looked_up_again_only_if_weights_are_switched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    tool = recorder.tool("search", "test")
    weight = recorder.weight_of(tool)
    recorder.configure(10, 10)
    with monkeypatch.context() as patched:
        patched.delattr(Registry, "weight")
        assert recorder.weight_of(tool) is weight
    recorder.configure(10, 10, weighs=False)
    assert recorder.weight_of(tool) is None


def test_a_session_is_told_to_whoever_waits_for_records() -> None:
    recorder, told = Recorder(), list[str]()
    recorder.on_record(lambda: told.append("record"))
    recorder.session_opened()
    assert told == ["record"]


def test_after_a_reset_no_function_is_known_as_decorated() -> None:
    recorder = Recorder()
    recorder.decorated["search"] = "shop.py", 5
    recorder.reset()
    assert recorder.decorated == {}


def test_fees_of_the_settings_are_those_of_calls() -> None:
    recorder = Recorder()
    recorder.record_tool(recorder.tool("search", "test"), outcomes.OK, None, 1.0)
    assert recorder.spent_on_fees() == {}
    recorder.configure(10, 10, {"search": Decimal("0.25")})
    assert recorder.spent_on_fees() == {"search": Decimal("0.25")}


def test_results_that_wait_as_figures_start_over_are_none_of_the_new_ones() -> None:
    recorder = Recorder()
    weight = recorder.weight("search", "test")
    for size in (1, 2, 3):
        weight.record(size)
    recorder.start_over()
    assert weight.waiting == 0
    assert weight.figures().results == 0
