"""Model calls are recorded after they ended: what must not wait does not, and nothing changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue, state
from metertap.costs import ledger
from servers.model_api import Answer, ModelApi
from support.metric_data import points

openai = pytest.importorskip("openai")

ASKED: Any = {"model": "gpt", "messages": [{"role": "user", "content": "hello"}]}
BODY = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}],
    "usage": {
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "total_tokens": 13,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
}


@pytest.fixture
def client() -> Iterator[Any]:
    with ModelApi().serving() as api:
        api.says(Answer(BODY))
        with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1", timeout=600) as client:
            yield client


def durations(reader: InMemoryMetricReader) -> int:
    return sum(point.count for point in points(reader, catalogue.MODEL_DURATION.name))


def test_calls_wait_and_whoever_collects_sees_them(client: Any) -> None:
    reader = InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([reader])):
        client.chat.completions.create(**ASKED)
        assert not ledger._unrecorded  # it begins the series
        for _ in range(3):
            client.chat.completions.create(**ASKED)
        assert len(ledger._unrecorded) == 3
        assert durations(reader) == 4
        assert not ledger._unrecorded


def test_a_call_waits_for_no_reader_that_has_seen_none(client: Any) -> None:
    first, second = InMemoryMetricReader(), InMemoryMetricReader()
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([first])):
        client.chat.completions.create(**ASKED)
        client.chat.completions.create(**ASKED)
        assert durations(first) == 2
    with metertap.instrument(json_endpoint=False, meter_provider=MeterProvider([second])):
        client.chat.completions.create(**ASKED)
        assert not ledger._unrecorded
        assert durations(second) == 1
        assert durations(first) == 2


def test_what_a_program_adds_to_a_usage_is_not_the_models(client: Any) -> None:
    with metertap.instrument(json_endpoint=False):
        for _ in range(2):
            usage = client.chat.completions.create(**ASKED).usage
            usage.prompt_tokens += 1_000_000
            usage.prompt_tokens_details.cached_tokens += 5
        (series,) = state.recorder().usage_figures()
    assert (series.calls, series.input_tokens, series.cached_tokens) == (2, 20, 8)


def test_a_usage_that_cannot_be_copied_is_read_at_once(client: Any) -> None:
    with metertap.instrument(json_endpoint=False):
        with ModelApi().serving() as api:
            odd = {**BODY["usage"], "more": {"deep": {"deeper": 1}}}
            api.says(Answer({**BODY, "usage": odd}))
            with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1") as asked:
                asked.chat.completions.create(**ASKED)
        (series,) = state.recorder().usage_figures()
    assert (series.calls, series.input_tokens, series.unreported) == (1, 10, 0)


def test_a_call_waits_unless_it_is_made_under_a_sampled_span(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with metertap.instrument(json_endpoint=False):
        client.chat.completions.create(**ASKED)
        monkeypatch.setattr(state.recorder(), "sampled_context", lambda: None)
        client.chat.completions.create(**ASKED)
        assert len(ledger._unrecorded) == 1
        monkeypatch.setattr(state.recorder(), "sampled_context", Context)
        client.chat.completions.create(**ASKED)
        assert not ledger._unrecorded
