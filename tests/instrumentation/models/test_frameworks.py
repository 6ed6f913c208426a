"""Frameworks on a client that is measured: what a model used is counted once, for its tool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from servers.model_api import Answer, ModelApi

openai = pytest.importorskip("openai")

USAGE = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}


@pytest.fixture
def api() -> Iterator[ModelApi]:
    message = {"role": "assistant", "content": "answered"}
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": USAGE,
    }
    with ModelApi().serving() as api, metertap.instrument(json_endpoint=False):
        api.says(Answer(body))
        yield api


def counted() -> list[tuple[str, str, int, int]]:
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    return [
        (item["tool"], item["provider"], item["calls"], item["input_tokens"])
        for item in found["models"]
    ]


def test_pydantic_ai_counts_once(api: ModelApi, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pydantic_ai")
    models = pytest.importorskip("pydantic_ai.models.openai")
    monkeypatch.setattr("pydantic_ai.models.ALLOW_MODEL_REQUESTS", True)  # other tests forbid it
    from pydantic_ai import Agent
    from pydantic_ai.providers.openai import OpenAIProvider

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{api.url}/v1") as client:
            model = models.OpenAIChatModel(
                "gpt-4o-mini", provider=OpenAIProvider(openai_client=client)
            )
            with metertap.measure_tool("asks"):
                result = await Agent(model).run("hello")
            assert result.output == "answered"

    asyncio.run(main())
    assert counted() == [("asks", "openai", 1, 1200)]


def test_openai_agents_count_once(api: ModelApi) -> None:
    agents = pytest.importorskip("agents")
    agents.set_tracing_disabled(True)

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{api.url}/v1") as client:
            model = agents.OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=client)
            with metertap.measure_tool("asks"):
                result = await agents.Runner.run(agents.Agent("a", model=model), "hello")
            assert result.final_output == "answered"

    asyncio.run(main())
    assert counted() == [("asks", "openai", 1, 1200)]
