"""pydantic-ai: a measured agent and its tools see and do what they would without."""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import pickle
import sys
import traceback
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pydantic_ai import DeferredToolRequests, ModelRetry, RunContext, Tool, exceptions
from pydantic_ai.toolsets import FunctionToolset

import metertap
from metertap import Tap
from metertap_instrumentation.tools.pydantic_ai import endings
from servers.pydantic_ai_agents import VERSION, WAYS, agent, counted, once
from support.metric_data import points

pytestmark = pytest.mark.library("pydantic_ai")

SPLIT = VERSION >= (1, 63)
METHODS = ("validate_tool_call", "execute_tool_call") if SPLIT else ("handle_call",)
MODULE = "pydantic_ai.tool_manager" if VERSION >= (1, 78) else "pydantic_ai._tool_manager"
requests: contextvars.ContextVar[str] = contextvars.ContextVar("requests", default="none")


def plain(context: RunContext[Any], number: int = 1) -> str:
    """Sums up.

    Args:
        context: Where it runs.
        number: What is summed up.
    """
    return f"{context.tool_name} {number} {context.retry} {requests.get()}"


async def later(number: int) -> str:
    await asyncio.sleep(0)
    return f"{number} {requests.get()}"


def asks_to_retry() -> str:
    raise ModelRetry("again")


def raises() -> str:
    raise KeyError("gone")


TURNS = [
    [("plain", {"number": 1}), ("later", {"number": 2}), ("later", {})],
    [("made_up", {}), ("asks_to_retry", {})],
    [("plain", {"number": "no"})],
]


def seen(way: str, *more: Any) -> list[Any]:
    """What a run gave, and all messages in their order, without times and without chance."""
    tools = [Tool(tool, max_retries=3) for tool in (plain, later, asks_to_retry, raises)]
    made = agent(*TURNS, *more, tools=tools, retries=5)
    history: list[Any] = []

    @made.instructions
    def remember(context: RunContext[Any]) -> str:
        history[:] = context.messages
        return "work"

    requests.set("mine")
    try:
        output = WAYS[way](made)
    except Exception as error:
        output = (type(error), error.args)
    parts = [part for message in history for part in message.parts]
    shown = ("part_kind", "content", "tool_name", "args")
    return [output, *([getattr(part, name, None) for name in shown] for part in parts)]


@pytest.mark.parametrize("more", [[], once("raises")], ids=["fine", "raises"])
@pytest.mark.parametrize("way", WAYS)
def test_the_model_and_the_program_see_the_same(way: str, more: Any) -> None:
    without = seen(way, *more)
    assert len(without) > 10
    with metertap.instrument(json_endpoint=False) as tap:
        assert seen(way, *more) == without
        assert sum(tool["total_calls"] for tool in tap.snapshot()["tool_metrics"].values()) >= 6


def frames_of(error: BaseException | None) -> list[str]:
    """The functions in a traceback, and in those of what was behind it."""
    found = []
    while error is not None:
        for frame, _line in traceback.walk_tb(error.__traceback__):
            found.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}")
        error = error.__cause__ or error.__context__
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there a caught frame stays")
@pytest.mark.parametrize(
    ("name", "arguments"), [("raises", {}), ("asks_to_retry", {}), ("plain", {"number": "no"})]
)
def test_tracebacks_show_no_frame_of_ours(name: str, arguments: Any) -> None:
    def failing() -> list[str]:
        tools = [Tool(tool, max_retries=0) for tool in (plain, asks_to_retry, raises)]
        with pytest.raises((KeyError, exceptions.UnexpectedModelBehavior)) as caught:
            agent([(name, arguments)], tools=tools).run_sync("go")
        return frames_of(caught.value)

    without = failing()
    with metertap.instrument(json_endpoint=False) as tap:
        assert failing() == without
        assert counted(tap.snapshot())
    assert not any("metertap" in frame for frame in without)


def schemas() -> list[Any]:
    """What a model is told of tools."""
    from pydantic_ai.models.function import FunctionModel

    found: list[Any] = []

    def model(_messages: Any, info: Any) -> Any:
        from pydantic_ai.messages import ModelResponse, TextPart

        found.append(info.function_tools)
        return ModelResponse(parts=[TextPart("done")])

    made = agent(tools=[plain, later])
    made.run_sync("go", model=FunctionModel(model))
    return found


