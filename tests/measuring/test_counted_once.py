"""A call that several things see is counted by the outermost, and `doctor` names the rest."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context
from importlib import import_module, util
from typing import Any

import pytest

import metertap
from metertap.measuring import calls
from support.patched_call import patched
from support.waiting import wait_for

pytestmark = [pytest.mark.interpreter, pytest.mark.mcp]

Means = Callable[[str, Callable[[], object]], None]


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


def chain_length() -> int:
    frame, length = calls.current.get(), 0
    while frame is not None:
        frame, length = frame[calls.PARENT], length + 1
    return length


@pytest.mark.parametrize("ended", [True, False], ids=["one by one", "overlapping"])
@pytest.mark.parametrize("names", [["tick"], ["tick", "tack"]], ids=len)
def test_calls_that_start_one_another_do_not_keep_one_another(
    names: list[str], ended: bool
) -> None:
    """A timer that sets itself again hands its context on for ever."""

    async def main() -> list[int]:
        loop, done, lengths = asyncio.get_running_loop(), asyncio.Event(), []
        running: set[asyncio.Task[None]] = set()

        def start(number: int) -> None:
            lengths.append(chain_length())
            if number == 500:
                done.set()
                return
            task = loop.create_task(tools[number % len(tools)](number + 1))
            running.add(task)
            task.add_done_callback(running.discard)

        async def visit(number: int) -> None:
            start(number)
            for _ in range(0 if ended else 5):
                await asyncio.sleep(0)

        tools = [metertap.tool(name=name)(visit) for name in names]
        start(0)
        await asyncio.wait_for(done.wait(), 60)
        await asyncio.gather(*running)
        return lengths

    # The last call of an earlier test is still in this test's own context.
    assert max(Context().run(asyncio.run, main())) <= 32
    assert sum(map(total, names)) == 500


def test_a_deep_recursion_keeps_all_its_calls() -> None:
    depths = []

    @metertap.tool
    def descend(depth: int) -> None:
        depths.append(chain_length())
        if depth:
            descend(depth - 1)

    descend(100)
    assert depths == list(range(1, 102))
    assert total("descend") == 101


def retried(function: Callable[..., Any]) -> Callable[..., Any]:
    """What stands between two decorators of one tool, and calls the inner one more than once."""

    @functools.wraps(function)
    def again(*args: Any) -> Any:
        function(*args)
        return function(*args)

    return again


def test_a_function_that_is_decorated_twice_is_called_once() -> None:
    @metertap.tool
    def search() -> int:
        return 1

    @metertap.tool
    async def search_later() -> int:
        return 1

    @metertap.tool
    def search_in_steps() -> Iterator[int]:
        yield 1

    assert metertap.tool(search)() == 1
    assert metertap.tool(retried(search))() == 1
    assert asyncio.run(metertap.tool(search_later)()) == 1
    assert list(metertap.tool(search_in_steps)()) == [1]
    assert (total("search"), total("search_later"), total("search_in_steps")) == (2, 1, 1)
    assert left_out() == {"search": 3, "search_later": 1, "search_in_steps": 1}


def test_what_a_plain_function_between_two_decorators_returns_is_one_call() -> None:
    """It may be a coroutine or generator of the inner one, which is run when the outer is over."""

    def passing(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def passed() -> Any:
            return function()

        return passed

    class Passing:
        def __init__(self, function: Callable[..., Any]) -> None:
            self.function = function
            functools.update_wrapper(self, function)

        def __call__(self) -> Any:
            return self.function()

    @metertap.tool
    async def search() -> int:
        await asyncio.sleep(0)
        return 1

    @metertap.tool
    async def fail() -> None:
        raise KeyError

    @metertap.tool
    def search_in_steps() -> Iterator[int]:
        yield 1

    @metertap.tool
    async def search_in_async_steps() -> AsyncIterator[int]:
        yield 1

    async def main(between: Callable[..., Any]) -> None:
        for _ in range(2):
            assert await metertap.tool(between(search))() == 1
            outer = metertap.tool(between(search))
            assert [await outer(), await outer()] == [1, 1]
            with pytest.raises(KeyError):
                await metertap.tool(between(fail))()
            assert list(metertap.tool(between(search_in_steps))()) == [1]
            steps = metertap.tool(between(search_in_async_steps))()
            assert [item async for item in steps] == [1]

    asyncio.run(main(passing))
    asyncio.run(main(Passing))
    tools = metertap.get_all_metrics()["tool_metrics"]
    assert {name: tool["total_calls"] for name, tool in tools.items()} == {
        "search": 12,
        "fail": 4,
        "search_in_steps": 4,
        "search_in_async_steps": 4,
    }
    assert tools["fail"]["failed_calls"] == 4


def test_a_method_that_calls_its_base_class_is_called_once() -> None:
    class Shop:
        @metertap.tool
        def search(self) -> int:
            return 1

    class Branch(Shop):
        @metertap.tool
        def search(self) -> int:
            return super().search() + 1

    assert Branch().search() == 2
    assert total("search") == 1


def test_blocks_in_one_another_are_one_call() -> None:
    @metertap.tool(name="search")
    def inner() -> None:
        with metertap.measure_tool("search"):
            pass

    @metertap.tool(name="search")
    def outer() -> None:
        with metertap.measure_tool("search"), metertap.measure_tool("search"):
            inner()

    for _ in range(21):
        outer()
        with metertap.measure_tool("search"), metertap.measure_tool("search"):
            inner()
    assert total("search") == 42


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda function: function,
        metertap.tool(name="descend"),
        lambda function: metertap.tool(name="descend")(lambda depth: function(depth)),
    ],
    ids=["itself", "decorated twice", "inside another"],
)
def test_a_recursion_counts_each_call_whatever_is_around_it(wrapped: Any) -> None:
    @metertap.tool
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)

    wrapped(descend)(4)
    assert total("descend") == 5


def test_a_recursion_through_both_decorators_counts_each_call_once() -> None:
    @metertap.tool
    @metertap.tool
    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)

    descend(4)
    assert total("descend") == 5


def test_a_recursion_inside_blocks_counts_each_call_once() -> None:
    @metertap.tool
    def descend(depth: int) -> None:
        with metertap.measure_tool("descend"):
            if depth:
                descend(depth - 1)

    def by_blocks(depth: int) -> None:
        with metertap.measure_tool("block"), metertap.measure_tool("block"):
            if depth:
                by_blocks(depth - 1)

    descend(4)
    with metertap.measure_tool("descend"):
        descend(4)
    by_blocks(4)
    assert (total("descend"), total("block")) == (10, 5)


def test_lookups_in_a_call_that_is_left_out_are_those_of_the_call_outside() -> None:
    meter = metertap.cache_meter("prompts")

    @metertap.tool
    def search() -> None:
        meter.hit()
        meter.miss()

    metertap.tool(search)()
    meter.hit()
    found = metertap.get_all_metrics()
    by_tool = found["cache_metrics"]["prompts"]["by_tool"]
    assert by_tool == {"search": {"hits": 1, "misses": 1, "hit_rate": 50.0}}
    assert found["tool_metrics"]["search"]["with_cache"]["missed"]["calls"] == 1


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
