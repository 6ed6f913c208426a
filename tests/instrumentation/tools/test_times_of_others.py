"""What a tool's code runs by the same framework is its time, and starts and ends no clock of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap.measuring import calls, frameworks, in_threads
from support.metric_data import points
from support.stopped_clock import StoppedClock, stopped

BEFORE, WITHIN, AFTER = 1, 2, 4
"""What passes before something else runs, while it does, and after it, in seconds."""
ALL = BEFORE + WITHIN + AFTER


class Odd(Exception):
    """What something else raises."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, frameworks, in_threads)


@pytest.fixture
def seconds() -> Iterator[Callable[[str], float]]:
    """How long the only call of a tool took, by its name."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])

    def found(name: str) -> float:
        assert tap.diagnosis()["faults"] == {}
        (point,) = (
            point
            for point in points(reader, "gen_ai.execute_tool.duration")
            if point.attributes["gen_ai.tool.name"] == name
        )
        assert point.count == 1
        took: float = point.sum
        return took

    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        yield found
    provider.shutdown()


@pytest.mark.library("pydantic_ai")
@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_an_agent_of_pydantic_ai_whose_output_is_a_tool(
    fails: bool, clock: StoppedClock, seconds: Callable[[str], float]
) -> None:
    agents = pytest.importorskip("pydantic_ai")
    made = import_module("servers.pydantic_ai_agents")

    async def final(number: int) -> int:
        clock.takes(WITHIN)
        if fails:
            raise Odd
        return number

    async def delegate() -> str:
        clock.takes(BEFORE)
        output = agents.ToolOutput(final, name="final")
        inner = made.agent([("final", {"number": 1})], output_type=output)
        with contextlib.suppress(Odd):
            await inner.run("go")
        clock.takes(AFTER)
        return "delegated"

    asyncio.run(made.agent(*made.once("delegate"), tools=[delegate]).run("go"))
    assert seconds("delegate") == ALL


@pytest.mark.library("openai_agents")
class TestOpenAIAgents:
    @pytest.mark.parametrize("how", ["ends", "fails", "refuses", "is cancelled", "in a thread"])
    def test_a_tool_that_is_run_by_hand(
        self, how: str, clock: StoppedClock, seconds: Callable[[str], float]
    ) -> None:
        agents = pytest.importorskip("agents")
        context = pytest.importorskip("agents.tool_context").ToolContext
        runs = import_module("servers.openai_agents_runs")

        def does(number: int) -> int:
            clock.takes(WITHIN)
            if how == "fails":
                raise Odd
            return number

        async def inner(number: int) -> int:
            if how == "is cancelled":
                raise asyncio.CancelledError
            return does(number)

        def inner_in_a_thread(number: int) -> int:
            return does(number)

        tool = agents.function_tool(inner_in_a_thread if how == "in a thread" else inner)

        async def outer(given: Any) -> str:
            clock.takes(BEFORE)
            with contextlib.suppress(asyncio.CancelledError):
                arguments = "{}" if how == "refuses" else '{"number": 1}'
                await tool.on_invoke_tool(given, arguments)
            clock.takes(AFTER)
            if how == "fails":
                raise Odd
            return "done"

        outer.__annotations__["given"] = context
        asyncio.run(runs.run([agents.function_tool(outer)], [runs.call("outer")]))
        nothing = how in {"refuses", "is cancelled"}
        assert seconds("outer") == (BEFORE + AFTER if nothing else ALL)

    def test_an_agent_whose_tool_may_need_an_approval(
        self, clock: StoppedClock, seconds: Callable[[str], float]
    ) -> None:
        agents = pytest.importorskip("agents")
        runs = import_module("servers.openai_agents_runs")

        async def needs(*_asked: Any) -> bool:
            return False

        @agents.function_tool(needs_approval=needs)
        async def careful() -> str:
            clock.takes(WITHIN)
            return "done"

        inner = runs.agent([careful], [runs.call("careful")], [runs.text("ok")], name="inner")
        answer = inner.model.get_response

        async def later(*args: Any, **kwargs: Any) -> Any:
            clock.takes(BEFORE)
            return await answer(*args, **kwargs)

        inner.model.get_response = later
        tool = inner.as_tool("ask", "Ask.")
        asyncio.run(runs.run([tool], [runs.call("ask", input="how")]))
        assert seconds("careful") == WITHIN
        assert seconds("ask") == BEFORE + WITHIN + BEFORE
