"""litellm: one call of its own, whatever client it asks by, with the provider that it names."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, ClassVar

import pytest

import metertap
from kits.model_client import MODEL, SECRET, both
from kits.model_kit import ModelKit
from kits.openai_answers import COUNTS, ChatAnswers, ResponseAnswers
from metertap_instrumentation.models import litellm as adapter
from servers.model_api import Answer, ModelApi
from support.waiting import wait_for

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks for prices over the network
litellm = pytest.importorskip("litellm")

pytestmark = pytest.mark.library("litellm")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let litellm print no advice, and keep no answers from one test to the next."""
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    monkeypatch.setattr(litellm, "cache", None)
    # Early versions make a stream of a whole answer where they do not know the model.
    known = {"litellm_provider": "openai", "mode": "chat", "supports_native_streaming": True}
    for name in (MODEL, f"openai/{MODEL}"):
        monkeypatch.setitem(litellm.model_cost, name, known)


class LiteLLMKit(ModelKit):
    """The same calls go by litellm's functions; a client is where these are to ask."""

    provider = "openai"
    instrumentation = adapter.INSTRUMENTATION
    modules = ("litellm",)
    counts = COUNTS
    cut_counts: ClassVar[dict[str, int]] = {}
    can_close = hasattr(litellm.CustomStreamWrapper, "close")
    retries = False

    def client(self, url: str, *, is_async: bool) -> Any:
        name = self.function
        asked: Any = getattr(litellm, f"a{name}" if is_async else name)
        return partial(asked, model=f"openai/{MODEL}", api_base=f"{url}/v1", api_key="key")

    function: str

    @contextlib.asynccontextmanager
    async def opened(self, api: ModelApi, *, is_async: bool) -> AsyncIterator[Any]:
        yield self.client(api.url, is_async=is_async)

    async def closed(self, opened: Any) -> None:
        if hasattr(opened, "aclose") or hasattr(opened, "close"):
            await super().closed(opened)

    def said(self, answers: Any) -> str:
        kept = {"id", "created", "created_at"}
        return str(
            [
                [item.model_dump_json(exclude=kept) for item in answer]
                if isinstance(answer, list)
                else answer.model_dump_json(exclude=kept)
                for answer in answers
            ]
        )

    @both
    def test_a_stream_that_is_left_half_read_is_one_call(  # type: ignore[override]
        self, is_async: bool, api: ModelApi
    ) -> None:
        """Where it cannot be closed, it is over when litellm has let go of it, with the next."""

        async def half() -> None:
            stream = self.stream(self.client(api.url, is_async=is_async), SECRET)
            stream = await stream if is_async else stream
            if is_async:
                await stream.__anext__()
            else:
                next(iter(stream))
            await self.closed(stream)

        api.says(Answer(events=self.events()))
        asyncio.run(half())
        if not self.can_close:
            self.run(api, is_async=is_async, streamed=True)

        def counted() -> bool:
            gc.collect()
            return [item["calls"] for item in self.models()] == [1 if self.can_close else 2]

        wait_for(counted)
        assert self.only()["failed_calls"] == 0


