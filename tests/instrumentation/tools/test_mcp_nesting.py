"""Calls within calls: each request is counted once, and answers for itself alone."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from metertap import Tap
from servers.mcp_stacks import MCP, Stack, counted, error_types, of_this_sdk, stacks

pytestmark = pytest.mark.mcp

sdk = of_this_sdk()
HIGH_LEVEL = [stack for stack in stacks() if stack.empty is not None]
IN_PROCESS = [  # fastmcp has it since 3
    stack for stack in HIGH_LEVEL if hasattr(stack.empty, "call_tool")
]
each_stack = pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
each_in_process = pytest.mark.parametrize("stack", IN_PROCESS, ids=str)


def run(stack: Stack, server: Any, *names: str) -> None:
    """Call each of `names` without arguments."""

    async def calls() -> None:
        async with stack.connect(server) as session:
            for name in names:
                with contextlib.suppress(Exception):
                    await session.call_tool(name, {})

    asyncio.run(calls())


def server_of(stack: Stack, name: str, *functions: Any) -> Any:
    assert stack.empty is not None
    server = stack.empty(name)
    for function in functions:
        server.tool()(function)
    return server


async def fine() -> str:
    return "fine"


async def raises() -> str:
    raise ValueError("unknown tool")


async def needs_a_number(number: int) -> str:
    return str(number)


@each_in_process
def test_a_tool_that_calls_another_in_the_process_is_one_call(stack: Stack, tap: Tap) -> None:
    async def outer() -> str:
        await server.call_tool("fine", {})
        return "done"

    server = server_of(stack, "shop", outer, fine)
    run(stack, server, "outer")
    assert counted(tap.snapshot()) == {"outer": {"ok": 1}}


@each_in_process
@pytest.mark.parametrize(
    ("inner", "outcome", "error_type"),
    [
        ("raises", "exception", "ValueError"),
        ("needs_a_number", "exception", "ValidationError"),  # wrong arguments, but a tool's own
    ],
)
def test_what_an_inner_call_raises_is_the_outer_tools_failure(
    stack: Stack, inner: str, outcome: str, error_type: str, tap: Tap
) -> None:
    async def outer() -> str:
        await server.call_tool(inner, {})
        return "never"

    server = server_of(stack, "shop", outer, raises, needs_a_number)
    run(stack, server, "outer")
    assert counted(tap.snapshot()) == {"outer": {outcome: 1}}
    assert error_types(tap.snapshot()) == {"outer": {error_type: 1}}


@each_in_process
def test_an_inner_call_of_an_unknown_tool_is_no_callers_error(stack: Stack, tap: Tap) -> None:
    async def outer() -> str:
        await server.call_tool("made_up", {})
        return "never"

    server = server_of(stack, "shop", outer)
    run(stack, server, "outer")
    assert tap.snapshot()["tool_metrics"]["outer"]["failed_calls"] == 1


@each_in_process
def test_an_error_that_a_tool_handles_is_none(stack: Stack, tap: Tap) -> None:
    async def outer() -> str:
        with contextlib.suppress(Exception):
            await server.call_tool("raises", {})
        return "done"

    server = server_of(stack, "shop", outer, raises)
    run(stack, server, "outer")
    assert counted(tap.snapshot()) == {"outer": {"ok": 1}}


@each_in_process
def test_an_error_that_a_dispatcher_makes_good_is_none(stack: Stack, tap: Tap) -> None:
    async def handle(name: str) -> str:
        with contextlib.suppress(Exception):
            await behind.call_tool(name, {})
        return "made good"

    behind = server_of(stack, "behind", raises)
    front = sdk.dispatcher("front", handle)

    async def session() -> None:
        async with sdk.connect(front) as session:
            await session.call_tool("raises", {})

    with contextlib.suppress(Exception):  # a client of 2.x asks for a list, and there is none
        asyncio.run(session())
    assert counted(tap.snapshot()) == {"raises": {"ok": 1}}


@each_stack
def test_a_tool_that_calls_another_server_makes_two_calls(stack: Stack, tap: Tap) -> None:
    async def front() -> str:
        async with stack.connect(back) as session:
            await session.call_tool("raises", {})
        return "done"

    back = server_of(stack, "back", raises)
    run(stack, server_of(stack, "front", front), "front")
    document = tap.snapshot()
    assert counted(document) == {"front": {"ok": 1}, "raises": {"exception": 1}}
    sources = {name: tool["source"] for name, tool in document["tool_metrics"].items()}
    assert (sources["front"], sources["raises"]) == ("mcp:front", "mcp:back")


@each_stack
def test_a_refusal_by_another_server_is_no_error_of_this_ones_caller(
    stack: Stack, tap: Tap
) -> None:
    async def front() -> str:
        async with stack.connect(back) as session:
            try:
                await session.get_prompt("made_up")
            except Exception as error:
                refusal = error
        raise refusal  # out here, where no task group puts it into an ExceptionGroup

    back = server_of(stack, "back", fine)
    run(stack, server_of(stack, "front", front), "front")
    assert counted(tap.snapshot()) == {"front": {"exception": 1}}
    assert error_types(tap.snapshot()) == {"front": {"McpError" if MCP < (2,) else "MCPError": 1}}


@each_stack
def test_every_try_of_a_client_is_a_call(stack: Stack, tap: Tap) -> None:
    tries: list[int] = []

    async def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("timed out")
        return "done"

    run(stack, server_of(stack, "shop", flaky), "flaky", "flaky", "flaky")
    assert counted(tap.snapshot()) == {"flaky": {"exception": 2, "ok": 1}}


@each_stack
def test_equal_names_of_two_servers_stay_apart(stack: Stack, tap: Tap) -> None:
    for name in ("one", "two"):
        run(stack, server_of(stack, name, fine), "fine")
    tools = tap.snapshot()["tool_metrics"]
    assert {tool["source"]: tool["total_calls"] for tool in tools.values()} == {
        "mcp:one": 1,
        "mcp:two": 1,
    }


@each_stack
def test_calls_at_the_same_time_do_not_mix(stack: Stack, tap: Tap) -> None:
    async def slowly() -> str:
        await asyncio.sleep(0)
        return "fine"

    async def slowly_raises() -> str:
        await asyncio.sleep(0)
        raise ValueError("unknown tool")

    async def session() -> None:
        async with stack.connect(server) as session:
            names = ["slowly", "slowly_raises", "made_up"] * 20
            await asyncio.gather(*(session.call_tool(name, {}) for name in names))

    server = server_of(stack, "shop", slowly, slowly_raises)
    asyncio.run(session())
    assert counted(tap.snapshot()) == {
        "slowly": {"ok": 20},
        "slowly_raises": {"exception": 20},
        "_OTHER": {"caller_error": 20},
    }
