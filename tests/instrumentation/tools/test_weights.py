"""What tools weigh, as each framework's results and definitions pass."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

import metertap
from metertap import Tap

TEXT = "Zürich: 21°\n" * 3
SIZE = len(TEXT.encode())


@pytest.fixture
def tap() -> Iterator[Tap]:
    with metertap.instrument(json_endpoint=False, context_window=1000) as made:
        yield made


def weights(tap: Tap) -> dict[str, Any]:
    found: Any = tap.snapshot()["weight_metrics"]
    return {} if found is None else dict(found["tools"])


def function_size(name: str, description: str, schema: Any) -> int:
    told = {"name": name, "description": description, "parameters": schema}
    return len(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode())


def test_langchain(tap: Tap) -> None:
    tools = pytest.importorskip("langchain_core.tools")
    from langchain_core.messages import ToolMessage
    from langchain_core.utils.function_calling import convert_to_openai_function

    @tools.tool
    def weather(city: str) -> Any:
        """Tell the weather."""
        return {"s": TEXT, "d": {"t": [1, 2]}, "b": b"x"}[city]

    weather.invoke({"city": "s"})
    message = weather.invoke(
        {"type": "tool_call", "id": "1", "name": "weather", "args": {"city": "s"}}
    )
    assert isinstance(message, ToolMessage)
    weather.invoke({"city": "d"})
    weather.invoke({"city": "b"})
    found = weights(tap)["weather"]
    results = found["results"]
    assert (results["weighed"], results["unknown"], results["method"]) == (3, 1, "sample")
    assert results["total_bytes"] == 2 * SIZE + len('{"t":[1,2]}')
    assert results["max_bytes"] == SIZE
    told = convert_to_openai_function(weather)
    size = function_size(told["name"], told["description"], told["parameters"])
    assert found["definition"]["bytes"] == size
    assert found["definition"]["description_bytes"] == len('"Tell the weather."')


def test_no_percentile_lies_beyond_the_largest_result(tap: Tap) -> None:
    tools = pytest.importorskip("langchain_core.tools")

    @tools.tool
    def text(size: int) -> str:
        """Tell a text."""
        return "x" * size

    for size in (10, 20, 1000):
        text.invoke({"size": size})
    results = weights(tap)["text"]["results"]
    assert (results["p50_bytes"], results["p95_bytes"], results["max_bytes"]) == (20, 1000, 1000)
    assert results["p95_tokens"] == results["max_tokens"]
    given: Any = tap.snapshot()["weight_metrics"]
    (advice,) = [item for item in given["recommendations"] if item["kind"] == "heavy_results"]
    assert "is 1000 bytes" in advice["arithmetic"]


def test_openai_agents(tap: Tap) -> None:
    pytest.importorskip("agents")
    from agents import Agent, Runner, function_tool

    from servers.openai_agents_runs import Scripted, call, text

    @function_tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return TEXT

    model = Scripted([call("weather", city="x")], [text("done")])
    asyncio.run(Runner.run(Agent("a", tools=[weather], model=model), "go"))
    found = weights(tap)["weather"]
    assert found["results"]["total_bytes"] == SIZE
    assert found["definition"]["bytes"] == function_size(
        "weather", weather.description, weather.params_json_schema
    )


def test_pydantic_ai(tap: Tap) -> None:
    pytest.importorskip("pydantic_ai")
    from servers.pydantic_ai_agents import agent, once

    def weather(city: str) -> str:
        """Tell the weather."""
        return TEXT

    def unused(day: int) -> str:
        """Tell tomorrow's."""
        return ""

    made = agent(*once("weather", city="x"), tools=[weather, unused])
    asyncio.run(made.run("go"))
    found = weights(tap)
    assert found["weather"]["results"]["total_bytes"] == SIZE
    schema = {
        "additionalProperties": False,
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "type": "object",
    }
    size = function_size("weather", "Tell the weather.", schema)
    assert found["weather"]["definition"]["bytes"] == size
    assert found["unused"]["definition"] is not None
    assert found["unused"]["results"] is None


