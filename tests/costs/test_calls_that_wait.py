"""Model calls are recorded after they ended: what must not wait does not, and nothing changes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from costs.conftest import Asking
from metertap import catalogue, state
from metertap.costs import ledger
from support.metric_data import points


def durations(reader: InMemoryMetricReader) -> int:
    return sum(point.count for point in points(reader, catalogue.MODEL_DURATION.name))


def test_calls_wait_and_whoever_collects_sees_them(ask: Asking) -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        ask()
        assert not ledger._unrecorded  # it begins the series
        for _ in range(3):
            ask()
        assert len(ledger._unrecorded) == 3
        assert durations(reader) == 4
        assert not ledger._unrecorded


def test_a_call_waits_for_no_reader_that_has_seen_none(ask: Asking) -> None:
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([first])):
        ask()
        ask()
        assert durations(first) == 2
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([second])):
        ask()
        assert not ledger._unrecorded
        assert durations(second) == 1
        assert durations(first) == 2


def test_what_a_program_adds_to_a_usage_is_not_the_models(ask: Asking) -> None:
    with metertap.instrument(json_endpoint=False):
        for _ in range(2):
            usage = ask().usage
            usage.prompt_tokens += 1_000_000
            usage.prompt_tokens_details.cached_tokens += 5
        (series,) = state.recorder().usage_figures()
    assert (series.calls, series.input_tokens, series.cached_tokens) == (2, 20, 8)


@pytest.mark.parametrize(
    "more",
    [
        {"more": {"deep": {"deeper": 1}}},
        {f"count_{number}": number for number in range(1_000)},
        {f"more_{name}": {f"count_{number}": 1 for number in range(40)} for name in "ab"},
        {"x" * 5_000: 1},
        {"more": {"x" * 5_000: 1}},
    ],
    ids=["three levels", "many fields", "many in all", "a long name", "a long name below"],
)
def test_a_usage_that_is_not_copied_is_read_at_once(ask: Asking, more: dict[str, Any]) -> None:
    ask.answers(**more)
    with metertap.instrument(json_endpoint=False):
        ask()
        ask()
        assert all(call.reported is None and call.usage for call in ledger._ended)
        (series,) = state.recorder().usage_figures()
    assert (series.calls, series.input_tokens, series.unreported) == (2, 20, 0)


def test_no_text_in_a_usage_is_kept(ask: Asking) -> None:
    ask.answers(note="SECRET", prompt_tokens_details={"cached_tokens": 4, "text": "SECRET"})
    with metertap.instrument(json_endpoint=False):
        ask()
        ask()
        assert "SECRET" not in repr([call.reported for call in ledger._ended])
        (series,) = state.recorder().usage_figures()
    assert (series.calls, series.cached_tokens) == (2, 8)


def test_a_stream_that_is_dropped_while_calls_are_recorded_takes_none_twice(ask: Asking) -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        for _ in range(3):
            ask()
        waiting = list(ledger._unrecorded)
        settle = type(waiting[0]).settle

        def and_a_finaliser(call: Any) -> None:
            settle(call)
            ledger.record()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(waiting[0]), "settle", and_a_finaliser)
            ledger.record()
        assert durations(reader) == 3


def test_a_call_waits_unless_it_is_made_under_a_sampled_span(
    ask: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metertap.instrument(json_endpoint=False):
        ask()
        monkeypatch.setattr(state.recorder(), "sampled_context", lambda: None)
        ask()
        assert len(ledger._unrecorded) == 1
        monkeypatch.setattr(state.recorder(), "sampled_context", Context)
        ask()
        assert not ledger._unrecorded
