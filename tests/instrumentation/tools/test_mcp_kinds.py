"""What one more request of a kind is recorded to: found once, and never longer than it is right."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import catalogue
from metertap.state import recorder
from metertap_instrumentation.tools.mcp.operations import TOOLS_CALL, UNKNOWN, Kind, Kinds
from metertap_instrumentation.tools.mcp.served import Served, prompts_listed
from servers.mcp_stacks import Stack, stacks
from servers.mcp_tools import Gate
from support.metric_data import points

pytestmark = [pytest.mark.mcp, pytest.mark.usefixtures("tap")]

METRICS = ("mcp.server.operation.duration", "mcp.client.operation.duration")


def tool_calls(reader: InMemoryMetricReader, metric: str) -> dict[Any, int]:
    """How many `tools/call` requests were recorded, by tool and error type."""
    found: dict[Any, int] = {}
    for point in points(reader, metric):
        attributes = point.attributes
        if attributes["mcp.method.name"] == TOOLS_CALL:
            key = attributes["gen_ai.tool.name"], "error.type" in attributes
            found[key] = found.get(key, 0) + point.count
    return found


@pytest.mark.parametrize("stack", [item for item in stacks() if item.empty is not None], ids=str)
def test_a_session_goes_on_across_a_reset(stack: Stack) -> None:
    def note() -> str:
        return "note"

    async def session() -> None:
        assert stack.empty is not None
        server = stack.empty("shop")
        server.tool()(note)
        async with stack.connect(server) as session:
            for calls in (2, 3):
                for _ in range(calls):
                    await session.call_tool("note", {})
                figures = recorder().figures()
                assert [item.counts["ok"] for item in figures.tools if item.name == "note"] == [
                    calls
                ]
                counts = {
                    item.side: item.calls for item in figures.operations if item.name == "note"
                }
                assert counts == {"server": calls, "client": calls}
                recorder().reset()

    asyncio.run(session())


@pytest.mark.parametrize("stack", stacks(), ids=str)
def test_calls_that_end_otherwise_count_beside_those_that_go_well(
    stack: Stack, reader: InMemoryMetricReader
) -> None:
    async def session() -> None:
        async with stack.connect(stack.build(Gate())) as session:
            await session.list_tools()
            for name in ("fine", "raises", "fine", "raises", "fine"):
                with contextlib.suppress(Exception):  # some servers answer with an error
                    await session.call_tool(name, {})

    asyncio.run(session())
    for metric in METRICS:
        found = tool_calls(reader, metric)
        assert found["fine", False] == 3
        assert sum(count for (_, failed), count in found.items() if failed) == 2
    assert metertap.get_all_metrics()["tool_metrics"]["fine"]["total_calls"] == 3


def test_only_so_many_kinds_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metertap_instrumentation.tools.mcp.operations._KINDS_LIMIT", 3)
    kinds = Kinds()
    keys: list[Any] = [(TOOLS_CALL, "work", str(version), UNKNOWN) for version in range(5)]
    for key in keys:
        kinds.keep(key, Kind(catalogue.CLIENT_DURATION, key))
    assert [kinds.find(key) is not None for key in keys] == [True, True, True, False, False]
    recorder().forget_slots()
    assert [kinds.find(key) for key in keys] == [None] * 5


def test_a_prompt_is_named_once_it_is_known_to_exist() -> None:
    known, key = Served("shop"), ("prompts/get", "a prompt of this test", "1", UNKNOWN)
    assert known.kind(*key).name == catalogue.OTHER
    assert known.find_kind(key) is None
    prompts_listed(["a prompt of this test"])
    assert known.kind(*key).name == "a prompt of this test"
    assert known.find_kind(key) is not None