class TestCompletion(ChatAnswers, LiteLLMKit):
    function = "completion"
    estimates = True
    usage_at = ("usage", "prompt_tokens")

    def ask(self, client: Any, text: str) -> Any:
        return client(messages=[{"role": "user", "content": text}])

    def stream(self, client: Any, text: str) -> Any:
        options = {"include_usage": True}
        return client(
            messages=[{"role": "user", "content": text}], stream=True, stream_options=options
        )

    @both
    def test_an_answer_from_its_cache_is_no_call_of_a_model(
        self, is_async: bool, api: ModelApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(litellm, "cache", litellm.Cache(type="local"))
        self.run(api, is_async=is_async)
        self.run(api, is_async=is_async, times=2)
        assert len(api.asked) == 1
        self.check(self.counts)

    @both
    def test_retries_and_fallbacks_are_part_of_the_call(
        self, is_async: bool, api: ModelApi
    ) -> None:
        api.says(Answer(self.error(), status=500), Answer(self.answer()))
        client = partial(self.client(api.url, is_async=is_async), num_retries=1)

        async def main() -> None:
            found = self.ask(client, SECRET)
            if is_async:
                await found

        asyncio.run(main())
        assert len(api.asked) == 2
        self.check(self.counts)

    def test_a_router_counts_each_of_its_attempts(self, api: ModelApi) -> None:
        where = {"api_base": f"{api.url}/v1", "api_key": "key", "model": f"openai/{MODEL}"}
        router = litellm.Router([{"model_name": "any", "litellm_params": where}], num_retries=0)
        router.completion("any", [{"role": "user", "content": SECRET}])
        self.check(self.counts)

    def test_what_a_callback_of_the_program_asks_is_a_call_of_its_own(
        self, api: ModelApi, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = self.client(api.url, is_async=True)

        async def main() -> None:
            judges: list[int] = []
            judged = asyncio.Event()

            async def judge(*_call: Any) -> None:
                judges.append(1)
                if len(judges) == 1:  # it is called for what it asks itself, too
                    await self.ask(client, SECRET)
                    judged.set()

            monkeypatch.setattr(litellm, "_async_success_callback", [judge])
            await self.ask(client, SECRET)
            await asyncio.wait_for(judged.wait(), 60)  # by a task that the call began

        asyncio.run(main())
        assert self.only()["calls"] == len(api.asked) == 2

    def test_another_provider_has_the_name_of_the_convention(self, api: ModelApi) -> None:
        usage = {
            "input_tokens": 700,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 100,
            "output_tokens": 300,
        }
        body = {
            "id": "1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": "answered"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
        api.says(Answer(body))
        with metertap.measure_tool("asks"):
            litellm.completion(
                model=f"anthropic/{MODEL}",
                messages=[{"role": "user", "content": SECRET}],
                api_base=api.url,
                api_key="key",
            )
        (found,) = self.models()
        assert (found["tool"], found["provider"], found["calls"]) == ("asks", "anthropic", 1)
        counts = ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens")
        assert [found[name] for name in counts] == [1000, 200, 100, 300]


class TestResponses(ResponseAnswers, LiteLLMKit):
    walks = False
    function = "responses"
    usage_at = ("usage", "input_tokens")

    def ask(self, client: Any, text: str) -> Any:
        return client(input=text)

    def stream(self, client: Any, text: str) -> Any:
        return client(input=text, stream=True)

    def answer(self) -> Any:
        text = {"type": "output_text", "text": "answered", "annotations": []}
        said = {
            "id": "2",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
        return {
            **super().answer(),
            "output": [said],
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
            "max_output_tokens": None,
            "previous_response_id": None,
            "reasoning": None,
            "text": {},
            "truncation": None,
            "user": None,
        }


@pytest.fixture
def embeddings() -> Iterator[ModelApi]:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5]}
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    body = {"object": "list", "model": "text-embedding-3-small", "data": [vector], "usage": usage}
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        api.says(Answer(body))
        yield api


@both
def test_embeddings_have_no_output(is_async: bool, embeddings: ModelApi) -> None:
    where = {"api_base": f"{embeddings.url}/v1", "api_key": "key"}
    # Of a model without a prefix litellm knows the provider.
    if is_async:
        asyncio.run(litellm.aembedding("text-embedding-3-small", input=[SECRET], **where))
    else:
        litellm.embedding("text-embedding-3-small", input=[SECRET], **where)
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    (model,) = found["models"]
    assert (model["provider"], model["calls"]) == ("openai", 1)
    assert (model["input_tokens"], model["output_tokens"]) == (8, 0)


def test_a_provider_that_a_client_made_up_is_cut_off() -> None:
    with metertap.instrument(json_endpoint=False), pytest.raises(litellm.BadRequestError):
        litellm.completion(f"{'evil' * 100}/gpt", [{"role": "user", "content": SECRET}])
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    (model,) = found["models"]
    assert (model["provider"], model["model"]) == (("evil" * 50), "gpt")
