"""One process that uses every framework: each tool once, with how it ended, in every view."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("agents")
pytest.importorskip("claude_agent_sdk")
pytest.importorskip("fastmcp")
pytest.importorskip("langchain_core")
pytest.importorskip("pydantic_ai")

import fastmcp
from agents import function_tool
from claude_agent_sdk import create_sdk_mcp_server
from claude_agent_sdk import tool as claude_tool
from langchain_core.tools import tool as langchain_tool

import metertap
from servers import openai_agents_runs, pydantic_ai_agents
from servers.otlp_receiver import receiver
from support import exposition
from support.http import get
from support.modules import importable
from support.waiting import wait_for

DISPATCHER = '''
    class Unknown(LookupError):
        """There is no such tool."""

    class Dispatcher:
        tools = {"reverse": lambda text: text[::-1]}

        async def dispatch(self, tool_name, text):
            if tool_name not in self.tools:
                raise Unknown
            return self.tools[tool_name](text)
'''
LINE = {"name": "arg:tool_name", "known": "attr:tools", "caller_errors": ["Unknown"]}

EXPECTED = {
    # By its own server; the LangChain tool that calls it is another.
    ("forecast", "mcp:weather"): {"ok": 2},
    ("broken", "mcp:weather"): {"exception": 1},
    ("ask_weather", "langchain"): {"ok": 1},
    ("careful", "langchain"): {"tool_error": 1},
    ("add", "openai-agents"): {"ok": 1, "tool_error": 1},
    ("look_up", "pydantic-ai"): {"ok": 1},
    ("_OTHER", "pydantic-ai"): {"caller_error": 1},
    ("greet", "mcp:greeter"): {"ok": 1},
    ("reverse", "configured"): {"ok": 1},
    ("_OTHER", "configured"): {"caller_error": 1},
    ("shout", "manual"): {"ok": 1},
    ("block", "manual"): {"timeout": 1},
}


@pytest.fixture
def dispatcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    made = importable("together_dispatcher", DISPATCHER, tmp_path, monkeypatch)
    yield importlib.import_module(next(made)).Dispatcher()
    next(made, None)


async def use_everything(dispatcher: Any) -> None:
    weather = fastmcp.FastMCP("weather")

    @weather.tool
    def forecast(city: str) -> str:
        return f"sun in {city}"

    @weather.tool
    def broken() -> str:
        raise KeyError("no")

    async with fastmcp.Client(weather) as client:
        await client.call_tool("forecast", {"city": "Rome"})
        await client.call_tool("broken", {}, raise_on_error=False)

        @langchain_tool
        async def ask_weather(city: str) -> str:
            """Ask the weather server."""
            return str(await client.call_tool("forecast", {"city": city}))

        await ask_weather.ainvoke({"city": "Oslo"})

    @langchain_tool
    def careful(text: str) -> str:
        """Fail, and have it handled."""
        from langchain_core.tools import ToolException

        raise ToolException(text)

    careful.handle_tool_error = True
    careful.invoke({"text": "handled"})

    @function_tool
    def add(a: int, b: int) -> int:
        """Add."""
        if a < 0:
            raise ValueError("handled: the model is told")
        return a + b

    call = openai_agents_runs.call
    await openai_agents_runs.run([add], [call("add", a=1, b=2)], [call("add", a=-1, b=2)])

    def look_up(word: str) -> str:
        return word.upper()

    turns = [[("look_up", {"word": "tap"})], [("made_up", {})]]
    await pydantic_ai_agents.agent(*turns, tools=[look_up]).run("go")

    @claude_tool("greet", "Greet.", {"name": str})
    async def greet(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": f"Hello {arguments['name']}"}]}

    greeter = create_sdk_mcp_server("greeter", tools=[greet])["instance"]
    await call_low_level(greeter, "greet", {"name": "Ada"})

    await dispatcher.dispatch("reverse", "tap")
    with pytest.raises(LookupError):
        await dispatcher.dispatch("made_up", "tap")

    metertap.tool(name="shout")(str.upper)("tap")
    with pytest.raises(TimeoutError), metertap.measure_tool("block"):
        raise TimeoutError


async def call_low_level(server: Any, name: str, arguments: dict[str, Any]) -> None:
    """Both majors of the SDK have a way to a server in memory."""
    try:
        from mcp import Client
    except ImportError:
        from mcp.shared.memory import create_connected_server_and_client_session

        async with create_connected_server_and_client_session(server) as session:
            await session.call_tool(name, arguments)
    else:
        async with Client(server) as client:
            await client.call_tool(name, arguments)


def test_every_tool_is_there_once_with_its_outcome_in_every_view(
    dispatcher: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "metertap.toml"
    lines = ", ".join(f"{key} = {value!r}" for key, value in LINE.items())
    config.write_text(f'[tools]\n"together_dispatcher:Dispatcher.dispatch" = {{ {lines} }}\n')
    monkeypatch.setenv("METERTAP_CONFIG", str(config))
    with receiver() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        with metertap.instrument(prometheus=True) as tap:
            asyncio.run(use_everything(dispatcher))
            document = tap.snapshot()["tool_metrics"]
            scraped = exposition.samples(
                get(wait_for(lambda: tap.prometheus_url) + "/metrics").body
            )
        pushed: dict[tuple[str, str], int] = {}
        for point in collector.metrics("gen_ai.execute_tool.duration")[-1].histogram.data_points:
            labels = {pair.key: pair.value.string_value for pair in point.attributes}
            key = labels["gen_ai.tool.name"], labels["metertap.outcome"]
            pushed[key] = pushed.get(key, 0) + point.count

    assert {
        (name.partition("@")[0], entry["source"]): {
            ended: calls for ended, calls in entry["outcomes"].items() if calls
        }
        for name, entry in document.items()
        if entry["total_calls"]
    } == EXPECTED
    assert all(entry["active_calls"] == 0 for entry in document.values())

    # Prometheus and collectors know names, not sources.
    together: dict[tuple[str, str], int] = {}
    for (name, _), outcomes in EXPECTED.items():
        for ended, calls in outcomes.items():
            together[name, ended] = together.get((name, ended), 0) + calls
    counted: dict[tuple[str, str], float] = {}
    for (metric, labels), value in scraped.items():
        if metric == "gen_ai_execute_tool_duration_seconds_count":
            key = dict(labels)["gen_ai_tool_name"], dict(labels)["metertap_outcome"]
            counted[key] = counted.get(key, 0) + value
    assert counted == together
    assert pushed == together
