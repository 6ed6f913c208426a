"""A model that says what it used, asked in a tool, for tests of what frameworks report."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import metertap

MODEL = "gpt-4o-mini"
CLIENTS = {"prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500}
SAID = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "answered"},
        }
    ],
    "usage": CLIENTS,
}
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
EVENTS = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": "answered"}, "finish_reason": "stop"}]},
    {**CHUNK, "choices": [], "usage": CLIENTS},
    "[DONE]",
]
ODD = pytest.mark.parametrize("value", ["12", -1, 10**13, 1.5])
Ask = Callable[[Any], Awaitable[object]]


def counted() -> list[tuple[Any, ...]]:
    found: Any = metertap.get_all_metrics()["cost_metrics"]
    names = ("tool", "provider", "model", "calls", "failed_calls", "input_tokens", "output_tokens")
    return [tuple(item[name] for name in names) for item in (found or {"models": []})["models"]]


def asked(ask: Ask, model: Any) -> None:
    """Ask the model in a tool."""

    async def main() -> None:
        with metertap.measure_tool("asks"):
            await ask(model)

    asyncio.run(main())


BY_CLIENT = [("asks", "openai", MODEL, 1, 0, 1200, 300)]