def test_the_model_is_told_the_same_of_tools() -> None:
    without = schemas()
    assert [tool.name for tool in without[0]] == ["plain", "later"]
    with metertap.instrument(json_endpoint=False):
        assert schemas() == without


def test_tools_pickle_as_before() -> None:
    def pickled() -> list[Any]:
        found: list[Any] = []
        for item in (Tool(later, takes_ctx=False), FunctionToolset([later])):
            try:
                found.append(len(pickle.dumps(item)))
            except Exception as error:
                found.append(type(error))
        return found

    without = pickled()
    with metertap.instrument(json_endpoint=False):
        agent(*once("plain"), tools=[plain]).run_sync("go")
        assert pickled() == without


FAULTY = [
    "metertap.measuring.functions.ToolSlot.find",
    "metertap.recording.Recorder.record_tool",
    "metertap_instrumentation.tools.pydantic_ai.endings.behind",
    "metertap_instrumentation.tools.pydantic_ai.managers.label",
]


@pytest.mark.faults
@pytest.mark.parametrize("place", FAULTY)
def test_a_fault_of_ours_reaches_nobody_and_is_counted(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if "record_tool" in place and not SPLIT:
        pytest.skip("refused calls are recorded like others here")

    def broken(*_args: Any, **_kwargs: Any) -> Any:
        raise ZeroDivisionError("a fault of metertap's own")

    without = seen("run", *once("raises"))
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        with monkeypatch.context() as patched:
            patched.setattr(place, broken)
            assert seen("run", *once("raises")) == without
        tools = tap.snapshot()["tool_metrics"].values()
        assert sum(point.value for point in points(reader, "metertap.errors")) > 0
        assert all(tool["active_calls"] == 0 for tool in tools)
    provider.shutdown()
    assert any("told once" in record.message for record in caplog.records)


# The classifiers alone


@pytest.fixture
def known() -> Any:
    return importlib.import_module("pydantic_ai.exceptions")


def raised(error: BaseException, behind: BaseException | None = None) -> BaseException:
    try:
        raise error from behind
    except BaseException as caught:
        return caught


def in_a_tool(error: BaseException, behind: BaseException | None = None) -> BaseException:
    def call_tool() -> None:
        raise error from behind

    try:
        call_tool()
    except BaseException as caught:
        return caught
    raise AssertionError


def test_one_try_too_many_is_told_from_an_agent_in_the_tool_that_gave_up(known: Any) -> None:
    retry = in_a_tool(ModelRetry("again"))
    gave_up = known.UnexpectedModelBehavior
    assert endings.of_run(raised(gave_up("no"), retry)) == ("tool_error", "ModelRetry")
    assert endings.of_run(in_a_tool(gave_up("no"), retry)) == (
        "exception",
        "UnexpectedModelBehavior",
    )
    assert endings.of_refusal(raised(gave_up("no"), retry)) == ("caller_error", "ModelRetry")


def test_endings_of_exceptions_that_have_no_traceback(known: Any) -> None:
    assert endings.of_run(known.CallDeferred()) == ("interim", None)
    assert endings.of_run(ModelRetry("no")) == ("tool_error", "ModelRetry")
    assert endings.of_run(known.UnexpectedModelBehavior("no")) == (
        "exception",
        "UnexpectedModelBehavior",
    )
    assert endings.of_refusal(asyncio.CancelledError()) == ("cancelled", "CancelledError")
    assert endings.of_whole(asyncio.CancelledError()) == ("cancelled", "CancelledError")


def test_deferrals_leave_nothing_in_progress(tap: Tap) -> None:
    def waits() -> str:
        raise exceptions.CallDeferred

    made = agent(
        [("waits", {}), ("plain", {})],
        tools=[waits, plain],
        output_type=[str, DeferredToolRequests],
    )
    assert isinstance(made.run_sync("go").output, DeferredToolRequests)
    tools = tap.snapshot()["tool_metrics"].values()
    assert [tool["active_calls"] for tool in tools] == [0, 0]
