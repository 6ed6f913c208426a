"""OpenAI Agents SDK: tools of MCP servers, and the SDK's own kinds of tools."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("agents.run_internal", reason="openai-agents")

import agents
from agents import Agent, Computer, RunConfig, Runner, function_tool
from agents.editor import ApplyPatchResult
from agents.mcp import MCPServer, MCPServerStdio, MCPUtil
from agents.tool_context import ToolContext
from openai.types.responses import ResponseOutputItem
from pydantic import TypeAdapter

import metertap
from metertap import Tap
from servers.openai_agents_runs import Scripted, call, outputs, run

pytestmark = pytest.mark.library("openai_agents")

SERVER = """
try:
    from mcp.server.mcpserver import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server

server = Server("shop")

@server.tool()
async def fine() -> str:
    return "isError"

@server.tool()
async def raises() -> str:
    raise ValueError("x")

@server.tool()
async def needs(number: int) -> str:
    return str(number)

server.run("stdio")
"""


def counted() -> dict[str, dict[str, int]]:
    return {
        name: {outcome: times for outcome, times in tool["outcomes"].items() if times}
        for name, tool in metertap.get_all_metrics()["tool_metrics"].items()
    }


def error_types(name: str) -> dict[str, int]:
    found: dict[str, int] = metertap.get_all_metrics()["tool_metrics"][name]["error_types"]
    return found


async def run_with(servers: list[MCPServer], tools: list[Any], *turns: list[Any]) -> Any:
    using = Agent(name="a", model=Scripted(*turns), mcp_servers=servers, tools=tools)
    return await Runner.run(using, "begin", run_config=RunConfig(tracing_disabled=True))


# MCP


def served() -> MCPServerStdio:
    params: Any = {"command": sys.executable, "args": ["-c", SERVER]}
    return MCPServerStdio(params, name="shop", client_session_timeout_seconds=30)


def test_a_tool_of_an_mcp_server_fails_when_the_server_says_so(tap: Tap) -> None:
    async def main() -> None:
        async with served() as server:
            turns = [[call("fine"), call("raises")], [call("fine")]]
            await run_with([server], [], *turns)

    asyncio.run(main())
    assert counted() == {"fine": {"ok": 2}, "raises": {"tool_error": 1}}
    assert error_types("raises") == {"tool_error": 1}
    assert tap.diagnosis()["faults"] == {}


def test_arguments_that_an_mcp_tool_cannot_take_are_the_models_error(tap: Tap) -> None:
    async def main() -> None:
        async with served() as server:
            await run_with([server], [], [call("needs", "{"), call("needs", number=1)])
            await run_with([server], [], [call("needs")])

    asyncio.run(main())
    found = counted()
    assert found["needs"]["ok"] == 1
    # Some versions leave it to the server to find that an argument is missing.
    assert found["needs"].get("caller_error", 0) + found["needs"].get("tool_error", 0) == 2
    assert error_types("needs")["ModelBehaviorError"] == 1


def test_an_mcp_result_inside_another_tool_is_that_tools_own_matter(tap: Tap) -> None:
    async def main() -> None:
        async with served() as server:

            @function_tool
            async def careful() -> str:
                await server.call_tool("raises", {})
                return "never mind"

            await run_with([], [careful], [call("careful")])

    asyncio.run(main())
    assert counted() == {"careful": {"ok": 1}}


def test_a_tool_of_an_mcp_server_that_another_tool_runs_by_hand_is_that_ones_own_matter(
    tap: Tap,
) -> None:
    async def main() -> None:
        async with served() as server:
            asked = [tool for tool in await server.list_tools() if tool.name == "raises"]
            (raises,) = (MCPUtil.to_function_tool(tool, server, False) for tool in asked)

            @function_tool
            async def careful(context: ToolContext[Any]) -> str:
                await raises.on_invoke_tool(context, "{}")
                return "never mind"

            await run_with([], [careful, raises], [call("careful"), call("raises")])

    asyncio.run(main())
    assert counted() == {"careful": {"ok": 1}, "raises": {"tool_error": 1}}


# The SDK's own kinds

_item: TypeAdapter[Any] = TypeAdapter(ResponseOutputItem)


class Screen(Computer):
    environment = "browser"
    dimensions = (8, 8)
    fails = False

    def screenshot(self) -> str:
        if self.fails:
            raise OSError("no screen")
        return "aGk="

    def click(self, *_args: Any) -> None: ...
    def double_click(self, *_args: Any) -> None: ...
    def scroll(self, *_args: Any) -> None: ...
    def type(self, *_args: Any) -> None: ...
    def wait(self) -> None: ...
    def move(self, *_args: Any) -> None: ...
    def keypress(self, *_args: Any) -> None: ...
    def drag(self, *_args: Any) -> None: ...


class Broken(Screen):
    fails = True


class Editor:
    def __init__(self, result: Any = None) -> None:
        self._result = result

    def create_file(self, _operation: Any) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    update_file = delete_file = create_file


def item(kind: str, **more: Any) -> Any:
    """An item of a model's answer that calls a tool."""
    found = {"type": kind, "id": kind, "call_id": kind, "status": "completed", **more}
    return _item.validate_python(found)


