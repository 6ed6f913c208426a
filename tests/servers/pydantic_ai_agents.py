"""pydantic-ai agents whose model says what the test told it to; every way to run them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib import metadata
from typing import Any

from pydantic_ai import Agent, models
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel

from metertap_instrumentation.libraries import parse_version

models.ALLOW_MODEL_REQUESTS = False

VERSION = parse_version(metadata.version("pydantic-ai-slim"))
Turn = Sequence[tuple[str, Any]]
"""The calls that the model makes in one response: names, and arguments."""


def calling(*turns: Turn, say: str = "done") -> FunctionModel:
    """A model that makes the calls of each turn, and then says `say`."""
    left = list(turns)

    def respond(_messages: Any, _info: Any) -> ModelResponse:
        if not left:
            return ModelResponse(parts=[TextPart(say)])
        return ModelResponse(
            parts=[ToolCallPart(name, arguments) for name, arguments in left.pop(0)]
        )

    async def stream(_messages: Any, _info: Any) -> AsyncIterator[Any]:
        if not left:
            yield say
            return
        for index, (name, arguments) in enumerate(left.pop(0)):
            call = DeltaToolCall(name, json.dumps(arguments), tool_call_id=f"{len(left)}-{index}")
            yield {index: call}

    return FunctionModel(respond, stream_function=stream)


def agent(*turns: Turn, tools: Sequence[Any] = (), **options: Any) -> Agent[Any, Any]:
    """An agent with `tools` and a model that makes these calls."""
    return Agent(calling(*turns), tools=tools, **options)


def once(*names: str, **arguments: Any) -> list[Turn]:
    """Turns of one call each."""
    return [[(name, arguments)] for name in names]


async def _streamed(made: Agent[Any, Any]) -> Any:
    async with made.run_stream("go") as result:
        return await result.get_output()


async def _stepped(made: Agent[Any, Any]) -> Any:
    async with made.iter("go") as run:
        async for _node in run:
            pass
    assert run.result is not None
    return run.result.output


async def _awaited(made: Agent[Any, Any]) -> Any:
    return (await made.run("go")).output


def in_a_loop(run: Callable[[Agent[Any, Any]], Awaitable[Any]]) -> Callable[[Agent[Any, Any]], Any]:
    async def whole(made: Agent[Any, Any]) -> Any:
        return await run(made)

    return lambda made: asyncio.run(whole(made))


WAYS: dict[str, Callable[[Agent[Any, Any]], Any]] = {
    "run": in_a_loop(_awaited),
    "run_sync": lambda made: made.run_sync("go").output,
    "run_stream": in_a_loop(_streamed),
    "iter": in_a_loop(_stepped),
}


def counted(document: dict[str, Any], source: str = "pydantic-ai") -> dict[str, dict[str, int]]:
    """Calls by tool and outcome, without the zeros."""
    return {
        name: {outcome: count for outcome, count in tool["outcomes"].items() if count}
        for name, tool in document["tool_metrics"].items()
        if tool["total_calls"] and tool["source"] == source
    }


def error_types(document: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Error types by tool, where there are any."""
    tools = document["tool_metrics"].items()
    return {name: tool["error_types"] for name, tool in tools if tool["error_types"]}
