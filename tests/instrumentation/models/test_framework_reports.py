"""What LangChain and pydantic-ai report: counted once, and not where a client has counted."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import metertap
from servers.model_api import Answer, ModelApi
from support import breaking
from support.reported import BY_CLIENT, EVENTS, MODEL, ODD, SAID, asked, counted
from support.warned import warnings_of

pytestmark = [pytest.mark.library("frameworks that report usage"), pytest.mark.usefixtures("api")]


class TestLangChain:
    @pytest.fixture(autouse=True)
    def models(self, api: ModelApi) -> SimpleNamespace:
        pytest.importorskip("langchain_core")
        from langchain_core.language_models.chat_models import BaseChatModel
        from langchain_core.messages import AIMessage, AIMessageChunk
        from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

        usage: dict[str, Any] = {
            "input_tokens": 700,
            "output_tokens": 60,
            "total_tokens": 760,
            "input_token_details": {"cache_read": 100},
        }
        named = {"model_name": "claude-x", "model_provider": "anthropic"}

        def answered() -> Any:
            message = AIMessage("answered", response_metadata=named)
            message.usage_metadata = usage  # as it is: nobody checks it here
            return ChatResult(generations=[ChatGeneration(message=message)])

        class Whole(BaseChatModel):
            """A model that speaks to its provider by itself."""

            def _generate(self, *_: Any, **__: Any) -> Any:
                return answered()

            @property
            def _llm_type(self) -> str:
                return "own"

        class Streams(Whole):
            def _stream(self, *_: Any, **__: Any) -> Any:
                zero = {**usage, "output_tokens": 0, "total_tokens": 700}
                parts = [
                    AIMessageChunk.model_construct(content="answ", usage_metadata=zero),
                    AIMessageChunk(
                        "ered",
                        usage_metadata={"input_tokens": 0, "output_tokens": 60, "total_tokens": 60},
                        response_metadata=named,
                    ),
                ]
                for message in parts:
                    yield ChatGenerationChunk(message=message)

        class ByClient(Whole):
            def _generate(self, *_: Any, **__: Any) -> Any:
                import openai

                with openai.OpenAI(api_key="key", base_url=f"{api.url}/v1") as client:
                    client.chat.completions.create(
                        model=MODEL, messages=[{"role": "user", "content": "hello"}]
                    )
                return answered()

        class Silent(Whole):
            def _generate(self, *_: Any, **__: Any) -> Any:
                message = AIMessage("answered")
                return ChatResult(generations=[ChatGeneration(message=message)])

        class Raises(Whole):
            def _generate(self, *_: Any, **__: Any) -> Any:
                raise RuntimeError("no")

        api.says(Answer(SAID))
        self.usage = usage
        self.found = SimpleNamespace(
            whole=Whole, streams=Streams, by_client=ByClient, silent=Silent, raises=Raises
        )
        return self.found

    @staticmethod
    async def invoke(model: Any) -> None:
        assert model.invoke("hello").content == "answered"

    @staticmethod
    async def ainvoke(model: Any) -> None:
        assert (await model.ainvoke("hello")).content == "answered"

    @staticmethod
    async def stream(model: Any) -> None:
        assert "".join(str(item.content) for item in model.stream("hello")) == "answered"

    @staticmethod
    async def astream(model: Any) -> None:
        said = [str(item.content) async for item in model.astream("hello")]
        assert "".join(said) == "answered"

    @staticmethod
    async def batch(model: Any) -> None:
        assert len(model.batch(["hello"])) == 1

    WAYS: ClassVar = ("invoke", "ainvoke", "stream", "astream", "batch")

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("kind", ["whole", "streams"])
    def test_a_model_that_asks_by_itself_counts(self, kind: str, way: str) -> None:
        asked(getattr(self, way), getattr(self.found, kind)())
        assert counted() == [("asks", "anthropic", "claude-x", 1, 0, 700, 60)]

    @pytest.mark.parametrize("way", WAYS)
    def test_one_that_asks_by_a_client_counts_there(self, way: str) -> None:
        pytest.importorskip("openai")
        asked(getattr(self, way), self.found.by_client())
        assert counted() == BY_CLIENT

    def test_an_answer_from_its_cache_is_no_call(self) -> None:
        from langchain_core.caches import InMemoryCache

        model = self.found.whole(cache=InMemoryCache())
        asked(self.invoke, model)
        asked(self.ainvoke, model)
        assert counted() == [("asks", "anthropic", "claude-x", 1, 0, 700, 60)]

    def test_one_that_reports_nothing_is_no_call_of_a_model(self) -> None:
        asked(self.invoke, self.found.silent())
        assert counted() == []

    def test_an_error_is_the_models_own(self) -> None:
        with pytest.raises(RuntimeError, match=r"^no$"):
            asked(self.invoke, self.found.raises())
        assert counted() == []

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self) -> None:
        model = self.found.streams()

        def use() -> list[object]:
            asked(self.invoke, model)
            asked(self.astream, model)
            return [item.content for item in model.stream("hello")]

        assert breaking.walk(use, count=lambda: None) == []
        metertap.reset()
        with metertap.instrument(json_endpoint=False):
            asked(self.stream, model)
            assert counted() == [("asks", "anthropic", "claude-x", 1, 0, 700, 60)]

    @ODD
    def test_a_usage_that_cannot_be_is_one_warning(
        self, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = self.found.streams(tags=[])
        self.usage["input_tokens"] = value
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                list(model._stream([]))
                model._generate([])
        assert counted() == [("none", "anthropic", "claude-x", 4, 0, 0, 0)]
        assert len(warnings_of(caplog)) == 1

    def test_a_stream_that_is_left_counts_what_was_reported(self) -> None:
        for _ in self.found.streams().stream("hello"):
            break
        assert counted() == [("none", "streams", "unknown", 1, 0, 700, 0)]


class TestPydanticAI:
    @pytest.fixture(autouse=True)
    def allowed(self, api: ModelApi, monkeypatch: pytest.MonkeyPatch) -> None:
        pytest.importorskip("pydantic_ai")
        monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)  # others forbid it

    @staticmethod
    async def run(model: Any) -> None:
        from pydantic_ai import Agent

        assert (await Agent(model).run("hello")).output

    @staticmethod
    async def run_stream(model: Any) -> None:
        from pydantic_ai import Agent

        async with Agent(model).run_stream("hello") as result:
            assert [item async for item in result.stream_text()]

    @staticmethod
    async def run_sync(model: Any) -> None:
        from pydantic_ai import Agent

        def work() -> None:
            assert Agent(model).run_sync("hello").output

        await asyncio.to_thread(work)

    WAYS: ClassVar = ("run", "run_stream", "run_sync")

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
    def test_a_model_that_asks_by_itself_counts(self, wrapped: bool, way: str) -> None:
        from pydantic_ai.models.test import TestModel
        from pydantic_ai.models.wrapper import WrapperModel

        model: Any = TestModel()
        asked(getattr(self, way), WrapperModel(model) if wrapped else model)
        ((tool, provider, name, calls, failed, taken, given),) = counted()
        assert (tool, provider, name, calls, failed) == ("asks", "test", "test", 1, 0)
        assert taken > 0 < given

    @pytest.mark.parametrize("way", WAYS)
    def test_one_that_asks_by_a_client_counts_there(self, way: str, api: ModelApi) -> None:
        openai = pytest.importorskip("openai")
        models = pytest.importorskip("pydantic_ai.models.openai")
        from pydantic_ai.providers.openai import OpenAIProvider

        api.says(Answer(events=EVENTS) if way == "run_stream" else Answer(SAID))
        client = openai.AsyncOpenAI(api_key="key", base_url=f"{api.url}/v1")
        asked(
            getattr(self, way),
            models.OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client)),
        )
        assert counted() == BY_CLIENT

    @pytest.mark.faults
    def test_a_fault_anywhere_in_ours_reaches_nobody(self) -> None:
        from pydantic_ai.models.test import TestModel

        def use() -> str:
            asked(self.run, TestModel())
            asked(self.run_stream, TestModel())
            return "done"

        assert breaking.walk(use, count=lambda: None) == []

    @ODD
    def test_a_usage_that_cannot_be_is_one_warning(
        self, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        from pydantic_ai.messages import ModelResponse
        from pydantic_ai.models import Model, ModelRequestParameters
        from pydantic_ai.usage import RequestUsage

        class Odd(Model):
            model_name = "m"
            system = "own"

            async def request(self, *_: Any) -> Any:
                usage = RequestUsage(output_tokens=7)
                usage.input_tokens = value
                return ModelResponse(parts=[], usage=usage)

        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                asyncio.run(Odd().request([], None, ModelRequestParameters()))
        assert counted() == [("none", "own", "m", 2, 0, 0, 0)]
        assert len(warnings_of(caplog)) == 1
