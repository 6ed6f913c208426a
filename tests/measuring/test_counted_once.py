"""A call that several things see is counted by the outermost, and `doctor` names the rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module, util
from typing import Any

import pytest

import metertap
from metertap import state
from metertap.measuring import calls
from support.waiting import wait_for

Means = Callable[[str, Callable[[], object]], None]


@contextlib.contextmanager
def patched(name: str) -> Iterator[None]:
    """A call as an instrumentor counts it."""
    recorder = state.recorder()
    call = calls.Call(recorder, name, "library", calls.PATCH)
    call.start(recorder.tool(name, "library"))
    yield
    call.finish(None)


def by_patch(name: str, body: Callable[[], object]) -> None:
    with patched(name):
        body()


def by_decorator(name: str, body: Callable[[], object]) -> None:
    metertap.tool(name=name)(body)()


def by_block(name: str, body: Callable[[], object]) -> None:
    with metertap.measure_tool(name):
        body()


def by_record(name: str, body: Callable[[], object]) -> None:
    metertap.record_tool_call(name, True)
    body()


def nothing() -> None:
    pass


def total(name: str) -> int:
    tools = metertap.get_all_metrics()["tool_metrics"]
    return sum(tool["total_calls"] for key, tool in tools.items() if key.partition("@")[0] == name)


def left_out() -> dict[str, int]:
    with metertap.instrument(json_endpoint=False) as tap:
        found: dict[str, int] = tap.diagnosis()["left_out_duplicates"]
    return found


@pytest.mark.parametrize("outer", [by_patch, by_decorator, by_block])
@pytest.mark.parametrize("inner", [by_decorator, by_block, by_record])
def test_a_call_inside_one_of_the_same_tool_counts_only_by_the_same_means(
    outer: Means, inner: Means
) -> None:
    """By the same means it is a call of its own: here, a block that is inside itself."""
    outer("search", lambda: inner("search", nothing))
    again = outer == inner == by_block
    assert total("search") == (2 if again else 1)
    assert left_out() == ({} if again else {"search": 1})


@pytest.mark.parametrize("inner", [by_decorator, by_block, by_record])
def test_a_call_inside_one_of_another_tool_is_counted(inner: Means) -> None:
    by_patch("dispatch", lambda: inner("search", nothing))
    assert (total("dispatch"), total("search")) == (1, 1)
    assert left_out() == {}


def test_a_call_further_out_counts_too() -> None:
    with patched("search"), metertap.measure_tool("fetch"):
        by_decorator("rank", lambda: metertap.record_tool_call("search", True))
    assert total("search") == 1
    assert left_out() == {"search": 1}


def test_between_two_items_a_generators_call_is_not_around_its_consumer() -> None:
    @metertap.tool
    def search() -> Iterator[int]:
        yield 1
        yield 2

    for _ in search():
        metertap.record_tool_call("search", True)
    assert total("search") == 3
    assert left_out() == {}


def test_inside_its_steps_a_generators_call_is_in_progress() -> None:
    @metertap.tool
    def search() -> Iterator[int]:
        metertap.record_tool_call("search", True)
        yield 1
        metertap.record_tool_call("search", True)

    assert list(search()) == [1]
    assert total("search") == 1
    assert left_out() == {"search": 2}


def test_a_call_that_is_over_counts_nothing_that_comes_later() -> None:
    """A task started inside a call keeps its context."""

    async def main() -> None:
        ended = asyncio.Event()

        async def afterwards() -> None:
            await ended.wait()
            metertap.record_tool_call("search", True)

        with patched("search"):
            task = asyncio.create_task(afterwards())
        ended.set()
        await task

    asyncio.run(main())
    assert total("search") == 2


def test_calls_that_start_one_another_do_not_keep_one_another() -> None:
    """A timer that sets itself again hands its context on for ever."""

    async def main() -> None:
        loop, done, ticks = asyncio.get_running_loop(), asyncio.Event(), 0

        @metertap.tool
        def tick() -> None:
            nonlocal ticks
            ticks += 1
            if ticks < 50:
                loop.call_soon(tick)
            else:
                frame, chain = calls.current.get(), 0
                while frame is not None:
                    frame, chain = frame[calls.PARENT], chain + 1
                assert chain <= 3
                done.set()

        tick()
        await asyncio.wait_for(done.wait(), 10)

    asyncio.run(main())
    assert total("tick") == 50


def test_threads_that_copy_the_context_are_inside_the_call() -> None:
    async def main() -> None:
        with patched("search"):
            await asyncio.to_thread(metertap.record_tool_call, "search", True)

    asyncio.run(main())
    assert total("search") == 1


def test_names_of_what_was_left_out_are_bounded() -> None:
    for number in range(300):
        name = f"{number}" * 1000
        with patched(name):
            metertap.record_tool_call(name, True)
    found = left_out()
    assert len(found) <= 101
    assert sum(found.values()) == 300
    assert max(map(len, found)) <= 200


@pytest.mark.skipif(util.find_spec("mcp") is None, reason="mcp is not installed")
def test_a_record_by_hand_in_a_tool_of_a_real_server_is_left_out() -> None:
    stacks = import_module("servers.mcp_stacks").stacks()

    async def call(connect: Callable[[Any], Any], server: Any) -> None:
        async with connect(server) as session:
            await session.call_tool("search", {})

    for stack in stacks:
        if stack.empty is None:
            continue
        metertap.reset()
        with metertap.instrument(json_endpoint=False) as tap:
            server = stack.empty("shop")

            @server.tool()
            @metertap.tool
            def search() -> str:
                with metertap.measure_tool("search"):
                    metertap.record_tool_call("search", success=True, latency_ms=1.0)
                return "found"

            asyncio.run(call(stack.connect, server))
            found = wait_for(lambda: tap.snapshot()["tool_metrics"])
            sources = [tool["source"] for tool in found.values() if tool["total_calls"]]
            assert sources == ["mcp:shop"], stack
            assert tap.diagnosis()["left_out_duplicates"] == {"search": 3}, stack
