"""The recorder's figures: of their whole life, and since they began again."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from metertap import catalogue, outcomes
from metertap.recording import Recorder, ToolFigures, ToolSeries
from metertap.recording.views import Views
from metertap.unmocked import unmocked
from support.kept_instruments import KeptInstruments
from support.used_recorder import used


def test_counts_of_tools_are_of_their_whole_life() -> None:
    recorder = Recorder()
    used(recorder)
    recorder.start_over()
    used(recorder)
    recorder.tool("quiet", "test")
    counts = {key: (dict(found), sampled) for key, found, sampled in recorder.tool_counts()}
    assert {ended: n for ended, n in counts["search", "test"][0].items() if n} == {
        "ok": 6,
        "exception": 2,
        "cancelled": 2,
    }
    assert counts["search", "test"][1] == 8
    assert counts["quiet", "test"] == (dict.fromkeys(outcomes.ALL, 0), 0)


def test_lookups_of_calls_are_of_their_whole_life() -> None:
    recorder = Recorder()
    for seconds in (1.0, 2.0):
        tool = used(recorder)
        tool.looked_up(True, False, seconds)
        tool.looked_up(True, True, 4 * seconds)
        recorder.start_over()
    assert dict(recorder.looked_up()) == {
        ("search", "test"): {
            "all_hit_calls": 2,
            "all_hit_seconds": 3.0,
            "missed_calls": 2,
            "missed_seconds": 12.0,
        }
    }


def test_the_newest_latencies_are_those_of_the_last_calls() -> None:
    recorder = Recorder()
    used(recorder)
    key = ("search", "test")
    assert recorder.newest_latencies(key, 2) == [30.0, 4.0]
    assert recorder.newest_latencies(key, 10) == [1.0, 2.0, 30.0, 4.0]
    assert recorder.newest_latencies(key, 10, above=29.9) == [1.0, 2.0, 30.0, 4.0]
    assert recorder.newest_latencies(key, 10, above=30.0) == []
    assert recorder.newest_latencies(("made up", "test"), 10) == []
    tool = recorder.tool(*key)
    recorder.started(tool)
    tool.append(0.005)
    assert recorder.newest_latencies(key, 2) == [4.0, 5.0]
    found = recorder.figures_of_tool(*key)
    assert found is not None
    assert found[1] == [1.0, 2.0, 30.0, 4.0, 5.0]
    assert recorder.figures_of_tool("made up", "test") is None


def test_latencies_are_newest_however_short_they_are() -> None:
    recorder = Recorder()
    for latency_ms in (0.0, 0.5):
        recorder.record_tool(recorder.tool("search", "test"), "ok", None, latency_ms)
    assert recorder.newest_latencies(("search", "test"), 1) == [0.5]
    recorder.start_over()
    recorder.record_tool(recorder.tool("search", "test"), "ok", None, 0.0)
    assert recorder.newest_latencies(("search", "test"), 2) == [0.0]


def test_all_waiting_calls_are_folded_before_any_figures_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    tools = [recorder.tool(name, "test") for name in ("search", "order", "pay")]
    waiting, folded = list[int](), list[str]()
    figures_of, fold = ToolSeries.figures, ToolSeries.fold

    def figures(self: ToolSeries, *, is_bare: bool = False) -> ToolFigures:
        waiting.append(sum(tool.waiting for tool in tools))
        folded.append("figures")
        return figures_of(self, is_bare=is_bare)

    def folds(self: ToolSeries) -> None:
        folded.append(self.name)
        fold(self)

    for _ in range(2):  # the first call of each is seen at once
        for tool in tools[:2]:
            recorder.started(tool)
            tool.append(0.005)
    monkeypatch.setattr(ToolSeries, "figures", figures)
    monkeypatch.setattr(ToolSeries, "fold", folds)
    assert sum(tool.waiting for tool in tools) == 2
    assert len(recorder.figures().tools) == 3
    assert waiting == [0, 0, 0]
    assert folded[:3] == ["search", "order", "figures"]


def test_weights_are_not_looked_at_once_they_are_switched_off() -> None:
    recorder = Recorder()
    recorder.weight("search", "test").record(5)
    assert [one.name for one in recorder.weighed()] == ["search"]
    recorder.configure(10, 10, weighs=False)
    assert recorder.weighed() == []


def test_calls_are_not_counted_for_fees_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(Views, "tool_counts")
    assert Recorder().spent_on_fees() == {}


def test_samples_are_told_with_the_figures_that_they_are_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recorder = Recorder()
    tool, weight = recorder.tool("search", "test"), recorder.weight("search", "test")
    operation = recorder.operation("key", catalogue.SERVER_DURATION, {})
    for number in (1, 2):
        recorder.record_tool(tool, "ok", None, number)
        weight.record(number)
        operation.record(number / 1000, 0.0)
    figures = recorder.lifetime(is_bare=True)
    assert figures.weights is not None
    found = (*figures.tools, *figures.weights, *figures.operations)
    for item in found:
        with monkeypatch.context() as patched:
            patched.setattr(recorder, "lock", None)  # which is not taken for the last ones
            ((same, (run,)),) = recorder.with_runs([item])
        assert same is item
        assert [sample * run.factor for sample in run.samples] == [1.0, 2.0]
    recorder.record_tool(tool, "ok", None, 3)
    weight.record(3)
    operation.record(0.003, 0.0)
    (shown,) = recorder.weight_figures() or ()
    assert shown.percentiles.p50 == 2.0
    recorder.lifetime(is_bare=True)  # somebody else looks, so that these are not the last ones
    for item in found:
        ((later, (run,)),) = recorder.with_runs([item])
        assert type(later) is type(item)
        assert run.size == 3
    recorder.start_over()
    for item in found:
        ((later, (run,)),) = recorder.with_runs([item])
        assert type(later) is type(item)
        assert run.size == 0
    recorder.reset()
    assert [*recorder.with_runs(found)] == [(item, ()) for item in found]


def test_a_new_recorder_has_spent_nothing() -> None:
    recorder = Recorder()
    assert (recorder.spent(), recorder.spent_on_fees(), recorder.has_usage) == (0, {}, False)


def test_calls_cost_the_fees_of_the_settings_in_force() -> None:
    recorder = Recorder()
    recorder.configure(10, 10, {"search": Decimal("0.5")})
    used(recorder)
    assert recorder.spent_on_fees() == {"search": Decimal("2.5")}
    recorder.configure(10, 10)
    assert recorder.spent_on_fees() == {}


@pytest.mark.parametrize("kind", ["weight", "operation"])
def test_what_waits_when_figures_begin_again_is_not_of_the_new_ones(kind: str) -> None:
    recorder = Recorder()
    weight = recorder.weight("search", "test")
    operation = recorder.operation("key", catalogue.SERVER_DURATION, {})
    for _ in range(2):
        weight.record(5)
        operation.record(0.1, 0.0)
    series: Any = weight if kind == "weight" else operation.series
    assert series.waiting == 1
    recorder.start_over()
    assert (series.waiting, series.latencies.count) == (0, 0)


def test_calls_in_progress_are_told_by_name_every_source_together() -> None:
    recorder = Recorder()
    for name, source, calls in (("a", "x", 2), ("a", "y", 1), ("b", "x", 0)):
        for _ in range(calls):
            recorder.started(recorder.tool(name, source))
        recorder.tool(name, source)
    assert recorder.active_calls() == [("a", 3), ("b", 0)]
    figures = recorder.figures()
    assert figures.concurrent_requests == 3
    recorder.requests_by_hand = 5
    assert recorder.figures().concurrent_requests == 5


def test_figures_begin_again_and_the_lifetime_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    used(recorder)
    recorder.cache_looked_up(recorder.cache("prompts", "test"), True, None)
    recorder.record_operation("key", catalogue.SERVER_DURATION, {}, 0.1)
    recorder.record_operation("session", catalogue.CLIENT_SESSION, {}, 0.2)
    recorder.session_opened()
    recorder.sessions_by_hand = recorder.requests_by_hand = 4
    born = recorder.start_time
    for view in (recorder.figures(), recorder.lifetime()):
        assert view.tools[0].total_ms == 37.0
        assert view.caches[0].hits == 1
        assert [item.calls for item in view.operations] == [1]
        assert [item.side for item in view.sessions] == ["client"]
        assert (view.active_sessions, view.requests_by_hand) == (4, 4)
        assert view.start_time == born
        assert view.total_requests == 5
    monkeypatch.setattr(time, "time", lambda: born + 1000)
    monkeypatch.setattr(unmocked, "monotonic", lambda of=time.monotonic: of() + 1000)
    assert recorder.figures().uptime_seconds == pytest.approx(1000, abs=60)
    recorder.start_over()
    monkeypatch.undo()
    monkeypatch.setattr(unmocked, "monotonic", lambda of=time.monotonic: of() + 3000)
    figures, lifetime = recorder.figures(), recorder.lifetime()
    assert (figures.start_time, lifetime.start_time) == (born + 1000, born)
    assert figures.uptime_seconds == pytest.approx(2000, abs=60)
    assert lifetime.uptime_seconds == pytest.approx(3000, abs=60)
    assert (figures.tools[0].total_ms, lifetime.tools[0].total_ms) == (0.0, 37.0)
    assert (figures.caches[0].hits, lifetime.caches[0].hits) == (0, 1)
    assert (figures.operations, lifetime.sessions) == ((), ())
    assert (figures.active_sessions, figures.requests_by_hand) == (1, 0)
    recorder.start_over()
    assert recorder.lifetime().tools[0].total_ms == 37.0


def test_a_call_that_ends_while_figures_begin_again_is_counted_once() -> None:
    recorder = Recorder()
    one, two = recorder.tool("one", "test"), recorder.tool("two", "test")

    class Meanwhile(KeptInstruments):
        def record(self, *handed: Any) -> None:
            super().record(*handed)
            if len(self.handed) == 3:  # as another thread may, which needs no lock for it
                recorder.started(one)
                one.append(0.5)

    recorder.instruments = [Meanwhile()]
    for series in (one, two, two):
        recorder.started(series)
        series.append(0.1)
    assert two.waiting == 1
    recorder.start_over()
    assert {tool.name: tool.succeeded for tool in recorder.figures().tools} == {"one": 1, "two": 0}
    assert {tool.name: tool.succeeded for tool in recorder.lifetime().tools} == {"one": 2, "two": 2}
    assert recorder.lifetime().tools[0].total_ms == 600.0
