"""OpenAI Agents SDK: function tools are counted once each, and as what they ended."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("agents.run_internal", reason="openai-agents")

import cachetools
from agents import (
    Agent,
    FunctionTool,
    ModelBehaviorError,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    UserError,
    function_tool,
    tool_input_guardrail,
)

import metertap
from kits.tool_kit import ToolKit
from metertap import Tap
from metertap_instrumentation.tools import openai_agents
from metertap_instrumentation.tools.openai_agents import functions
from servers.openai_agents_runs import agent, call, outputs, run, text

pytestmark = pytest.mark.library("openai_agents")

SECRET = "sk-marker-4711"


def document() -> dict[str, Any]:
    found: dict[str, Any] = metertap.get_all_metrics()
    return found


def counted() -> dict[str, dict[str, int]]:
    """Outcomes that occurred, by tool."""
    return {
        name: {outcome: times for outcome, times in tool["outcomes"].items() if times}
        for name, tool in document()["tool_metrics"].items()
    }


def error_types(name: str) -> dict[str, int]:
    found: dict[str, int] = document()["tool_metrics"][name]["error_types"]
    return found


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@function_tool
async def add_later(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


class TestFunctionTools(ToolKit):
    source = "openai-agents"
    instrumentation = openai_agents.INSTRUMENTATION
    failed = timed_out = "tool_error"
    raises = False
    names_are_made_up = True
    modules = ("agents.realtime.session", "agents.mcp.server")

    def make(self, function: Callable[..., Any]) -> Any:
        return function_tool(function)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        return outputs(await run(tools, *([call(name, **given)] for name, given in calls)))


# Ways to run a tool


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


# How calls end


class Odd(Exception):
    pass


def raising(error: BaseException, **options: Any) -> FunctionTool:
    @function_tool(**options)
    async def breaks(number: int = 0) -> str:
        raise error

    return breaks


def raising_in_a_thread(error: BaseException, **options: Any) -> FunctionTool:
    @function_tool(**options)
    def breaks(number: int = 0) -> str:
        raise error

    return breaks


def waiting(**options: Any) -> FunctionTool:
    @function_tool(timeout=0.01, **options)
    async def breaks(number: int = 0) -> str:
        await asyncio.Event().wait()
        return "never"

    return breaks


def own_words(_context: Any, error: Exception) -> str:
    return "all is well"


async def own_words_later(_context: Any, error: Exception) -> str:
    return "all is well"


def by_hand(error: BaseException) -> FunctionTool:
    async def invoke(_context: Any, _arguments: str) -> str:
        raise error

    return FunctionTool(
        name="breaks",
        description="",
        params_json_schema={"type": "object", "properties": {}, "additionalProperties": False},
        on_invoke_tool=invoke,
    )


def misbehaving_agent(**options: Any) -> FunctionTool:
    """The agent's own model asks for what there is not."""
    return agent([], [call("made_up")], name="inner").as_tool("breaks", "", **options)


FINE = '{"number": 1}'


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome", "error_type"),
    [
        (lambda: raising(Odd()), FINE, "tool_error", "Odd"),
        (lambda: raising_in_a_thread(Odd()), FINE, "tool_error", "Odd"),
        (lambda: raising(Odd(), failure_error_function=own_words), FINE, "tool_error", "Odd"),
        (lambda: raising(Odd(), failure_error_function=own_words_later), FINE, "tool_error", "Odd"),
        (lambda: raising(Odd(), failure_error_function=None), FINE, "exception", "Odd"),
        (lambda: by_hand(Odd()), FINE, "exception", "Odd"),
        (lambda: raising(TimeoutError()), FINE, "tool_error", "TimeoutError"),
        (
            lambda: raising(TimeoutError(), failure_error_function=None),
            FINE,
            "timeout",
            "TimeoutError",
        ),
        (lambda: raising(asyncio.CancelledError()), FINE, "cancelled", "CancelledError"),
        (lambda: waiting(), FINE, "timeout", "ToolTimeoutError"),
        (lambda: waiting(timeout_error_function=own_words), FINE, "timeout", "ToolTimeoutError"),
        (
            lambda: waiting(timeout_behavior="raise_exception"),
            FINE,
            "timeout",
            "ToolTimeoutError",
        ),
        (lambda: raising(Odd(), timeout=10), FINE, "tool_error", "Odd"),
        (lambda: raising(Odd()), '{"number": "many"}', "caller_error", "ModelBehaviorError"),
        (lambda: raising(Odd()), '{"number": ', "caller_error", "ModelBehaviorError"),
        (
            lambda: raising(Odd(), failure_error_function=None),
            '{"number": "many"}',
            "caller_error",
            "ModelBehaviorError",
        ),
        (
            lambda: raising(Odd(), failure_error_function=None, timeout=10),
            '{"number": "many"}',
            "caller_error",
            "ModelBehaviorError",
        ),
        (
            lambda: raising(ModelBehaviorError("Invalid JSON input for tool breaks")),
            FINE,
            "tool_error",
            "ModelBehaviorError",
        ),
        (
            lambda: raising(ModelBehaviorError("Invalid JSON"), failure_error_function=None),
            FINE,
            "exception",
            "ModelBehaviorError",
        ),
        (lambda: misbehaving_agent(), '{"input": "x"}', "tool_error", "ModelBehaviorError"),
        (lambda: misbehaving_agent(), '{"inputs": "x"}', "caller_error", "ModelBehaviorError"),
        (
            lambda: misbehaving_agent(failure_error_function=None),
            '{"input": "x"}',
            "exception",
            "ModelBehaviorError",
        ),
    ],
)
def test_a_call_is_counted_as_what_it_ended(
    tap: Tap, tool: Callable[[], FunctionTool], arguments: str, outcome: str, error_type: str
) -> None:
    with contextlib.suppress(Exception, asyncio.CancelledError):
        asyncio.run(run([tool()], [call("breaks", arguments)]))
    assert counted()["breaks"] == {outcome: 1}
    assert error_types("breaks") == {error_type: 1}
    assert tap.diagnosis()["faults"] == {}


