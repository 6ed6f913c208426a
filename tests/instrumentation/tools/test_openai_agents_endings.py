"""OpenAI Agents SDK: a call of a function tool counts as what it ended, whoever made the ending."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("agents.run_internal", reason="openai-agents")

from agents import (
    FunctionTool,
    ModelBehaviorError,
    RunConfig,
    Runner,
    ToolGuardrailFunctionOutput,
    UserError,
    function_tool,
    tool_input_guardrail,
)

from metertap import Tap
from metertap_instrumentation.tools.openai_agents import functions
from servers.openai_agents_runs import agent, call, outputs, run, text
from support.agents_tools import (
    FINE,
    Odd,
    add,
    counted,
    document,
    error_types,
    raising,
    raising_in_a_thread,
    waiting,
)

pytestmark = pytest.mark.library("openai_agents")


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
        (lambda: waiting(timeout_behavior="raise_exception"), FINE, "timeout", "ToolTimeoutError"),
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


def test_what_an_error_means_is_told_without_patching() -> None:
    assert functions.handled(Odd()) == ("tool_error", "Odd")
    assert functions.refusal(Odd()) is None
    assert functions.refusal(UserError("missing required parameters")) is None
    with pytest.raises(ModelBehaviorError) as caught:
        raise ModelBehaviorError("Invalid JSON input")  # not by the SDK
    assert functions.refusal(caught.value) is None
    assert functions.handlers.name_of(None, (), {"function_tool": add}) == "add"
