"""pydantic-ai: each call of a tool is counted once, under its name, with how it ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("pydantic_ai")
from pydantic_ai import (
    Agent,
    DeferredToolRequests,
    ModelRetry,
    RunContext,
    Tool,
    exceptions,
)
from pydantic_ai.toolsets import FunctionToolset, WrapperToolset

import metertap
from kits.tool_kit import ToolKit
from metertap import Tap, catalogue
from metertap_instrumentation.tools import pydantic_ai
from servers.pydantic_ai_agents import VERSION, WAYS, agent, calling, counted, error_types, once
from support.pydantic_ai_tools import Unreachable, is_deferred, later, plain, run, wants_approval

pytestmark = pytest.mark.library("pydantic_ai")


ToolFailed: Any = getattr(exceptions, "ToolFailed", None)


def raises() -> str:
    raise Unreachable("the secret")


async def runs_into_a_timeout() -> str:
    raise TimeoutError("the secret")


def asks_to_retry() -> str:
    raise ModelRetry("the secret")


def gives_up_for_a_timeout() -> str:
    try:
        raise TimeoutError
    except TimeoutError:
        raise ModelRetry("the secret") from None


def fails() -> str:
    raise ToolFailed("the secret")


async def never_ends() -> str:
    await asyncio.Event().wait()
    return "never"


class TestTools(ToolKit):
    source = "pydantic-ai"
    instrumentation = pydantic_ai.INSTRUMENTATION
    validates = True
    names_are_made_up = True

    def make(self, function: Callable[..., Any]) -> Any:
        return Tool(function, takes_ctx=False, max_retries=3)

    async def use(self, tools: list[Any], *calls: tuple[str, dict[str, Any]]) -> list[Any]:
        result = await agent(*([one] for one in calls), tools=tools).run("go")
        parts = [part for message in result.all_messages() for part in message.parts]
        return [part.content for part in parts if part.part_kind == "tool-return"]


@pytest.mark.parametrize("tool", [plain, later])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_run_an_agent_counts_a_call_once(way: str, tool: Any, tap: Tap) -> None:
    name = tool.__name__
    made = agent(*once(name, name, number=2), tools=[tool])
    assert WAYS[way](made) == "done"
    assert counted(tap.snapshot()) == {name: {"ok": 2}}


Case = tuple[Callable[..., Any], dict[str, Any], str, str | None]


ENDINGS: dict[str, Case] = {
    "ok": (plain, {"number": 2}, "ok", None),
    "exception": (raises, {}, "exception", "Unreachable"),
    "timeout": (runs_into_a_timeout, {}, "timeout", "TimeoutError"),
    "retry": (asks_to_retry, {}, "tool_error", "ModelRetry"),
    "retry for a timeout": (gives_up_for_a_timeout, {}, "tool_error", "ModelRetry"),
    "arguments": (plain, {"number": "the secret"}, "caller_error", "ValidationError"),
    "deferred": (is_deferred, {}, "interim", None),
    "approval": (wants_approval, {}, "interim", None),
}


if ToolFailed is not None:
    ENDINGS["failed"] = (fails, {}, "tool_error", "ToolFailed")


@pytest.mark.parametrize("case", ENDINGS)
def test_each_ending(case: str, tap: Tap) -> None:
    tool, arguments, outcome, error_type = ENDINGS[case]
    name = tool.__name__
    output = [str, DeferredToolRequests]
    run(agent([(name, arguments)], tools=[tool], output_type=output))
    document = tap.snapshot()
    assert counted(document) == {name: {outcome: 1}}
    assert error_types(document) == ({name: {error_type: 1}} if error_type else {})
    assert "secret" not in str(document)
    assert document["tool_metrics"][name]["active_calls"] == 0


@pytest.mark.parametrize("case", ["retry", "arguments"])
def test_each_try_is_a_call_and_the_last_one_too_many_ended_like_the_others(
    case: str, tap: Tap
) -> None:
    tool, arguments, outcome, error_type = ENDINGS[case]
    name = tool.__name__
    made = agent(*[[(name, arguments)]] * 4, tools=[Tool(tool, max_retries=2)])
    assert isinstance(run(made), exceptions.UnexpectedModelBehavior)
    document = tap.snapshot()
    assert counted(document) == {name: {outcome: 3}}
    assert error_types(document) == {name: {error_type: 3}}


def test_a_tool_that_is_tried_again_until_it_is_well(tap: Tap) -> None:
    tries: list[int] = []

    def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ModelRetry("again")
        return "well"

    assert run(agent(*once(*["flaky"] * 3), tools=[Tool(flaky, max_retries=5)])) == "done"
    assert counted(tap.snapshot()) == {"flaky": {"tool_error": 2, "ok": 1}}


def test_data_that_a_tool_cannot_validate_is_its_own_failure(tap: Tap) -> None:
    def reads() -> str:
        from pydantic import BaseModel

        class Answer(BaseModel):
            number: int

        return str(Answer.model_validate({"number": "the secret"}))

    run(agent(*once("reads"), tools=[reads]))
    ((name, outcomes),) = counted(tap.snapshot()).items()
    assert (name, set(outcomes) <= {"tool_error", "exception"}) == ("reads", True)
    assert error_types(tap.snapshot()) == {"reads": {"ValidationError": 1}}


def test_tools_that_the_model_made_up_share_a_name(tap: Tap) -> None:
    made_up = [f"the_secret_{number}" for number in range(5)]
    made = Agent(calling(*once("plain", *made_up)), tools=[plain], retries=9)
    assert run(made) == "done"
    document = tap.snapshot()
    assert counted(document) == {"plain": {"ok": 1}, catalogue.OTHER: {"caller_error": 5}}
    assert error_types(document) == {catalogue.OTHER: {"ModelRetry": 5}}
    assert "secret" not in str(document)


@pytest.mark.skipif(VERSION < (1, 40), reason="tools have no time limit yet")
@pytest.mark.parametrize("retries", [0, 1])
def test_a_time_limit_that_ran_out_is_a_timeout(retries: int, tap: Tap) -> None:
    made = agent(
        *once("never_ends"), tools=[Tool(never_ends, max_retries=retries)], tool_timeout=0.001
    )
    run(made)
    document = tap.snapshot()
    assert counted(document) == {"never_ends": {"timeout": 1}}
    assert error_types(document) == {"never_ends": {"TimeoutError": 1}}


def test_a_time_limit_of_the_program_cancels_the_call(tap: Tap) -> None:
    async def limited() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(agent(*once("never_ends"), tools=[never_ends]).run("go"), 1.0)

    asyncio.run(limited())
    assert counted(tap.snapshot()) == {"never_ends": {"cancelled": 1}}


@pytest.mark.skipif(VERSION < (2, 40), reason="runs cannot be stopped by a tool yet")
def test_an_agent_that_stops_itself_cancels_the_call_that_ran_it(tap: Tap) -> None:
    def stop(context: RunContext[Any]) -> str:
        context.cancel()
        return "stopped"

    async def delegate() -> Any:
        return (await agent(*once("stop"), tools=[stop]).run("go")).output

    run(agent(*once("delegate"), tools=[delegate]))
    found = counted(tap.snapshot())
    assert found["delegate"] == {"cancelled": 1}
    assert error_types(tap.snapshot())["delegate"] == {"RunCancelled": 1}


@pytest.mark.parametrize("tool", [plain, later])
def test_calls_at_the_same_time(tool: Any, tap: Tap) -> None:
    name = tool.__name__
    turn = [(name, {"number": 1}), ("raises_late", {}), (name, {"number": "no"})] * 10

    async def raises_late() -> str:
        await asyncio.sleep(0)
        raise ModelRetry("again")

    tools = [Tool(tool, max_retries=50), Tool(raises_late, max_retries=50)]
    assert run(agent(turn, tools=tools)) == "done"
    assert counted(tap.snapshot()) == {
        name: {"ok": 10, "caller_error": 10},
        "raises_late": {"tool_error": 10},
    }


def test_agents_in_threads(tap: Tap) -> None:
    def work() -> None:
        asyncio.run(agent(*once(*["plain"] * 5), tools=[plain]).run("go"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(tap.snapshot()) == {"plain": {"ok": 20}}


def test_a_call_through_toolsets_in_toolsets_is_one_by_the_name_that_the_model_knows(
    tap: Tap,
) -> None:
    tools = FunctionToolset([plain, later])
    around = WrapperToolset(
        tools.filtered(lambda _context, _tool: True)
        .renamed({"renamed": "later"})
        .prefixed("inner")
        .prefixed("outer")
    )
    made = agent(*once("outer_inner_plain", "outer_inner_renamed", "plain"), toolsets=[around])
    assert run(made) == "done"
    assert counted(tap.snapshot()) == {
        "outer_inner_plain": {"ok": 1},
        "outer_inner_renamed": {"ok": 1},
        catalogue.OTHER: {"caller_error": 1},
    }


def test_a_tool_of_an_mcp_server_in_the_process_is_a_call_on_each_side(tap: Tap) -> None:
    fastmcp = pytest.importorskip("fastmcp")
    toolset: Any = getattr(pytest.importorskip("pydantic_ai.mcp"), "MCPToolset", None)
    if toolset is None:
        pytest.skip("clients of MCP servers are others here")
    server = fastmcp.FastMCP("shop")
    server.tool(plain)
    server.tool(raises)
    made = agent(*once("plain", "raises"), toolsets=[toolset(server)])
    assert run(made) == "done"
    found = sorted(
        (tool["source"], name.partition("@")[0], *(k for k, n in tool["outcomes"].items() if n))
        for name, tool in tap.snapshot()["tool_metrics"].items()
    )
    assert found == [
        ("mcp:shop", "plain", "ok"),
        ("mcp:shop", "raises", "exception"),
        ("pydantic-ai", "plain", "ok"),
        ("pydantic-ai", "raises", "tool_error"),
    ]


def test_a_langchain_tool_is_one_call(tap: Tap) -> None:
    langchain = pytest.importorskip("langchain_core.tools")
    toolset = pytest.importorskip("pydantic_ai.ext.langchain").LangChainToolset

    @langchain.tool  # type: ignore[untyped-decorator]
    def shop(number: int) -> int:
        """Sells."""
        return number

    assert run(agent(*once("shop", number=2), toolsets=[toolset([shop])])) == "done"
    tools = tap.snapshot()["tool_metrics"]
    assert sum(tool["total_calls"] for tool in tools.values()) == 1
    assert counted(tap.snapshot()) == {"shop": {"ok": 1}}


@pytest.mark.parametrize("name", ["delegate", "inner"])
def test_an_agent_that_a_tool_runs_makes_calls_of_its_own(name: str, tap: Tap) -> None:
    async def inner() -> str:
        return "inner"

    async def delegate() -> Any:
        return (await agent(*once("inner", "made_up"), tools=[inner], retries=2).run("go")).output

    made = agent(*once(name), tools=[Tool(delegate, name=name)])
    assert run(made) == "done"
    expected = {name: {"ok": 1}, "inner": {"ok": 1}, catalogue.OTHER: {"caller_error": 1}}
    if name == "inner":
        expected["inner"] = {"ok": 2}
    assert counted(tap.snapshot()) == expected


@pytest.mark.parametrize(
    ("inner", "arguments", "outcome"),
    [(asks_to_retry, {}, "tool_error"), (plain, {"number": "no"}, "caller_error")],
)
def test_an_agent_that_gives_up_is_an_exception_of_the_tool_that_ran_it(
    inner: Any, arguments: Any, outcome: str, tap: Tap
) -> None:
    name = inner.__name__

    async def delegate() -> Any:
        made = agent([(name, arguments)], tools=[Tool(inner, max_retries=0)])
        return (await made.run("go")).output

    assert isinstance(
        run(agent(*once("delegate"), tools=[delegate])), exceptions.UnexpectedModelBehavior
    )
    document = tap.snapshot()
    assert counted(document) == {"delegate": {"exception": 1}, name: {outcome: 1}}
    assert error_types(document)["delegate"] == {"UnexpectedModelBehavior": 1}


@pytest.fixture
def own_telemetry() -> Iterator[Any]:
    """pydantic-ai's own instrumentation, with the provider that is given to it."""
    from opentelemetry.sdk.trace import TracerProvider
    from pydantic_ai.models.instrumented import InstrumentationSettings

    def switch_on(provider: Any) -> None:
        Agent.instrument_all(
            InstrumentationSettings(tracer_provider=TracerProvider(), meter_provider=provider)
        )

    yield switch_on
    Agent.instrument_all(False)


def test_beside_the_frameworks_own_telemetry_no_call_is_counted_twice(own_telemetry: Any) -> None:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    own_telemetry(provider)
    with metertap.instrument(json_endpoint=False, meter_provider=provider) as tap:
        assert run(agent(*once("plain", "asks_to_retry"), tools=[plain, asks_to_retry])) == "done"
        document = tap.snapshot()
        data = reader.get_metrics_data()
    provider.shutdown()
    assert counted(document) == {"plain": {"ok": 1}, "asks_to_retry": {"tool_error": 1}}
    assert [tool["total_calls"] for tool in document["tool_metrics"].values()] == [1, 1]
    assert data is not None
    scopes: dict[str, set[str]] = {}
    for scope in data.resource_metrics[0].scope_metrics:
        for metric in scope.metrics:
            scopes.setdefault(metric.name, set()).add(scope.scope.name)
    assert scopes[catalogue.TOOL_DURATION.name] == {catalogue.SCOPE}
    assert "gen_ai.client.token.usage" in scopes  # its own metrics are there, and are of models
