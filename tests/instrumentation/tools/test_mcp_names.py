"""Which tool names become labels: those that the server answers for, never those of a client."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import metertap
from metertap import Tap, state
from metertap.alerts import counters
from metertap_instrumentation.tools.mcp.names import KnownNames, ToolList
from servers.mcp_stacks import MCP, Handle, Stack, counted, of_this_sdk, stacks
from support.metric_data import points

pytestmark = pytest.mark.mcp

sdk = of_this_sdk()
HIGH_LEVEL = [stack for stack in stacks() if stack.empty is not None]


def drive(server: Any, steps: Callable[[Any], Awaitable[object]]) -> None:
    async def session() -> None:
        async with sdk.connect(server) as session:
            await steps(session)

    asyncio.run(session())


def drive_with(stack: Stack, server: Any, steps: Callable[[Any], Awaitable[object]]) -> None:
    async def session() -> None:
        async with stack.connect(server) as session:
            await steps(session)

    asyncio.run(session())


def calling(*names: str) -> Callable[[Any], Awaitable[object]]:
    async def call(session: Any) -> None:
        for name in names:
            with contextlib.suppress(Exception):
                await session.call_tool(name, {})

    return call


async def refuse(name: str) -> str:
    raise LookupError(f"{name} is not here")


async def accept(name: str) -> str:
    return name


def answering(*known: str) -> Handle:
    async def handle(name: str) -> str:
        return name if name in known else await refuse(name)

    return handle


def test_without_a_list_a_name_is_a_label_from_its_first_answer_on(tap: Tap) -> None:
    answers = iter([False, True, False])

    async def handle(name: str) -> str:
        return name if next(answers) else await refuse(name)

    drive(sdk.dispatcher("shop", handle), calling("search", "search", "search"))
    assert counted(tap.snapshot()) == {
        "_OTHER": {"exception": 1},
        "search": {"ok": 1, "exception": 1},
    }


def test_made_up_names_leave_a_bounded_document(
    tap: Tap, reader: InMemoryMetricReader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the SDK tells of each call
    names = [f"made_up_{number}" for number in range(5000)]
    drive(sdk.dispatcher("shop", refuse), calling("_OTHER", *names))
    document = tap.snapshot()
    assert list(document["tool_metrics"]) == ["_OTHER"]
    assert document["tool_metrics"]["_OTHER"]["total_calls"] == 5001
    for metric in ("mcp.server.operation.duration", "mcp.client.operation.duration"):
        labels = {point.attributes.get("gen_ai.tool.name") for point in points(reader, metric)}
        assert labels - {None} == {"_OTHER"}


def test_a_server_that_answers_every_name_has_bounded_labels() -> None:
    with metertap.instrument(json_endpoint=False, series_limit=10) as tap:
        names = [f"made_up_{number}" for number in range(50)]
        drive(sdk.dispatcher("shop", accept), calling(*names))
        tools = tap.snapshot()["tool_metrics"]
    assert len(tools) <= 11
    assert sum(tool["successful_calls"] for tool in tools.values()) == 50


def test_listed_tools_are_in_the_document_before_their_first_call(tap: Tap) -> None:
    drive(sdk.dispatcher("shop", accept, [["b", "a"]]), lambda session: session.list_tools())
    tools = tap.snapshot()["tool_metrics"]
    assert {name: tool["total_calls"] for name, tool in tools.items()} == {"b": 0, "a": 0}


def test_every_page_of_a_list_counts_and_the_last_completes_it(tap: Tap) -> None:
    async def steps(session: Any) -> None:
        cursor = None
        for _ in range(3):
            page = await sdk.list_tools(session, cursor)
            cursor = page.nextCursor if MCP < (2,) else page.next_cursor
        await calling("one", "three", "four")(session)

    server = sdk.dispatcher("shop", answering("one"), [["one"], ["two"], ["three"]])
    drive(server, steps)
    assert counted(tap.snapshot()) == {
        "one": {"ok": 1},
        "three": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }
    assert "two" in tap.snapshot()["tool_metrics"]


def test_a_tool_on_a_page_that_nobody_read_is_not_called_unknown(tap: Tap) -> None:
    async def steps(session: Any) -> None:
        await sdk.list_tools(session, None)
        await calling("three", "four")(session)

    drive(sdk.dispatcher("shop", answering("three"), [["one"], ["three", "four"]]), steps)
    assert counted(tap.snapshot()) == {"three": {"ok": 1}, "_OTHER": {"exception": 1}}


def test_the_last_page_alone_does_not_make_the_others_unknown(tap: Tap) -> None:
    async def steps(session: Any) -> None:
        await sdk.list_tools(session, "1")  # as where another process served the first page
        await calling("one")(session)

    drive(sdk.dispatcher("shop", accept, [["one"], ["two"]]), steps)
    assert counted(tap.snapshot()) == {"one": {"ok": 1}}


def test_what_a_server_listed_outlives_a_reset(tap: Tap) -> None:
    server = sdk.dispatcher("shop", answering(), [["search"]])
    drive(server, lambda session: session.list_tools())
    metertap.reset()
    metertap.instrument(json_endpoint=False)
    drive(server, calling("search", "made_up"))
    assert counted(metertap.get_all_metrics()) == {
        "search": {"exception": 1},
        "_OTHER": {"caller_error": 1},
    }


def test_names_that_were_answered_for_are_forgotten_by_a_reset() -> None:
    known = KnownNames()
    known.learn("search")
    assert (known.label("search"), known.label("made_up")) == ("search", "_OTHER")
    metertap.reset()
    assert known.label("search") == "_OTHER"


def test_names_of_any_length_are_not_kept() -> None:
    known, listed, long = KnownNames(), ToolList(), "x" * 100_000
    known.learn(long)
    assert known.label(long) == "_OTHER"
    listed.add(["search", long], None, None)
    assert (listed.knows("search"), listed.knows("made_up")) == (True, False)
    assert listed.knows(long) is None  # it may exist


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_tool_behind_a_dispatcher_does_not_vouch_for_its_names(stack: Stack, tap: Tap) -> None:
    async def search() -> str:
        return "found"

    async def handle(name: str) -> str:
        if hasattr(behind, "call_tool"):
            await behind.call_tool("search", {})
        return await refuse(name)

    assert stack.empty is not None
    behind = stack.empty("behind")
    behind.tool()(search)
    drive(sdk.dispatcher("front", handle), calling("made_up_1", "made_up_2"))
    assert counted(tap.snapshot()) == {"_OTHER": {"exception": 2}}


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_call_in_progress_is_of_its_own_tool_though_nobody_asked_for_a_list(
    stack: Stack, tap: Tap
) -> None:
    async def search() -> str:
        seen.append(
            {name: tool["active_calls"] for name, tool in tap.snapshot()["tool_metrics"].items()}
        )
        return "found"

    async def steps(session: Any) -> None:
        await session.call_tool("search", {})
        await session.call_tool("search", {})

    seen: list[dict[str, int]] = []
    assert stack.empty is not None
    server = stack.empty("shop")
    server.tool()(search)
    drive_with(stack, server, steps)
    assert seen == [{"search": 1}, {"search": 1}]
    assert counted(tap.snapshot()) == {"search": {"ok": 2}}
    assert list(tap.snapshot()["tool_metrics"]) == ["search"]


@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_call_of_no_tool_waits_nowhere_else(stack: Stack, tap: Tap) -> None:
    async def search() -> str:
        return "found"

    assert stack.empty is not None
    server = stack.empty("shop")
    server.tool()(search)
    drive_with(stack, server, calling("made_up"))
    assert counted(tap.snapshot()) == {"_OTHER": {"caller_error": 1}}
    assert tap.snapshot()["tool_metrics"]["_OTHER"]["active_calls"] == 0


@pytest.mark.parametrize("name", ["", "_OTHER"])
@pytest.mark.parametrize("stack", HIGH_LEVEL, ids=str)
def test_a_name_that_no_tool_has_is_the_callers_error(stack: Stack, name: str, tap: Tap) -> None:
    async def search() -> str:
        return "found"

    assert stack.empty is not None
    server = stack.empty("shop")
    server.tool()(search)
    drive_with(stack, server, calling(name, name, name))  # without a list
    assert counted(tap.snapshot()) == {"_OTHER": {"caller_error": 3}}
    assert counters.read(state.recorder()).overflown == 0


def test_a_server_that_lists_other_names_each_time_has_bounded_labels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a proxy does in front of a server that invents names.
    monkeypatch.setattr("metertap_instrumentation.tools.mcp.names._LISTED_LIMIT", 30)
    pages: list[list[str]] = [[]]

    async def steps(session: Any) -> None:
        for number in range(10):
            pages[0] = [f"made_up_{number}_{item}" for item in range(10)]
            await session.list_tools()
        await calling("made_up_0_1", "made_up_9_1")(session)

    with metertap.instrument(json_endpoint=False, series_limit=10) as tap:
        drive(sdk.dispatcher("shop", accept, pages), steps)
        document = tap.snapshot()
    tools = document["tool_metrics"]
    assert sorted(tools) == sorted(["_OTHER", *(f"made_up_0_{item}" for item in range(10))])
    assert [tools[name]["successful_calls"] for name in ("made_up_0_1", "_OTHER")] == [1, 1]
    # Of the server and of its client, each with one for all others.
    assert len(document["weight_metrics"]["tools"]) <= 22


def test_a_list_that_is_too_long_calls_no_tool_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metertap_instrumentation.tools.mcp.names._LISTED_LIMIT", 3)
    listed = ToolList()
    listed.add(["a", "b"], None, None)
    assert (listed.knows("a"), listed.knows("c")) == (True, False)
    listed.add(["c", "d"], None, None)
    assert [listed.knows(name) for name in "abcd"] == [True, True, True, None]
