"""What only the SDK 2.x has: rounds of questions, worker threads, requests that fit no model."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from metertap import Tap
from servers.mcp_stacks import MCP, counted, error_types, of_this_sdk
from support.waiting import wait_for

if MCP < (2,):
    pytest.skip("the SDK here is 1.x", allow_module_level=True)

import mcp_types as types
from mcp import Client, MCPError
from mcp.server import Server
from mcp.server.mcpserver import MCPServer

pytestmark = pytest.mark.mcp

sdk = of_this_sdk()
each_era = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


def raw_call(server: Any, mode: str, params: dict[str, Any]) -> None:
    """Send a `tools/call` as no client of the SDK would."""

    class Raw(types.Request[Any, str]):
        method: str = "tools/call"
        params: Any = None

    async def session() -> None:
        async with Client(server, mode=mode) as client:
            with contextlib.suppress(MCPError):
                await client.session.send_request(Raw(params=params), types.CallToolResult)

    asyncio.run(session())


@each_era
@pytest.mark.parametrize("params", [{"name": 5}, {}, {"name": "fine", "arguments": "many"}])
def test_params_that_fit_no_model_are_the_callers_error(
    mode: str, params: dict[str, Any], tap: Tap
) -> None:
    async def accept(name: str) -> str:
        return name

    raw_call(sdk.dispatcher("shop", accept), mode, params)
    assert counted(tap.snapshot()) == {"_OTHER": {"caller_error": 1}}
    assert error_types(tap.snapshot()) == {"_OTHER": {"-32602": 1}}


def test_each_round_of_questions_is_a_call_and_the_last_has_the_outcome(tap: Tap) -> None:
    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> Any:
        if params.request_state == "asked":
            return types.CallToolResult(content=sdk.text("done"))
        return types.InputRequiredResult(request_state="asked")

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[types.Tool(name="ask", input_schema={"type": "object"})]
        )

    async def session() -> None:
        server = Server("shop", on_call_tool=call_tool, on_list_tools=list_tools)
        async with Client(server) as client:
            await client.list_tools()
            await client.call_tool("ask", {})

    asyncio.run(session())
    tool = tap.snapshot()["tool_metrics"]["ask"]
    assert counted(tap.snapshot()) == {"ask": {"interim": 1, "ok": 1}}
    assert (tool["success_rate"], tool["window_samples"]) == (100.0, 1)


@each_era
@pytest.mark.parametrize("before", [0, 2], ids="{} went well".format)
def test_a_cancelled_tool_that_runs_to_its_end_in_a_thread_is_cancelled(
    mode: str, before: int, tap: Tap
) -> None:
    ended = {"waits": {"ok": before, "cancelled": 1} if before else {"cancelled": 1}}
    entered, released = threading.Event(), threading.Event()
    server = MCPServer("shop")

    @server.tool()
    def waits() -> str:
        entered.set()
        released.wait(60)
        return "never heard"

    async def session() -> None:
        async with Client(server, mode=mode) as client:
            released.set()
            for _ in range(before):
                await client.session.call_tool("waits", {})
            entered.clear()
            released.clear()
            call = asyncio.ensure_future(client.session.call_tool("waits", {}))
            assert await asyncio.to_thread(entered.wait, 60)
            call.cancel()
            await asyncio.wait([call])
            if mode == "legacy":
                await client.session.send_ping()  # behind the cancellation
            released.set()
            await asyncio.to_thread(wait_for, lambda: counted(tap.snapshot()) == ended)

    asyncio.run(session())
    assert counted(tap.snapshot()) == ended


def test_a_code_that_a_tool_raises_means_what_it_says(tap: Tap) -> None:
    codes = {
        "not_so": (types.INVALID_PARAMS, "caller_error"),
        "broken": (types.INTERNAL_ERROR, "exception"),
        "late": (types.REQUEST_TIMEOUT, "timeout"),
        "own": (4711, "exception"),
    }
    server = MCPServer("shop")
    for name, (code, _) in codes.items():

        async def refuses(code: int = code) -> str:
            raise MCPError(code, "unknown tool")

        server.tool(name)(refuses)

    async def session() -> None:
        async with Client(server) as client:
            for name in codes:
                with contextlib.suppress(MCPError):
                    await client.call_tool(name, {})

    asyncio.run(session())
    assert counted(tap.snapshot()) == {name: {ended: 1} for name, (_, ended) in codes.items()}
    assert error_types(tap.snapshot()) == {
        name: {str(code): 1} for name, (code, _) in codes.items()
    }