@pytest.mark.mcp
def test_mcp_server_and_client(tap: Tap) -> None:
    from servers.mcp_stacks import stacks

    stack = next(item for item in stacks() if item.empty is not None)
    assert stack.empty is not None
    server = stack.empty("shop")

    @server.tool()
    def weather(city: str) -> str:
        """Tell the weather."""
        return TEXT

    @server.tool()
    def fails(city: str) -> str:
        raise ValueError(TEXT)

    async def talk() -> tuple[Any, Any]:
        async with stack.connect(server) as session:
            listed = await session.list_tools()
            await session.call_tool("weather", {"city": "x"})
            assert (await session.call_tool("fails", {"city": "x"})).content
            return listed, await session.call_tool("weather", {"city": "y"})

    listed, answer = asyncio.run(talk())
    tool = next(item for item in listed.tools if item.name == "weather")
    sent = tool.model_dump_json(by_alias=True, exclude_unset=True)
    assert answer.content[0].text == TEXT
    found = weights(tap)
    for name, side in (("weather", "server"), ("weather@mcp-client", "client")):
        assert found[name]["side"] == side
        assert found[name]["definition"]["bytes"] == len(sent.encode())
        assert found[name]["results"]["weighed"] == 2
        assert found[name]["results"]["total_bytes"] == 2 * SIZE
        assert found[name]["results"]["p95_bytes"] == SIZE
    for name in ("fails", "fails@mcp-client"):  # its client gets the text of the error
        assert found[name]["results"]["weighed"] == 1


@pytest.mark.mcp
def test_off_records_nothing() -> None:
    from servers.mcp_stacks import stacks

    stack = next(item for item in stacks() if item.empty is not None)
    assert stack.empty is not None
    server = stack.empty("shop")

    @server.tool()
    def weather(city: str) -> str:
        """Tell the weather."""
        return TEXT

    async def talk() -> None:
        async with stack.connect(server) as session:
            await session.list_tools()
            await session.call_tool("weather", {"city": "x"})

    with metertap.instrument(json_endpoint=False, weight=False) as tap:
        asyncio.run(talk())
        assert tap.snapshot()["weight_metrics"] is None
        assert tap.snapshot()["tool_metrics"]["weather"]["total_calls"] == 1


def test_the_newest_langchain_tool_of_a_name_is_weighed(tap: Tap) -> None:
    tools = pytest.importorskip("langchain_core.tools")

    def defined(description: str) -> Any:
        def weather(city: str) -> str:
            return city

        return tools.tool(weather, description=description)

    def weighed() -> int:
        size: int = weights(tap)["weather"]["definition"]["description_bytes"]
        return size - len('""')

    made = defined("short")
    made.invoke({"city": "x"})
    del made  # as when the cell of a notebook is run again
    gc.collect()
    made = defined("the second")
    made.invoke({"city": "x"})
    assert weighed() == len("the second")
    kept, made = made, defined("the third one")
    made.invoke({"city": "x"})
    assert weighed() == len("the third one")
    defined("lost at once").invoke({"city": "x"})
    gc.collect()
    assert weighed() == len("the third one")
    kept.invoke({"city": "x"})
    assert weighed() == len("the second")


def test_the_newest_openai_agents_tool_of_a_name_is_weighed(tap: Tap) -> None:
    pytest.importorskip("agents")
    from agents import Agent, Runner, function_tool

    from servers.openai_agents_runs import Scripted, call, text

    def weather(city: str) -> str:
        return city

    for description in ("short", "the second"):
        tool = function_tool(weather, description_override=description)
        model = Scripted([call("weather", city="x")], [text("done")])
        asyncio.run(Runner.run(Agent("a", tools=[tool], model=model), "go"))
        found = weights(tap)["weather"]["definition"]
        assert found["description_bytes"] == len(json.dumps(description))


def test_langgraph_answers_to_unknown_tools_weigh_their_text(tap: Tap) -> None:
    prebuilt = pytest.importorskip("langgraph.prebuilt")
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool
    from langgraph.graph import MessagesState, StateGraph

    @tool
    def fails() -> str:
        """Fail."""
        raise ValueError("x" * 648)

    graph: Any = StateGraph(MessagesState)
    graph.add_node("tools", prebuilt.ToolNode([fails], handle_tool_errors=True))
    graph.set_entry_point("tools")
    runnable = graph.compile()

    def answer(name: str) -> str:
        call = {"name": name, "args": {}, "id": "1", "type": "tool_call"}
        found = runnable.invoke({"messages": [AIMessage("", tool_calls=[call])]})
        return str(found["messages"][-1].content)

    told = answer("invented")
    results = weights(tap)["_OTHER"]["results"]
    assert (results["total_bytes"], results["method"]) == (len(told.encode()), "exact")
    assert "x" * 648 in answer("fails")
    assert weights(tap)["fails"]["results"] is None  # as docs/weight.md says
