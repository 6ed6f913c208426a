"""Runs of the OpenAI Agents SDK whose model is a script: the boundary that the SDK offers."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

from agents import (
    Agent,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    RunResult,
    Tool,
    Usage,
    set_tracing_disabled,
)
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

set_tracing_disabled(True)  # or the SDK sends traces to its maker

_numbers = itertools.count(1)


def call(name: str, arguments: str | None = None, **fields: Any) -> ResponseFunctionToolCall:
    """The model asks for a function tool."""
    number = next(_numbers)
    return ResponseFunctionToolCall(
        id=f"item{number}",
        call_id=f"call{number}",
        type="function_call",
        name=name,
        arguments=json.dumps(fields) if arguments is None else arguments,
    )


def text(said: str) -> ResponseOutputMessage:
    """The model says something."""
    content = ResponseOutputText(text=said, type="output_text", annotations=[])
    return ResponseOutputMessage(
        id="message", type="message", role="assistant", status="completed", content=[content]
    )


class Scripted(Model):
    """Each turn is what the model asks for then; after the last it is done."""

    def __init__(self, *turns: list[Any]) -> None:
        self._turns = list(turns)

    async def get_response(
        self, system_instructions: Any, input: Any, *_args: Any, **_kwargs: Any
    ) -> ModelResponse:
        output = self._turns.pop(0) if self._turns else [text("done")]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    async def stream_response(
        self, system_instructions: Any, input: Any, *_args: Any, **_kwargs: Any
    ) -> AsyncIterator[Any]:
        answer = await self.get_response(system_instructions, input)
        response = Response(
            id="response",
            created_at=0,
            model="scripted",
            object="response",
            output=answer.output,
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=True,
        )
        yield ResponseCompletedEvent(
            type="response.completed", response=response, sequence_number=0
        )


def agent(tools: list[Tool], *turns: list[Any], name: str = "agent") -> Agent[Any]:
    """An agent that asks for what is in `turns`."""
    return Agent(name=name, model=Scripted(*turns), tools=tools)


async def run(tools: list[Tool], *turns: list[Any], **options: Any) -> RunResult:
    """One run, to its end."""
    config = RunConfig(tracing_disabled=True, **options)
    return await Runner.run(agent(tools, *turns), "begin", run_config=config)


def outputs(result: Any) -> list[Any]:
    """What the tools of a run gave the model."""
    return [item.output for item in result.new_items if item.type == "tool_call_output_item"]
