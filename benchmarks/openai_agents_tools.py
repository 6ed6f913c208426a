"""One call of a function tool of the OpenAI Agents SDK: its whole time, and what measuring adds.

Tools are called by the runner, so the call is one of many in a turn of an agent whose model is a
script. It varies by more than what is asked here: the function that is patched is replaced by one
that returns at once, and measured patched and bare; the call is timed beside these, with nothing in
its way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    Usage,
    function_tool,
)
from agents.run_internal import tool_execution
from agents.tool_context import ToolContext
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
)

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result
from benchmarks.process import measured

_INVOKE = "_invoke_function_tool_with_metadata"
_ARGUMENTS = '{"number": 1}'


@function_tool
async def work(number: int) -> int:
    """Return it."""
    return number


async def _pass_on(_context: Any, arguments: str) -> str:
    return arguments


cheapest = FunctionTool("cheapest", "", {"type": "object", "properties": {}}, _pass_on, False)
"""The least that is a tool: its arguments are passed on unseen."""


class _Asking(Model):
    """Asks for a tool many times at once, then is done."""

    def __init__(self, name: str, times: int) -> None:
        self._name = name
        self._times = times

    async def get_response(self, *_args: Any, **_kwargs: Any) -> ModelResponse:
        times, self._times = self._times, 0
        output: list[Any] = [
            ResponseFunctionToolCall(
                type="function_call", call_id=str(number), name=self._name, arguments=_ARGUMENTS
            )
            for number in range(times)
        ]
        done = ResponseOutputText(text="done", type="output_text", annotations=[])
        output = output or [
            ResponseOutputMessage(
                id="1", type="message", role="assistant", status="completed", content=[done]
            )
        ]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    async def stream_response(self, *_args: Any, **_kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError
        yield


def _in_a_run(tool: FunctionTool) -> Work:
    """CPU seconds of many calls in one turn; less those of a run without any."""

    async def run(times: int) -> float:
        agent = Agent[Any](name="agent", model=_Asking(tool.name, times), tools=[tool])
        started = time.process_time()
        await Runner.run(agent, "begin", run_config=RunConfig(tracing_disabled=True))
        return time.process_time() - started

    return lambda times: asyncio.run(run(times)) - asyncio.run(run(0))


async def _invoke(*, function_tool: Any, context: Any, arguments: str) -> Any:
    return None


async def _once() -> None:
    context: ToolContext[Any] | None = None  # is passed on, and looked at by nobody here
    await getattr(tool_execution, _INVOKE)(
        function_tool=work, context=context, arguments=_ARGUMENTS
    )


def _replaced(function: Any) -> Work:
    """Calls of the patched function while `function` stands in its place."""
    calls = awaited(_once)

    def replaced(times: int) -> float:
        original = getattr(tool_execution, _INVOKE)
        setattr(tool_execution, _INVOKE, function)
        try:
            return calls(times)
        finally:
            setattr(tool_execution, _INVOKE, original)

    return replaced


def calls(rounds: int) -> Iterator[Result]:
    """A tool made by `@function_tool`, and the cheapest."""
    sdk = baselines.Sdk()
    works: dict[str, Work] = {
        "bare": _replaced(_invoke),
        "nothing": _replaced(baselines.wrapped(_invoke, baselines.do_nothing)),
        "sdk": _replaced(baselines.wrapped(_invoke, sdk.coroutine)),
    }
    original = getattr(tool_execution, _INVOKE)
    setattr(tool_execution, _INVOKE, _invoke)
    try:
        with measured() as tap:
            works["ours"] = _replaced(getattr(tool_execution, _INVOKE))
            seconds = interleaved(works, rounds=rounds, times=2000, fewer=("sdk",))
            assert tap.snapshot()["tool_metrics"]["work"]["total_calls"] >= rounds * 2000
    finally:
        setattr(tool_execution, _INVOKE, original)
    wholes = {tool.name: _in_a_run(tool) for tool in (work, cheapest)}
    seconds |= interleaved(wholes, rounds=rounds, times=50)
    ours = above(seconds, "ours", "bare")
    row = "OpenAI Agents @function_tool"
    yield result(row, "CPU of the call", ours, seconds["work"], 0.01)
    yield result(row, "wrapt that does nothing", ours, above(seconds, "nothing", "bare"), None)
    yield result(row, "wrapt + SDK", ours, above(seconds, "sdk", "bare"), None)
    row = "OpenAI Agents, cheapest tool"
    yield result(row, "CPU of the call", ours, seconds["cheapest"], 0.01)
