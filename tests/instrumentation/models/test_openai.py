"""openai's client: every API that reports usage, raw responses, and whoever speaks its protocol."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

import metertap
from kits.model_client import MODEL, SECRET, both
from kits.model_kit import ModelKit
from kits.openai_answers import COUNTS, ChatAnswers, ResponseAnswers
from metertap.costs.usage import Unusable, Usage
from metertap_instrumentation.models import openai as adapter
from metertap_instrumentation.models.openai import usage_of
from metertap_instrumentation.models.providers import by_host
from servers.model_api import Answer, ModelApi

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.library("openai")

MESSAGES = [{"role": "user", "content": SECRET}]


class OpenAIKit(ModelKit):
    provider = "openai"
    instrumentation = adapter.INSTRUMENTATION
    modules = ("openai",)
    counts = COUNTS
    cut_counts: ClassVar[dict[str, int]] = {}

    def client(self, url: str, *, is_async: bool) -> Any:
        made = openai.AsyncOpenAI if is_async else openai.OpenAI
        return made(api_key="key", base_url=f"{url}/v1")


class TestChat(ChatAnswers, OpenAIKit):
    usage_at = ("usage", "prompt_tokens")

    def ask(self, client: Any, text: str) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}]
        )

    def stream(self, client: Any, text: str) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], stream=True
        )

    @both
    def test_a_raw_response_is_counted_once_it_is_parsed(
        self, is_async: bool, api: ModelApi
    ) -> None:
        async def main() -> None:
            async with self.opened(api, is_async=is_async) as client:
                raw = client.chat.completions.with_raw_response
                response = raw.create(model=MODEL, messages=MESSAGES)
                response = await response if is_async else response
                parsed = response.parse()
                assert parsed is response.parse()
                assert parsed.usage.total_tokens == 1500

        asyncio.run(main())
        self.check(self.counts)

    def test_a_raw_stream_outlives_its_response(self, api: ModelApi) -> None:
        api.says(Answer(events=self.events()))
        raw = self.client(api.url, is_async=False).chat.completions.with_raw_response
        stream = raw.create(model=MODEL, messages=MESSAGES, stream=True).parse()
        assert len(list(stream)) == 3
        self.check(self.counts)

    def test_a_response_that_is_not_parsed_did_not_say_what_it_used(self, api: ModelApi) -> None:
        streaming = self.client(api.url, is_async=False).chat.completions.with_streaming_response
        with streaming.create(model=MODEL, messages=MESSAGES) as response:
            assert b"answered" in b"".join(response.iter_bytes())
        del response
        assert (self.only()["calls"], self.only()["unreported_calls"]) == (1, 1)

    def test_a_streaming_response_that_is_parsed_is_counted(self, api: ModelApi) -> None:
        streaming = self.client(api.url, is_async=False).chat.completions.with_streaming_response
        with streaming.create(model=MODEL, messages=MESSAGES) as response:
            assert response.parse().usage.total_tokens == 1500
        self.check(self.counts)

    def test_a_stream_without_usage_is_a_call_without_tokens(self, api: ModelApi) -> None:
        api.says(Answer(events=[*self.events()[:2], "[DONE]"]))
        self.run(api, is_async=False, streamed=True)
        assert (self.only()["calls"], self.only()["unreported_calls"]) == (1, 1)

    def test_a_stream_may_name_its_model_late_and_its_usage_often(self, api: ModelApi) -> None:
        unnamed, named, last, done = self.events()
        early = {"prompt_tokens": 1200, "completion_tokens": 1, "total_tokens": 1201}
        said = [{**unnamed, "model": ""}, unnamed, {**named, "usage": early}]
        api.says(Answer(events=[*said, unnamed, done]), Answer(events=[*said, last, unnamed, done]))
        for _ in range(2):
            self.run(api, is_async=False, streamed=True)
        (found,) = self.models()
        assert (found["model"], found["output_tokens"]) == (MODEL, 301)

    def test_a_subclass_of_the_client_is_a_client(self, api: ModelApi) -> None:
        class Own(openai.OpenAI):  # type: ignore[misc]
            def request(self, *args: Any, **kwargs: Any) -> Any:
                return super().request(*args, **kwargs)

        self.ask(Own(api_key="key", base_url=f"{api.url}/v1"), SECRET)
        self.check(self.counts)

    def test_azure_has_its_own_name_and_path(self, api: ModelApi) -> None:
        client = openai.AzureOpenAI(api_key="key", azure_endpoint=api.url, api_version="2024-06-01")
        self.ask(client, SECRET)
        (path, _), *_ = api.asked
        assert path.startswith(f"/openai/deployments/{MODEL}/chat/completions")
        (found,) = self.models()
        assert (found["provider"], found["input_tokens"]) == ("azure.ai.openai", 1200)

    def test_other_requests_are_no_calls_of_models(self, api: ModelApi) -> None:
        api.says(Answer({"object": "list", "data": []}))
        client = self.client(api.url, is_async=False)
        client.moderations.create(input=SECRET)
        assert self.models() == []

    def test_a_retry_by_the_program_is_told_apart(self, api: ModelApi) -> None:
        client = self.client(api.url, is_async=False)
        with metertap.measure_tool("asks"):
            api.says(Answer(self.error(), status=400), Answer(self.answer()))
            with pytest.raises(openai.BadRequestError):
                self.ask(client, SECRET)
            self.ask(client, SECRET)
        (found,) = self.models()
        assert (found["calls"], found["failed_calls"], found["retried_calls"]) == (2, 1, 1)


class TestResponses(ResponseAnswers, OpenAIKit):
    walks = False
    usage_at = ("usage", "input_tokens")

    @pytest.fixture(autouse=True)
    def has_responses(self) -> None:
        if not hasattr(openai.resources, "Responses") and not hasattr(openai.OpenAI, "responses"):
            pytest.skip("this version has no such API")

    def ask(self, client: Any, text: str) -> Any:
        return client.responses.create(model=MODEL, input=text)

    def stream(self, client: Any, text: str) -> Any:
        return client.responses.create(model=MODEL, input=text, stream=True)


def test_embeddings_have_no_output() -> None:
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
        usage = {"prompt_tokens": 8, "total_tokens": 8}
        body = {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [vector],
            "usage": usage,
        }
        api.says(Answer(body))
        client = openai.OpenAI(api_key="key", base_url=api.url)
        client.embeddings.create(model="text-embedding-3-small", input=SECRET)
        found: Any = metertap.get_all_metrics()["cost_metrics"]
        (model,) = found["models"]
        assert (model["input_tokens"], model["output_tokens"]) == (8, 0)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("us-central1-aiplatform.googleapis.com", None),
        ("api.deepseek.com", "deepseek"),
        ("openai.com.evil.example", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_its_host(host: str, provider: str | None) -> None:
    assert by_host(host) == provider


def test_an_output_that_the_total_tells_of_is_missed() -> None:
    said = {"prompt_tokens": 5, "total_tokens": 9}
    with pytest.raises(Unusable, match="completion_tokens is missing"):
        usage_of(said)
    assert usage_of({**said, "total_tokens": 5}) == Usage(5)
    assert usage_of({"prompt_tokens": 5}) == Usage(5)