def test_a_tool_that_the_agent_has_not_is_the_models_error(tap: Tap) -> None:
    with pytest.raises(ModelBehaviorError):
        asyncio.run(run([add], [call("made_up_by_the_model")]))
    assert counted() == {"_OTHER": {"caller_error": 1}}
    assert error_types("_OTHER") == {"ModelBehaviorError": 1}


def test_a_tool_that_the_agent_has_not_may_be_answered_instead(tap: Tap) -> None:
    if "tool_not_found_behavior" not in inspect.signature(RunConfig).parameters:
        pytest.skip("this version always ends the run")
    turn = [call("made_up"), call("invented"), call("add", a=1, b=2)]
    asyncio.run(run([add], turn, tool_not_found_behavior="return_error_to_model"))
    assert counted() == {"_OTHER": {"caller_error": 2}, "add": {"ok": 1}}


def test_a_call_that_waits_for_approval_counts_when_it_happens(tap: Tap) -> None:
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        return "paid"

    async def main() -> None:
        payer = agent([pay], [call("pay", amount=1), call("pay", amount=2)])
        result = await Runner.run(payer, "begin")
        assert "pay" not in counted()
        state = result.to_state()
        approved, rejected = result.interruptions
        state.approve(approved)
        state.reject(rejected)
        await Runner.run(payer, state)

    asyncio.run(main())
    assert counted() == {"pay": {"ok": 1}}


def test_an_agent_that_waits_for_approval_inside_a_tool_has_not_failed(tap: Tap) -> None:
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        return "paid"

    async def main() -> Any:
        inner = agent([pay], [call("pay", amount=1)], [text("thanks")], name="inner")
        outer = agent([inner.as_tool("shop", "")], [call("shop", input="buy")])
        result = await Runner.run(outer, "begin")
        assert counted() == {"shop": {"interim": 1}}
        state = result.to_state()
        state.approve(result.interruptions[0])
        return await Runner.run(outer, state)

    assert outputs(asyncio.run(main()))[-1] == "thanks"
    assert counted() == {"shop": {"interim": 1, "ok": 1}, "pay": {"ok": 1}}
    assert document()["tool_metrics"]["shop"]["window_samples"] == 1


def test_a_call_whose_input_a_guardrail_refuses_did_not_happen(tap: Tap) -> None:
    @tool_input_guardrail
    def refuse(_data: Any) -> ToolGuardrailFunctionOutput:
        return ToolGuardrailFunctionOutput.reject_content("no")

    @function_tool(tool_input_guardrails=[refuse])
    def guarded() -> str:
        return "done"

    assert outputs(asyncio.run(run([guarded], [call("guarded")]))) == ["no"]
    assert counted() == {}


def test_what_a_tool_handles_inside_is_not_its_ending(tap: Tap) -> None:
    """The failures of tools that it calls itself: by a run, and without one."""
    breaks = raising(Odd())

    @function_tool
    async def careful(context: Any = None) -> str:
        await run([breaks], [call("breaks")])
        return "fine"

    asyncio.run(run([careful], [call("careful")]))
    assert counted() == {"careful": {"ok": 1}, "breaks": {"tool_error": 1}}


def test_a_tool_that_cancels_itself_says_nothing_of_the_agent_that_it_belongs_to(tap: Tap) -> None:
    inner = agent([raising(asyncio.CancelledError())], [call("breaks")], name="inner")
    with contextlib.suppress(asyncio.CancelledError):  # of the whole run, in early versions
        asyncio.run(run([inner.as_tool("ask", "")], [call("ask", input="x")]))
    found = counted()
    assert found["breaks"] == {"cancelled": 1}
    assert found["ask"] in ({"ok": 1}, {"cancelled": 1})


# What tools see


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


# What the program sees


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
    assert "<metertap>" not in files or sys.version_info < (3, 11)
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


def test_what_an_error_means_is_told_without_patching() -> None:
    assert functions.handled(Odd()) == ("tool_error", "Odd")
    assert functions.refusal(Odd()) is None
    assert functions.refusal(UserError("missing required parameters")) is None
    with pytest.raises(ModelBehaviorError) as caught:
        raise ModelBehaviorError("Invalid JSON input")  # not by the SDK
    assert functions.refusal(caught.value) is None
    assert functions.handlers.name_of(None, (), {"function_tool": add}) == "add"


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
        name="first",
        model=agent([], [call("transfer_to_second")]).model,
        handoffs=[second],
    )
    asyncio.run(Runner.run(first, "begin"))
    assert counted() == {"add": {"ok": 1}}
