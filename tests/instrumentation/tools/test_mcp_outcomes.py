"""How a tool call ended, on every server stack there is."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from metertap import Tap
from metertap.state import recorder
from servers.mcp_stacks import Stack, counted, end, error_types, stacks
from servers.mcp_tools import Ending, Gate

pytestmark = pytest.mark.mcp

CASES = [
    pytest.param(stack, ending, id=f"{stack}: {ending}")
    for stack in stacks()
    for ending in stack.endings
]


@pytest.mark.parametrize(("stack", "ending"), CASES)
def test_a_call_is_counted_once_with_its_outcome(stack: Stack, ending: Ending, tap: Tap) -> None:
    async def call() -> None:
        gate = Gate()
        async with stack.connect(stack.build(gate)) as session:
            await end(stack, session, ending, gate)

    asyncio.run(call())
    document = tap.snapshot()
    label = ending.label or ending.tool
    assert counted(document) == {label: {ending.outcome: 1}}
    assert error_types(document) == ({label: {ending.error_type: 1}} if ending.error_type else {})
    assert {tool["active_calls"] for tool in document["tool_metrics"].values()} == {0}


@pytest.mark.parametrize("stack", [stack for stack in stacks() if stack.empty is not None], ids=str)
def test_a_call_of_a_tool_that_went_well_before_is_counted_as_it_ends_now(
    stack: Stack, tap: Tap
) -> None:
    fails = iter([False, False, True, False])

    def works() -> str:
        if next(fails):
            raise KeyError("odd")
        return "done"

    async def call() -> float:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.tool()(works)
        async with stack.connect(server) as session:
            await session.list_tools()
            started = time.perf_counter()
            for _ in range(4):
                with contextlib.suppress(Exception):
                    await session.call_tool("works", {})
            return time.perf_counter() - started

    seconds = asyncio.run(call())
    document = tap.snapshot()
    assert counted(document) == {"works": {"ok": 3, "exception": 1}}
    assert error_types(document) == {"works": {"KeyError": 1}}
    requests = [it for it in recorder().figures().operations if it.name == "works"]
    assert {it.side for it in requests} == {"server", "client"}
    for request in requests:
        assert request.calls == 4
        assert 0.0 < request.total_ms / 1000 <= seconds
    assert document["tool_metrics"]["works"]["total_latency_ms"] / 1000 <= seconds
