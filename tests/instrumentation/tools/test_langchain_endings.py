"""LangChain's tools: each run ends as it is counted, whatever it returns or raises."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

import pytest

import metertap
from metertap import Tap

pytest.importorskip("langchain_core.tools")
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, Tool, ToolException, tool
from pydantic import BaseModel, ValidationError, field_validator

from support.langchain_tools import (
    FAILED,
    VALIDATION,
    Interrupt,
    broken_data,
    called,
    counted,
    double,
    raising,
    returning,
)

pytestmark = [pytest.mark.library("langchain"), pytest.mark.interpreter]


class LimitTimeout(Exception):
    """As libraries have them: no `TimeoutError`."""


ENDINGS: dict[str, tuple[Any, dict[str, Any], str, str | None]] = {
    "returns": (lambda: returning("fine"), {}, "ok", None),
    "returns nothing": (lambda: returning(None), {}, "ok", None),
    "says in words that it failed": (lambda: returning("Error: failed"), {}, "ok", None),
    "returns a message": (
        lambda: returning(ToolMessage("yes", tool_call_id="call-1")),
        {},
        "ok",
        None,
    ),
    "returns a message that says error": (
        lambda: returning(FAILED),
        {},
        "tool_error",
        "tool_error",
    ),
    "returns several, one of them such": (
        lambda: returning([ToolMessage("yes", tool_call_id="call-2"), FAILED]),
        {},
        "tool_error",
        "tool_error",
    ),
    "returns more than a list of messages": (
        lambda: returning([*["row"] * 100, FAILED]),
        {},
        "ok",
        None,
    ),
    "raises": (lambda: raising(lambda: KeyError("no")), {}, "exception", "KeyError"),
    "raises a tool's error": (
        lambda: raising(lambda: ToolException("no")),
        {},
        "exception",
        "ToolException",
    ),
    "raises one that is handled": (
        lambda: raising(lambda: ToolException("no"), handle_tool_error=True),
        {},
        "tool_error",
        "ToolException",
    ),
    "is handled by a text": (
        lambda: raising(lambda: ToolException("no"), handle_tool_error="sorry"),
        {},
        "tool_error",
        "ToolException",
    ),
    "is handled by a function": (
        lambda: raising(lambda: ToolException("no"), handle_tool_error=str),
        {},
        "tool_error",
        "ToolException",
    ),
    "is handled by a function that raises": (
        lambda: raising(lambda: ToolException("no"), handle_tool_error=lambda error: 1 // 0),
        {},
        "exception",
        "ZeroDivisionError",
    ),
    "finds its own data broken": (lambda: raising(broken_data), {}, "exception", "ValidationError"),
    "finds it broken, and that is handled": (
        lambda: raising(broken_data, **VALIDATION),
        {},
        "tool_error",
        "ValidationError",
    ),
    "times out": (lambda: raising(TimeoutError), {}, "timeout", "TimeoutError"),
    "times out by a library": (lambda: raising(LimitTimeout), {}, "timeout", "LimitTimeout"),
    "is interrupted": (lambda: raising(Interrupt), {}, "interim", None),
    "gets arguments that do not fit": (
        lambda: raising(lambda: KeyError("not reached")),
        {"number": "many"},
        "caller_error",
        "ValidationError",
    ),
    "gets such, and that is handled": (
        lambda: raising(lambda: KeyError("not reached"), **VALIDATION),
        {"number": "many"},
        "caller_error",
        "ValidationError",
    ),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("has_id", [False, True], ids=["plain", "tool call"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_how_a_call_ends(ending: str, has_id: bool, is_async: bool, tap: Tap) -> None:
    made, arguments, outcome, error_type = ENDINGS[ending]
    one = made()
    given = called("one", **arguments) if has_id else arguments
    answer = None
    with contextlib.suppress(Exception):
        answer = asyncio.run(one.ainvoke(given)) if is_async else one.invoke(given)
    if error_type == "tool_error" and answer is not FAILED and not isinstance(answer, list):
        pytest.skip("this old LangChain makes a text of messages that a tool returns")
    assert counted(tap, "one") == {outcome: 1}
    kept = {} if error_type is None else {error_type: 1}
    assert tap.snapshot()["tool_metrics"]["one"]["error_types"] == kept


def test_what_a_tool_of_one_input_cannot_be_given_is_its_callers_error(tap: Tap) -> None:
    simple = Tool("one", lambda text: text, "Return it.", handle_tool_error=True)
    simple.invoke({"first": 1, "second": 2})
    assert counted(tap, "one") == {"caller_error": 1}


def test_arguments_that_a_validator_of_the_tools_refuses_are_the_callers_error(tap: Tap) -> None:
    class Arguments(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def _positive(cls, value: int) -> int:
            if value < 1:
                raise ValueError("must be positive")
            return value

    one = StructuredTool.from_function(
        lambda number: number, name="one", description="Return it.", args_schema=Arguments
    )
    with pytest.raises(ValidationError):
        one.invoke({"number": 0})
    assert counted(tap, "one") == {"caller_error": 1}


def test_an_inner_tools_bad_arguments_are_the_outer_ones_exception(tap: Tap) -> None:
    @tool  # type: ignore[untyped-decorator]
    def outer() -> int:
        """Call another."""
        result: int = double.invoke({"number": "many"})
        return result

    with pytest.raises(ValidationError):
        outer.invoke({})
    assert counted(tap, "double") == {"caller_error": 1}
    assert counted(tap, "outer") == {"exception": 1}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_arguments_that_do_not_fit_are_the_callers_where_other_code_wrapped_run_before(
    is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, arun = BaseTool.run, BaseTool.arun

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return run(*args, **kwargs)

    async def wrapped_async(*args: Any, **kwargs: Any) -> Any:
        return await arun(*args, **kwargs)

    metertap.uninstrument()
    monkeypatch.setattr(BaseTool, "run", wrapped)
    monkeypatch.setattr(BaseTool, "arun", wrapped_async)
    given = {"number": "many"}
    with metertap.instrument(json_endpoint=False) as tap, pytest.raises(ValidationError):
        asyncio.run(double.ainvoke(given)) if is_async else double.invoke(given)
    assert counted(tap, "double") == {"caller_error": 1}


def test_a_time_limit_outside_cancels_the_call(tap: Tap) -> None:
    @tool  # type: ignore[untyped-decorator]
    async def waits() -> None:
        """Wait."""
        await asyncio.Event().wait()

    async def limited() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waits.ainvoke({}), 0.5)

    asyncio.run(limited())
    assert counted(tap, "waits") == {"cancelled": 1}


def test_each_retry_is_a_call(tap: Tap) -> None:
    attempts = []

    @tool  # type: ignore[untyped-decorator]
    def flaky() -> str:
        """Work, the third time."""
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return "done"

    retried = flaky.with_retry(wait_exponential_jitter=False, stop_after_attempt=3)
    assert retried.invoke({}) == "done"
    assert counted(tap, "flaky") == {"exception": 2, "ok": 1}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is newer")
def test_a_time_limit_inside_a_tool_is_its_timeout(tap: Tap) -> None:
    @tool  # type: ignore[untyped-decorator]
    async def limited() -> None:
        """Wait, not for long."""
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(limited.ainvoke({}))
    assert counted(tap, "limited") == {"timeout": 1}
