"""OpenAI Agents SDK: function tools are counted once each, and as what they ended."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import inspect
import sys
import time
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import pytest

pytest.importorskip("agents.run_internal", reason="openai-agents")

import cachetools
from agents import Agent, FunctionTool, ModelBehaviorError, Runner, UserError, function_tool
from pydantic import AfterValidator, BaseModel

import metertap
from kits.tool_clock import SLOW_SECONDS
from kits.tool_kit import ToolKit
from metertap import Tap
from metertap.patching import parameters
from metertap_instrumentation.tools import openai_agents
from servers.openai_agents_runs import agent, call, outputs, run, text
from support.agents_tools import (
    FINE,
    Odd,
    add,
    counted,
    document,
    raising,
    raising_in_a_thread,
    waiting,
)
from support.intervals import Steps, is_the_handlers

pytestmark = pytest.mark.library("openai_agents")


SECRET = "sk-marker-4711"


@function_tool
async def add_later(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


class TestFunctionTools(ToolKit):
    source = "openai-agents"
    instrumentation = openai_agents.INSTRUMENTATION
    validates = True
    failed = timed_out = "tool_error"
    raises = False
    names_are_made_up = True
    modules = ("agents.realtime.session", "agents.mcp.server")

    def make(self, function: Callable[..., Any]) -> Any:
        return function_tool(function)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        return outputs(await run(tools, *([call(name, **given)] for name, given in calls)))


async def streamed(tools: list[Any], *turns: list[Any]) -> Any:
    result = Runner.run_streamed(agent(tools, *turns), "begin")
    async for _ in result.stream_events():
        pass
    return result


def in_run(tools: list[Any], *turns: list[Any]) -> Any:
    return asyncio.run(run(tools, *turns))


def in_stream(tools: list[Any], *turns: list[Any]) -> Any:
    return asyncio.run(streamed(tools, *turns))


def in_sync(tools: list[Any], *turns: list[Any]) -> Any:
    return Runner.run_sync(agent(tools, *turns), "begin")


@pytest.mark.parametrize(
    "way",
    [
        lambda *turns: asyncio.run(run(*turns)),
        lambda *turns: asyncio.run(streamed(*turns)),
        in_sync,
    ],
    ids=["run", "run_streamed", "run_sync"],
)
@pytest.mark.parametrize("tool", [add, add_later], ids=["sync", "async"])
def test_each_call_is_counted_once_however_the_agent_is_run(
    tap: Tap, way: Callable[..., Any], tool: FunctionTool
) -> None:
    turns = [[call(tool.name, a=1, b=2), call(tool.name, a=3, b=4)], [call(tool.name, a=5, b=6)]]
    result = way([tool], *turns)
    assert outputs(result) == [3, 7, 11]
    assert counted() == {tool.name: {"ok": 3}}
    found = document()["tool_metrics"][tool.name]
    assert found["source"] == "openai-agents"
    assert found["active_calls"] == 0
    assert found["window_samples"] == 3


def test_a_realtime_session_counts_its_calls(tap: Tap) -> None:
    pytest.importorskip("websockets")
    from agents.realtime import RealtimeAgent, RealtimeRunner
    from agents.realtime.model import RealtimeModel
    from agents.realtime.model_events import RealtimeModelToolCallEvent

    class Quiet(RealtimeModel):
        sent: list[Any]

        async def connect(self, options: Any) -> None:
            self.sent = []
            self.answered = asyncio.Event()

        def add_listener(self, listener: Any) -> None:
            self.listener = listener

        def remove_listener(self, listener: Any) -> None:
            pass

        async def send_event(self, event: Any) -> None:
            if type(event).__name__ == "RealtimeModelSendToolOutput":
                self.sent.append(event.output)
                self.answered.set()

        async def send_event_if(self, event: Any, send_if: Callable[[], bool]) -> bool:
            await self.send_event(event)
            return True

        async def close(self) -> None:
            pass

    async def main() -> list[Any]:
        model = Quiet()
        runner = RealtimeRunner(RealtimeAgent(name="talker", tools=[add]), model=model)
        async with await runner.run():
            await model.listener.on_event(
                RealtimeModelToolCallEvent(name="add", call_id="1", arguments='{"a": 1, "b": 2}')
            )
            await asyncio.wait_for(model.answered.wait(), 60)
        return model.sent

    assert asyncio.run(main()) == ["3"]
    assert counted() == {"add": {"ok": 1}}


def test_an_agent_that_is_a_tool_and_its_own_tools_are_calls_each(tap: Tap) -> None:
    inner = agent([add], [call("add", a=1, b=2)], [text("three")], name="inner")
    tool = inner.as_tool("ask_inner", "Ask.")
    result = asyncio.run(run([tool], [call("ask_inner", input="how many")]))
    assert outputs(result) == ["three"]
    assert counted() == {"ask_inner": {"ok": 1}, "add": {"ok": 1}}


def test_a_tool_that_runs_an_agent_with_itself_makes_two_calls(tap: Tap) -> None:
    depth = iter([True, False])

    @function_tool
    async def deeper() -> str:
        if next(depth):
            await run([deeper], [call("deeper")])
        return "back"

    asyncio.run(run([deeper], [call("deeper")]))
    assert counted() == {"deeper": {"ok": 2}}


def test_attempts_that_the_model_makes_count_each(tap: Tap) -> None:
    tries = iter([True, True, False])

    @function_tool
    def flaky() -> str:
        if next(tries):
            raise ConnectionError("down")
        return "up"

    asyncio.run(run([flaky], [call("flaky")], [call("flaky")], [call("flaky")]))
    assert counted() == {"flaky": {"tool_error": 2, "ok": 1}}


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_lookup_in_a_cache_is_the_tools(tap: Tap) -> None:
    cache: Any = cachetools.LRUCache(8)
    metertap.name_cache(cache, "prices")
    cache["a"] = 1

    @function_tool
    async def price() -> int:
        return int(cache["a"])

    @function_tool(timeout=10)
    async def price_in_time() -> int:
        return int(cache.get("b", 0))

    asyncio.run(run([price, price_in_time], [call("price"), call("price_in_time")]))
    by_tool = document()["cache_metrics"]["prices"]["by_tool"]
    assert by_tool == {
        "price": {"hits": 1, "misses": 0, "hit_rate": 100.0},
        "price_in_time": {"hits": 0, "misses": 1, "hit_rate": 0.0},
    }


def test_many_calls_at_once_are_counted_each(tap: Tap) -> None:
    turn = [call("add", a=number, b=1) for number in range(50)]
    assert outputs(asyncio.run(run([add], turn))) == [number + 1 for number in range(50)]
    assert counted() == {"add": {"ok": 50}}


def frames_of(tool: FunctionTool) -> tuple[BaseException, list[str]]:
    with pytest.raises((Odd, KeyError, UserError)) as caught:
        asyncio.run(run([tool], [call("breaks", FINE)]))
    error: BaseException = caught.value
    cause = error.__cause__ if isinstance(error, UserError) else error
    assert cause is not None
    return cause, [frame.name for frame in traceback.extract_tb(cause.__traceback__)]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot leave a frame out")
@pytest.mark.parametrize("make", [raising, raising_in_a_thread])
def test_exceptions_pass_unchanged_with_their_tracebacks(make: Callable[..., FunctionTool]) -> None:
    error = Odd("x")
    plain = frames_of(make(error, failure_error_function=None))
    error.__traceback__ = None
    with metertap.instrument(json_endpoint=False):
        measured = frames_of(make(error, failure_error_function=None))
    assert measured[0] is plain[0] is error
    assert measured[1] == plain[1]


def test_failures_of_the_failure_function_pass_too(tap: Tap) -> None:
    def fails(_context: Any, error: Exception) -> str:
        raise KeyError("in the function that handles it") from error

    error, _ = frames_of(raising(Odd("x"), failure_error_function=fails))
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, Odd)
    assert parameters.FILE not in files or sys.version_info < (3, 11)
    assert counted() == {"breaks": {"exception": 1}}


def test_tools_are_described_and_copied_as_before() -> None:
    def search(query: str, limit: int = 5) -> str:
        """Search.

        Args:
            query: What for.
        """
        return query

    plain = function_tool(search)
    with metertap.instrument(json_endpoint=False):
        measured = function_tool(search)
        assert measured.params_json_schema == plain.params_json_schema
        assert (measured.name, measured.description) == (plain.name, plain.description)
        copied = copy.copy(measured)
        copied.name = "look_for"
        asyncio.run(run([copied], [call("look_for", query="x", limit=1)]))
        assert counted() == {"look_for": {"ok": 1}}


def example() -> list[Any]:
    """A program with all kinds of tools; what came of it."""

    @function_tool
    async def lookup(city: str) -> str:
        if city == "Nowhere":
            raise LookupError(city)
        return f"sunny in {city}"

    async def main() -> list[Any]:
        helper = agent([lookup], [call("lookup", city="Oslo")], [text("Oslo: sun")], name="helper")
        tools = [lookup, add, helper.as_tool("ask", "Ask."), waiting()]
        turns = [
            [call("lookup", city="Rome"), call("lookup", city="Nowhere"), call("add", a=1, b="x")],
            [call("ask", input="Oslo?"), call("breaks", FINE)],
        ]
        result = await run(tools, *turns)
        return [*outputs(result), result.final_output, len(result.to_input_list())]

    return asyncio.run(main())


def test_a_program_gives_what_it_gave() -> None:
    plain = example()
    with metertap.instrument(json_endpoint=False):
        assert example() == plain
        assert counted() == {
            "lookup": {"ok": 2, "tool_error": 1},
            "add": {"caller_error": 1},
            "ask": {"ok": 1},
            "breaks": {"timeout": 1},
        }


def test_switched_off_nothing_is_counted() -> None:
    options: dict[str, Any] = {"json_endpoint": False}
    with metertap.instrument(enabled=False, **options):
        asyncio.run(run([add], [call("add", a=1, b=2)]))
        with pytest.raises(ModelBehaviorError):
            asyncio.run(run([add], [call("made_up")]))
        assert counted() == {}


def test_handoffs_are_no_tools(tap: Tap) -> None:
    second = agent([add], [call("add", a=1, b=2)], name="second")
    first = Agent(
        name="first", model=agent([], [call("transfer_to_second")]).model, handoffs=[second]
    )
    asyncio.run(Runner.run(first, "begin"))
    assert counted() == {"add": {"ok": 1}}


@pytest.mark.skipif(
    "output_type" not in inspect.signature(function_tool).parameters,
    reason="this version validates no outputs",
)
def test_validating_an_output_is_not_the_functions_time(tap: Tap) -> None:
    handlers, validations = Steps(), Steps()

    def slowly(number: int) -> int:
        with validations.step():
            time.sleep(SLOW_SECONDS)
        return number

    class Answer(BaseModel):
        number: Annotated[int, AfterValidator(slowly)]

    async def answers() -> dict[str, int]:
        with handlers.step():
            return {"number": 1}

    in_run([function_tool(answers, output_type=Answer)], [call("answers")])
    assert validations.made
    seconds = tap.snapshot()["tool_metrics"]["answers"]["max_latency_ms"] / 1000
    assert is_the_handlers(seconds, handlers.made[0], validations)
