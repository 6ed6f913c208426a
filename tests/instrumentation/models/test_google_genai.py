"""google-genai: generated content, whole and streamed, and embeddings."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import metertap
from kits.model_client import MODEL, SECRET
from kits.model_kit import ModelKit
from metertap.costs.usage import Unusable
from metertap_instrumentation.models import google_genai as adapter
from metertap_instrumentation.models.google_genai import embedding_usage_of, usage_of
from servers.model_api import Answer, ModelApi
from support.lazily import library

genai = library("google.genai")
pytestmark = pytest.mark.library("google-genai")

USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 200,
    "candidatesTokenCount": 250,
    "thoughtsTokenCount": 50,
    "totalTokenCount": 1300,
}


class TestGenerated(ModelKit):
    provider = "gcp.gemini"
    instrumentation = adapter.INSTRUMENTATION
    modules = ("google.genai",)
    retries = False
    asks_when_read = True
    counts: ClassVar = {"input_tokens": 1000, "output_tokens": 300, "cached_tokens": 200}
    cut_counts: ClassVar = {"input_tokens": 1000, "output_tokens": 0, "cached_tokens": 200}
    usage_at = ("usageMetadata", "promptTokenCount")

    def client(self, url: str, *, is_async: bool) -> Any:
        made = genai.Client(api_key="key", http_options={"base_url": url})
        return made.aio if is_async else made

    async def closed(self, opened: Any) -> None:
        if hasattr(opened, "aclose") or hasattr(opened, "close"):
            await super().closed(opened)

    def ask(self, client: Any, text: str) -> Any:
        return client.models.generate_content(model=MODEL, contents=text)

    def stream(self, client: Any, text: str) -> Any:
        return client.models.generate_content_stream(model=MODEL, contents=text)

    def answer(self) -> Any:
        said = {"role": "model", "parts": [{"text": "answered"}]}
        return {
            "candidates": [{"content": said, "finishReason": "STOP", "index": 0}],
            "usageMetadata": USAGE,
            "modelVersion": MODEL,
        }

    def events(self) -> list[Any]:
        counts = ("promptTokenCount", "cachedContentTokenCount")
        begun = {**self.answer(), "usageMetadata": {name: USAGE[name] for name in counts}}
        return [begun, self.answer()]

    def said(self, answers: Any) -> str:
        kept = {"sdk_http_response": True}
        return str(
            [
                [item.model_dump_json(exclude=kept) for item in answer]
                if isinstance(answer, list)
                else answer.model_dump_json(exclude=kept)
                for answer in answers
            ]
        )

    def error(self) -> Any:
        return {"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}

    def test_a_chat_is_as_many_calls_as_it_has_turns(self, api: ModelApi) -> None:
        client = self.client(api.url, is_async=False)
        chat = client.chats.create(model=MODEL)
        chat.send_message("a")
        chat.send_message("b")
        self.check(self.counts, 2)

    def test_functions_that_the_library_calls_are_further_calls(self, api: ModelApi) -> None:
        def now() -> str:
            """Tell the time."""
            return "noon"

        call = {"functionCall": {"name": "now", "args": {}}}
        asks = {"candidates": [{"content": {"role": "model", "parts": [call]}, "index": 0}]}
        api.says(Answer({**self.answer(), **asks}), Answer(self.answer()))
        client = self.client(api.url, is_async=False)
        client.models.generate_content(model=MODEL, contents="a", config={"tools": [now]})
        self.check(self.counts, 2)

    def test_other_requests_are_no_calls_of_models(self, api: ModelApi) -> None:
        api.says(Answer({"totalTokens": 5}))
        client = self.client(api.url, is_async=False)
        client.models.count_tokens(model=MODEL, contents=SECRET)
        assert self.models() == []


def test_embeddings_are_counted_once() -> None:
    body = {"embeddings": [{"values": [0.5]}], "usageMetadata": {"promptTokenCount": 8}}
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        api.says(Answer(body))
        client = genai.Client(api_key="key", http_options={"base_url": api.url})
        client.models.embed_content(model="gemini-embedding-001", contents=SECRET)
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        (model,) = found["models"]
        assert (model["model"], model["calls"]) == ("gemini-embedding-001", 1)
        assert model["input_tokens"] == (0 if model["unreported_calls"] else 8)


def test_audio_is_told_apart_from_text() -> None:
    details = [SimpleNamespace(modality="AUDIO", token_count=40)]
    found = SimpleNamespace(
        prompt_token_count=100, candidates_token_count=5, prompt_tokens_details=details
    )
    usage = usage_of(SimpleNamespace(usage_metadata=found))
    assert usage is not None
    assert (usage.input, usage.output, usage.input_audio) == (100, 5, 40)


def test_embeddings_of_vertex_say_each_what_they_took() -> None:
    each = [SimpleNamespace(statistics=SimpleNamespace(token_count=count)) for count in (3.0, 4.0)]
    usage = embedding_usage_of(SimpleNamespace(embeddings=each))
    assert usage is not None
    assert usage.input == 7
    assert embedding_usage_of(SimpleNamespace(embeddings=None)) is None


@pytest.mark.parametrize("count", [math.nan, math.inf, -1.0, 0.5, "7", True, 10**400])
def test_an_embedding_whose_count_is_none_is_unusable(count: object) -> None:
    each = SimpleNamespace(statistics=SimpleNamespace(token_count=count))
    with pytest.raises(Unusable):
        embedding_usage_of(SimpleNamespace(embeddings=[each]))
