"""anthropic's client: messages, whole and streamed, with what they cache and search."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from kits.model_client import MODEL
from kits.model_kit import ModelKit
from metertap import state
from metertap.costs.usage import Unusable, Usage
from metertap_instrumentation.models import anthropic as adapter
from metertap_instrumentation.models.anthropic import usage_of
from servers.model_api import Answer, ModelApi
from support.lazily import library

anthropic = library("anthropic")
pytestmark = pytest.mark.library("anthropic")

USAGE = {
    "input_tokens": 700,
    "cache_read_input_tokens": 200,
    "cache_creation_input_tokens": 100,
    "output_tokens": 300,
}


class TestMessages(ModelKit):
    provider = "anthropic"
    instrumentation = adapter.INSTRUMENTATION
    modules = ("anthropic",)
    counts: ClassVar = {
        "input_tokens": 1000,
        "output_tokens": 300,
        "cached_tokens": 200,
        "cache_write_tokens": 100,
    }
    cut_counts: ClassVar = {**counts, "output_tokens": 1}
    usage_at = ("usage", "input_tokens")

    def client(self, url: str, *, is_async: bool) -> Any:
        made = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        return made(api_key="key", base_url=url)

    def ask(self, client: Any, text: str) -> Any:
        return client.messages.create(**self.asked(text))

    def stream(self, client: Any, text: str) -> Any:
        return client.messages.create(**self.asked(text), stream=True)

    def asked(self, text: str) -> dict[str, Any]:
        return {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": text}]}

    def answer(self) -> Any:
        return {
            "id": "1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": "answered"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": USAGE,
        }

    def events(self) -> list[Any]:
        begun = {**self.answer(), "content": [], "usage": {**USAGE, "output_tokens": 1}}
        text = {"type": "text_delta", "text": "answered"}
        events = [
            {"type": "message_start", "message": begun},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "text", "text": ""},
            },
            {"type": "content_block_delta", "index": 0, "delta": text},
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 300},
            },
            {"type": "message_stop"},
        ]
        return [(event["type"], event) for event in events]

    def test_the_helper_for_streams_is_one_call(self, api: ModelApi) -> None:
        api.says(Answer(events=self.events()))
        client = self.client(api.url, is_async=False)
        with client.messages.stream(**self.asked("a")) as stream:
            assert "".join(stream.text_stream) == "answered"
            assert stream.get_final_message().usage.output_tokens == 300
        self.check(self.counts)

    def test_writing_for_an_hour_and_searching_cost_what_the_table_says(
        self, api: ModelApi
    ) -> None:
        genai_prices = pytest.importorskip("genai_prices")
        if not hasattr(anthropic.types, "CacheCreation"):
            pytest.skip("this version does not know of either")
        more = {
            "cache_creation": {"ephemeral_1h_input_tokens": 60, "ephemeral_5m_input_tokens": 40},
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
        }
        model = "claude-sonnet-4-5"
        api.says(Answer({**self.answer(), "model": model, "usage": {**USAGE, **more}}))
        self.run(api, is_async=False)
        (series,) = state.recorder().usage_figures()
        by_hand = 700 * Decimal(3) + 200 * Decimal("0.3") + 40 * Decimal("3.75") + 60 * Decimal(6)
        by_hand = (by_hand + 300 * Decimal(15)) / 1_000_000 + 3 * Decimal("0.01")
        asked = genai_prices.Usage(
            input_tokens=1000,
            output_tokens=300,
            cache_read_tokens=200,
            cache_write_tokens=100,
            cache_write_1h_tokens=60,
            web_searches=3,
        )
        now = datetime.now(timezone.utc)
        expected = genai_prices.calc_price(
            asked, model, provider_id="anthropic", genai_request_timestamp=now
        )
        assert series.cost == expected.total_price == by_hand

    def test_a_client_for_bedrock_or_vertex_has_another_provider(self) -> None:
        from metertap_instrumentation.models.providers import provider_of

        class AnthropicBedrock:
            base_url = anthropic.Anthropic(api_key="key", base_url="https://x.example").base_url

        assert provider_of(AnthropicBedrock(), "anthropic") == ("aws.bedrock", ("x.example", 443))


def test_what_a_stream_uses_is_unknown_where_its_start_cannot_be_used() -> None:
    assert usage_of({"output_tokens": 300}) is None
    start = usage_of({"input_tokens": 7}, is_start=True)
    assert usage_of({"output_tokens": 300}, start) == Usage(7, 300)
    with pytest.raises(Unusable, match="output_tokens is missing"):
        usage_of({"input_tokens": 7})