def look() -> Any:
    return item("computer_call", pending_safety_checks=[], action={"type": "screenshot"})


def shell_call() -> Any:
    return item("shell_call", action={"commands": ["true"]})


def local_shell_call() -> Any:
    return item("local_shell_call", action={"type": "exec", "command": ["true"], "env": {}})


def patch_call() -> Any:
    operation = {"type": "create_file", "path": "a", "diff": "+a"}
    return item("apply_patch_call", operation=operation)


def custom_call() -> Any:
    return item("custom_tool_call", name="own", input="x")


def raising(_request: Any, *_more: Any) -> str:
    raise LookupError("x")


def saying(_request: Any, *_more: Any) -> str:
    return "failed"


def tool(kind: str, *args: Any, **options: Any) -> Any:
    made = getattr(agents, kind, None)
    if made is None:
        pytest.skip(f"this version has no {kind}")
    return made(*args, **options)


def custom(function: Any, **options: Any) -> Any:
    return tool("CustomTool", name="own", description="", on_invoke_tool=function, **options)


@pytest.mark.parametrize(
    ("make", "asked", "outcome", "error_type"),
    [
        (lambda: tool("ComputerTool", Screen()), look, "ok", None),
        (lambda: tool("ComputerTool", Broken()), look, "exception", "OSError"),
        (lambda: tool("ShellTool", saying), shell_call, "ok", None),
        (lambda: tool("ShellTool", raising), shell_call, "tool_error", "LookupError"),
        (lambda: tool("LocalShellTool", saying), local_shell_call, "ok", None),
        (lambda: tool("LocalShellTool", raising), local_shell_call, "exception", "LookupError"),
        (lambda: tool("ApplyPatchTool", Editor()), patch_call, "ok", None),
        (
            lambda: tool("ApplyPatchTool", Editor(ApplyPatchResult(status="failed"))),
            patch_call,
            "tool_error",
            "tool_error",
        ),
        (
            lambda: tool("ApplyPatchTool", Editor(LookupError())),
            patch_call,
            "tool_error",
            "LookupError",
        ),
        (lambda: custom(saying), custom_call, "ok", None),
        (lambda: custom(raising), custom_call, "tool_error", "LookupError"),
    ],
)
def test_a_call_of_the_sdks_own_kinds_is_counted_as_what_it_ended(
    tap: Tap,
    make: Callable[[], Any],
    asked: Callable[[], Any],
    outcome: str,
    error_type: str | None,
) -> None:
    used = make()
    ends_the_run = pytest.raises((OSError, LookupError, agents.UserError))
    with ends_the_run if outcome == "exception" else contextlib.nullcontext():
        asyncio.run(run([used], [asked()]))
    assert counted() == {used.name: {outcome: 1}}
    assert error_types(used.name) == ({} if error_type is None else {error_type: 1})
    assert metertap.get_all_metrics()["tool_metrics"][used.name]["active_calls"] == 0
    assert tap.diagnosis()["faults"] == {}


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (lambda: tool("ShellTool", saying, needs_approval=True), shell_call),
        (lambda: tool("ApplyPatchTool", Editor(), needs_approval=True), patch_call),
        (lambda: custom(saying, needs_approval=True), custom_call),
    ],
)
@pytest.mark.parametrize("approved", [True, False])
def test_a_call_that_waits_for_approval_or_is_denied_it_did_not_happen(
    tap: Tap, make: Callable[[], Any], asked: Callable[[], Any], approved: bool
) -> None:
    used = make()

    async def main() -> Any:
        using: Agent[Any] = Agent(name="a", model=Scripted([asked()]), tools=[used])
        result = await Runner.run(using, "begin")
        assert not counted().get(used.name)
        state = result.to_state()
        decide = state.approve if approved else state.reject
        decide(result.interruptions[0])
        return await Runner.run(using, state)

    result = asyncio.run(main())
    assert result.final_output == "done"
    assert counted()[used.name] == ({"ok": 1} if approved else {})
    assert metertap.get_all_metrics()["tool_metrics"][used.name]["active_calls"] == 0


def test_a_kind_that_the_agent_has_not_is_the_models_error(tap: Tap) -> None:
    with pytest.raises(agents.ModelBehaviorError):
        asyncio.run(run([], [look()]))
    assert counted() == {"_OTHER": {"caller_error": 1}}


def test_their_results_are_what_they_were() -> None:
    def once() -> list[Any]:
        tools = [tool("ShellTool", raising), tool("ApplyPatchTool", Editor(LookupError("x")))]
        return outputs(asyncio.run(run(tools, [shell_call(), patch_call()])))

    plain = once()
    with metertap.instrument(json_endpoint=False):
        assert once() == plain
