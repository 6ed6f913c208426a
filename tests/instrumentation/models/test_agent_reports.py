"""What the agents of OpenAI and of Claude report: counted once, and not where a client has."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from servers.model_api import Answer, ModelApi
from support.reported import BY_CLIENT, EVENTS, MODEL, ODD, SAID, asked, counted
from support.warned import warnings_of

pytestmark = [pytest.mark.library("frameworks that report usage"), pytest.mark.usefixtures("api")]


class TestOpenAIAgents:
    @pytest.fixture(autouse=True)
    def quiet(self) -> None:
        agents = pytest.importorskip("agents")
        agents.set_tracing_disabled(True)

    taken: Any = 700

    def own_model(self) -> Any:
        import agents
        from agents.models.interface import Model
        from openai.types.responses import (
            Response,
            ResponseCompletedEvent,
            ResponseOutputMessage,
            ResponseOutputText,
            ResponseUsage,
        )

        text = ResponseOutputText(text="answered", type="output_text", annotations=[])
        message = ResponseOutputMessage(
            id="1", type="message", role="assistant", status="completed", content=[text]
        )

        test = self

        class Own(Model):
            model = "mistral/large"

            async def get_response(self, *_: Any, **__: Any) -> Any:
                usage = agents.Usage(requests=1, output_tokens=60)
                usage.input_tokens = test.taken
                return agents.ModelResponse(output=[message], usage=usage, response_id=None)

            async def stream_response(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
                usage = ResponseUsage.model_construct(
                    input_tokens=test.taken, output_tokens=60, total_tokens=760
                )
                response = Response.model_construct(
                    id="1", model="mistral/large", output=[message], usage=usage
                )
                yield ResponseCompletedEvent.model_construct(
                    type="response.completed", response=response, sequence_number=0
                )

        return Own()

    @staticmethod
    async def run(model: Any) -> None:
        import agents

        result = await agents.Runner.run(agents.Agent("a", model=model), "hello")
        assert result.final_output == "answered"

    @staticmethod
    async def run_streamed(model: Any) -> None:
        import agents

        result = agents.Runner.run_streamed(agents.Agent("a", model=model), "hello")
        assert [item async for item in result.stream_events()]
        assert result.final_output == "answered"

    @staticmethod
    async def run_sync(model: Any) -> None:
        import agents

        def work() -> None:
            asyncio.set_event_loop(asyncio.new_event_loop())
            result = agents.Runner.run_sync(agents.Agent("a", model=model), "hello")
            assert result.final_output == "answered"
            asyncio.get_event_loop().close()

        await asyncio.to_thread(work)

    WAYS: ClassVar = ("run", "run_streamed", "run_sync")

    @pytest.mark.parametrize("way", WAYS)
    def test_a_model_that_asks_by_itself_counts(self, way: str) -> None:
        asked(getattr(self, way), self.own_model())
        assert counted() == [("asks", "mistral_ai", "large", 1, 0, 700, 60)]

    @pytest.mark.parametrize("way", WAYS)
    def test_one_that_asks_by_a_client_counts_there(self, way: str, api: ModelApi) -> None:
        import agents
        import openai

        api.says(Answer(events=EVENTS) if way == "run_streamed" else Answer(SAID))
        client = openai.AsyncOpenAI(api_key="key", base_url=f"{api.url}/v1")
        asked(getattr(self, way), agents.OpenAIChatCompletionsModel(MODEL, client))
        found = counted()
        # Streamed, the SDK asks for usage only where a setting of its own says so.
        assert [item[:5] for item in found] == [BY_CLIENT[0][:5]]
        assert found == BY_CLIENT or way == "run_streamed"

    @ODD
    def test_a_usage_that_cannot_be_is_one_warning(
        self, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = self.own_model()
        self.taken = value
        with caplog.at_level(logging.WARNING):
            asyncio.run(model.get_response())

            async def read() -> None:
                assert [event async for event in model.stream_response()]

            asyncio.run(read())
        assert counted() == [("none", "mistral_ai", "large", 2, 0, 0, 0)]
        assert len(warnings_of(caplog)) == 1


class TestClaude:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        pytest.importorskip("claude_agent_sdk")

    @staticmethod
    def transport(*turns: list[dict[str, Any]]) -> Any:
        """What Claude's program would say: a list of messages for each prompt."""
        from claude_agent_sdk import Transport

        waiting = list(turns)

        class CommandLine(Transport):
            def __init__(self) -> None:
                self.says: asyncio.Queue[Any] = asyncio.Queue()

            async def connect(self) -> None: ...
            async def close(self) -> None: ...
            async def end_input(self) -> None: ...

            def is_ready(self) -> bool:
                return True

            async def read_messages(self) -> AsyncIterator[Any]:  # type: ignore[override]
                while (message := await self.says.get()) is not None:
                    yield message

            async def write(self, data: str) -> None:
                message = json.loads(data)
                if message["type"] == "control_request":
                    done = {"subtype": "success", "request_id": message["request_id"]}
                    self.says.put_nowait(
                        {"type": "control_response", "response": {**done, "response": {}}}
                    )
                elif message["type"] == "user":
                    for said in waiting.pop(0):
                        self.says.put_nowait(said)
                    if not waiting:
                        self.says.put_nowait(None)

        return CommandLine()

    @staticmethod
    def result(**more: Any) -> dict[str, Any]:
        return {
            "type": "result",
            "subtype": "success",
            "duration_ms": 10,
            "duration_api_ms": 1500,
            "is_error": False,
            "num_turns": 1,
            "session_id": "1",
            "total_cost_usd": 0.5,
            "usage": {"input_tokens": 50, "cache_read_input_tokens": 20, "output_tokens": 7},
            **more,
        }

    ASSISTANT: ClassVar[dict[str, Any]] = {
        "type": "assistant",
        "message": {"model": "claude-x", "content": [{"type": "text", "text": "answered"}]},
    }

    async def ask(self, transport: Any) -> None:
        from claude_agent_sdk import query

        async def prompt(times: int) -> AsyncIterator[dict[str, Any]]:
            for _ in range(times):
                yield {"type": "user", "message": {"role": "user", "content": "hello"}}

        messages = query(prompt=prompt(self.turns), transport=transport)
        assert [item async for item in messages]

    turns = 1

    def test_an_early_result_is_a_call_of_the_model_that_answered(self) -> None:
        asked(self.ask, self.transport([self.ASSISTANT, self.result()]))
        assert counted() == [("asks", "anthropic", "claude-x", 1, 0, 70, 7)]

    def test_later_results_say_what_the_conversation_used_by_model(self) -> None:
        self.turns = 2

        def said(taken: int, given: int) -> dict[str, Any]:
            used = {"inputTokens": taken, "outputTokens": given, "cacheReadInputTokens": 5}
            return self.result(modelUsage={"claude-a": used, "claude-b": {**used, "x": 1}})

        turns = ([self.ASSISTANT, said(100, 10)], [self.ASSISTANT, said(150, 12)])
        asked(self.ask, self.transport(*turns))
        assert counted() == [
            ("asks", "anthropic", name, 2, 0, 155, 12) for name in ("claude-a", "claude-b")
        ]

    @staticmethod
    def sums(turn: tuple[int, int], whole: tuple[int, int]) -> dict[str, Any]:
        """A result as the command line 2.1 writes it: of the turn, and of all turns so far."""
        said = {"inputTokens": whole[0], "outputTokens": whole[1], "provider": "firstParty"}
        return TestClaude.result(
            usage={"input_tokens": turn[0], "output_tokens": turn[1]},
            modelUsage={"claude-x": {**said, "canonicalModel": "claude-x"}},
        )

    def test_after_a_reset_the_sums_begin_at_zero(self) -> None:
        """`/clear`: the turn after it used more than all turns before it together."""
        import claude_agent_sdk

        self.turns = 4
        cleared = [self.result(usage={}, modelUsage={})]
        if hasattr(claude_agent_sdk, "ConversationResetMessage"):
            reset = {"type": "conversation_reset", "new_conversation_id": "2"}
            cleared = [{**reset, "uuid": "3", "session_id": "1"}]
        turns = (
            [self.ASSISTANT, self.sums((100, 10), (100, 10))],
            [self.ASSISTANT, self.sums((200, 20), (300, 30))],
            cleared,
            [self.ASSISTANT, self.sums((900, 90), (900, 90))],
        )
        asked(self.ask, self.transport(*turns))
        assert counted() == [("asks", "anthropic", "claude-x", 3, 0, 1200, 120)]

    @pytest.mark.parametrize(
        "options",
        [{"resume": "1"}, {"continue_conversation": True}, {"extra_args": {"resume": "1"}}],
        ids=lambda options: next(iter(options)),
    )
    def test_a_conversation_that_is_resumed_goes_on_with_its_sums(
        self, options: dict[str, Any]
    ) -> None:
        from claude_agent_sdk import ClaudeAgentOptions

        self.turns = 2
        turns = (
            [self.ASSISTANT, self.sums((300, 30), (600, 60))],
            [self.ASSISTANT, self.sums((400, 40), (1000, 100))],
        )
        transport = self.transport(*turns)
        transport._options = ClaudeAgentOptions(**options)
        asked(self.ask, transport)
        assert counted() == [("asks", "anthropic", "claude-x", 2, 0, 700, 70)]

    def test_turns_while_nothing_is_measured_are_not_counted_later(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from metertap_instrumentation.models import claude_agent_sdk as adapter

        self.turns = 2
        is_measured = iter((False, True))
        monkeypatch.setattr(adapter, "is_enabled", lambda: next(is_measured))
        turns = (
            [self.ASSISTANT, self.sums((100, 10), (100, 10))],
            [self.ASSISTANT, self.sums((200, 20), (300, 30))],
        )
        asked(self.ask, self.transport(*turns))
        assert counted() == [("asks", "anthropic", "claude-x", 1, 0, 200, 20)]

    @ODD
    def test_a_usage_that_cannot_be_is_one_warning(
        self, value: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The next turn counts what this one has used as well: its sums are of both."""
        odd = self.sums((100, 10), (100, 10))
        odd["modelUsage"]["claude-x"]["inputTokens"] = value
        early = self.result(usage={"input_tokens": value, "output_tokens": 1})
        self.turns = 3
        turns = [[self.ASSISTANT, odd], [self.sums((200, 20), (300, 30))], [early]]
        with caplog.at_level(logging.WARNING):
            asked(self.ask, self.transport(*turns))
        assert counted() == [("asks", "anthropic", "claude-x", 3, 0, 300, 30)]
        assert len(warnings_of(caplog)) == 1
