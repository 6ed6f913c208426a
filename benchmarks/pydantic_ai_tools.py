"""One call of a pydantic-ai tool, by the agent's own `ToolManager`, and what measuring adds to it.

A call takes some ten microseconds and varies by more than what is asked here. So the two methods
that are patched are replaced by ones that return at once what they returned in a real call, and are
called patched and bare; the call itself is timed beside these, with nothing in its way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from pydantic_ai import Agent, RunContext
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tool_manager import ToolManager

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result
from benchmarks.process import measured

_METHODS = ("validate_tool_call", "execute_tool_call")
_TURNS = 20


class _Recorded:
    """An agent with one tool; its manager, and a call that this has validated."""

    def __init__(self) -> None:
        self.agent: Agent[None, str] = Agent(FunctionModel(self._respond))
        self.agent.tool(self.work)
        self.call = ToolCallPart("work", {"number": 1})
        self.manager: Any = None
        self._left = 0
        self.run()
        self.validated = asyncio.run(self.manager.validate_tool_call(self.call))

    async def work(self, context: RunContext[None], number: int) -> int:
        """The tool: what it is given, it returns."""
        self.manager = context.tool_manager
        return number

    def _respond(self, _messages: Any, _info: Any) -> ModelResponse:
        self._left -= 1
        return ModelResponse(parts=[TextPart("done") if self._left < 0 else self.call])

    def run(self) -> None:
        """Twenty turns of one call each."""
        self._left = _TURNS
        self.agent.run_sync("go")

    async def handled(self) -> None:
        """The call as the manager handles it: validated, run through the agent's hooks."""
        await self.manager.execute_tool_call(await self.manager.validate_tool_call(self.call))

    def stubs(self) -> dict[str, Any]:
        """Methods that return what they returned."""
        validated = self.validated

        async def validate_tool_call(_self: Any, _call: Any) -> Any:
            return validated

        async def execute_tool_call(_self: Any, _validated: Any) -> Any:
            return 1

        return {"validate_tool_call": validate_tool_call, "execute_tool_call": execute_tool_call}

    def replaced(self, methods: dict[str, Any]) -> Work:
        """Handle calls while `methods` stand in the manager's class."""
        calls = awaited(self.handled)

        def work(times: int) -> float:
            originals = {name: vars(ToolManager)[name] for name in methods}
            _set(methods)
            try:
                return calls(times)
            finally:
                _set(originals)

        return work

    def turns(self, times: int) -> float:
        """Seconds for as many calls in turns of the agent."""
        return awaited(self._turn)(max(1, times // _TURNS))

    async def _turn(self) -> None:
        self._left = _TURNS
        await self.agent.run("go")


def _set(methods: dict[str, Any]) -> None:
    for name, method in methods.items():
        setattr(ToolManager, name, method)


def calls(rounds: int) -> Iterator[Result]:
    """Against the call alone, and against a turn of the agent around it."""
    recorded, sdk = _Recorded(), baselines.Sdk()
    stubs, originals = recorded.stubs(), {name: vars(ToolManager)[name] for name in _METHODS}
    works: dict[str, Work] = {
        "bare": recorded.replaced(stubs),
        "nothing": recorded.replaced(
            {name: baselines.wrapped(stub, baselines.do_nothing) for name, stub in stubs.items()}
        ),
        "sdk": recorded.replaced(
            stubs
            | {"execute_tool_call": baselines.wrapped(stubs["execute_tool_call"], sdk.coroutine)}
        ),
    }
    _set(stubs)
    try:
        with measured() as tap:
            works["ours"] = recorded.replaced({name: vars(ToolManager)[name] for name in _METHODS})
            seconds = interleaved(works, rounds=rounds, times=2000, fewer=("sdk",))
            assert tap.snapshot()["tool_metrics"]["work"]["total_calls"] >= rounds * 2000
    finally:
        _set(originals)
    whole: dict[str, Work] = {"call": awaited(recorded.handled), "turn": recorded.turns}
    seconds |= interleaved(whole, rounds=rounds, times=200)
    ours = above(seconds, "ours", "bare")
    row = "pydantic-ai tool call"
    yield result(row, "time of the call", ours, seconds["call"], 0.01)
    yield result(row, "time of an agent's turn", ours, seconds["turn"], 0.01)
    yield result(row, "two wrapt that do nothing", ours, above(seconds, "nothing", "bare"), None)
    yield result(row, "wrapt + SDK", ours, above(seconds, "sdk", "bare"), None)
