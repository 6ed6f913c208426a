"""pydantic-ai: calls that are approved or deferred, validators, and tools for the output."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pydantic_ai")
from pydantic_ai import (
    Agent,
    ApprovalRequired,
    DeferredToolRequests,
    DeferredToolResults,
    ModelRetry,
    RunContext,
    Tool,
    ToolDenied,
)
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.models.test import TestModel

from metertap import Tap
from servers.pydantic_ai_agents import VERSION, WAYS, agent, counted, error_types, once
from support.pydantic_ai_tools import Unreachable, is_deferred, plain, run, wants_approval

pytestmark = pytest.mark.library("pydantic_ai")


HAS_VALIDATORS = VERSION >= (1, 63)


def answered(made: Agent[Any, Any], answer: Any) -> Any:
    """Run until calls are deferred, answer them, run on."""
    first = made.run_sync("go")
    assert isinstance(first.output, DeferredToolRequests)
    (call,) = first.output.approvals or first.output.calls
    results = DeferredToolResults()
    (results.approvals if first.output.approvals else results.calls)[call.tool_call_id] = answer
    history = first.all_messages()
    return made.run_sync(message_history=history, deferred_tool_results=results).output


def deferring(*tools: Any) -> Agent[Any, Any]:
    name = tools[0].name if isinstance(tools[0], Tool) else tools[0].__name__
    return agent(*once(name), tools=tools, output_type=[str, DeferredToolRequests])


def test_a_tool_that_asks_for_approval_runs_twice_and_only_the_second_ends(tap: Tap) -> None:
    assert answered(deferring(wants_approval), True) == "done"
    assert counted(tap.snapshot()) == {"wants_approval": {"interim": 1, "ok": 1}}
    assert tap.snapshot()["tool_metrics"]["wants_approval"]["success_rate"] == 100.0


def test_a_tool_that_needs_approval_runs_once_it_has_it(tap: Tap) -> None:
    assert answered(deferring(Tool(plain, requires_approval=True)), True) == "done"
    assert counted(tap.snapshot()) == {"plain": {"ok": 1}}


def test_a_tool_that_was_denied_was_not_called(tap: Tap) -> None:
    assert answered(deferring(Tool(plain, requires_approval=True)), ToolDenied("no")) == "done"
    assert counted(tap.snapshot()) == {}


def test_a_tool_that_the_program_runs_itself_is_called_as_often_as_it_defers(tap: Tap) -> None:
    assert answered(deferring(is_deferred), "by hand") == "done"
    assert counted(tap.snapshot()) == {"is_deferred": {"interim": 1}}


@pytest.mark.skipif(not HAS_VALIDATORS, reason="tools have no validators of their own yet")
@pytest.mark.parametrize(
    ("error", "outcome", "error_type"),
    [
        (ModelRetry("the secret"), "caller_error", "ModelRetry"),
        (Unreachable("the secret"), "exception", "Unreachable"),
    ],
)
def test_what_a_validator_raises(error: Exception, outcome: str, error_type: str, tap: Tap) -> None:
    def validator(_context: Any, number: int) -> None:
        raise error

    run(agent(*once("plain", number=1), tools=[Tool(plain, args_validator=validator)]))
    assert counted(tap.snapshot()) == {"plain": {outcome: 1}}
    assert error_types(tap.snapshot()) == {"plain": {error_type: 1}}


@pytest.mark.skipif(VERSION < (2, 40), reason="validators cannot defer yet")
def test_a_validator_that_defers_is_no_failure(tap: Tap) -> None:
    def validator(context: RunContext[Any], number: int) -> None:
        if not context.tool_call_approved:
            raise ApprovalRequired

    assert answered(deferring(Tool(plain, args_validator=validator)), True) == "done"
    assert counted(tap.snapshot()) == {"plain": {"interim": 1, "ok": 1}}


def test_the_tool_that_gives_the_output_is_none(tap: Tap) -> None:
    made: Any = Agent(TestModel(), output_type=tuple[int, str], tools=[plain])
    made.run_sync("go")
    assert counted(tap.snapshot()) == {"plain": {"ok": 1}}


@pytest.mark.parametrize("way", WAYS)
def test_an_output_function_is_none_whatever_it_raises(way: str, tap: Tap) -> None:
    def answer(number: int) -> int:
        if number == 1:
            raise ModelRetry("again")
        return number

    def model(messages: Any, info: Any) -> ModelResponse:
        (output,) = info.output_tools
        return ModelResponse(parts=[ToolCallPart(output.name, {"number": min(len(messages), 2)})])

    if way == "run_stream":
        pytest.skip("the model does not stream")
    made: Any = Agent(FunctionModel(model), output_type=answer, tools=[plain])
    assert WAYS[way](made) == 2
    assert counted(tap.snapshot()) == {}
