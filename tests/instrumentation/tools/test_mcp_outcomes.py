"""How a tool call ended, on every server stack there is."""

from __future__ import annotations

import asyncio

import pytest

from metertap import Tap
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
