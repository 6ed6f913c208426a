"""A call that has several functions run in threads at once: its time is that in which one runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import metertap
from metertap.measuring import calls, frameworks, in_threads
from metertap.measuring.in_threads import timed_in_thread
from support.stopped_clock import StoppedClock, stopped

pytestmark = pytest.mark.interpreter
WAIT, WORK = 1, 4


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, frameworks, in_threads)


@pytest.mark.parametrize("cancels", [False, True])
def test_only_the_time_in_which_all_of_them_wait_is_taken_off(
    cancels: bool, framework: Any, clock: StoppedClock
) -> None:
    async def body() -> None:
        is_free, all_ran, is_heard = asyncio.Event(), asyncio.Event(), asyncio.Event()
        ran: list[bool] = []

        async def in_thread(function: Callable[[], None]) -> None:
            await is_free.wait()
            function()
            ran.append(True)
            if len(ran) == len(tasks):
                all_ran.set()
            await is_heard.wait()

        def work() -> None:
            clock.takes(WORK)

        run = timed_in_thread(framework.handlers)(in_thread, [True])
        tasks = [asyncio.ensure_future(run(work)) for _ in range(3)]
        await asyncio.sleep(0)
        if cancels:
            tasks.pop().cancel()
            await asyncio.sleep(0)
        clock.takes(WAIT)
        is_free.set()
        await all_ran.wait()
        clock.takes(WAIT)
        is_heard.set()
        await asyncio.gather(*tasks)

    framework.tools["search"] = lambda: asyncio.run(body())
    framework.run("search")
    figures = metertap.get_all_metrics()["tool_metrics"]["search"]
    assert figures["total_latency_ms"] == (2 if cancels else 3) * WORK * 1000


def test_one_that_begins_after_nobody_waits_for_it_takes_nothing_off(
    framework: Any, clock: StoppedClock
) -> None:
    async def body() -> None:
        begins: list[Callable[[], None]] = []

        async def in_thread(function: Callable[[], None]) -> None:
            begins.append(function)
            await asyncio.sleep(60)

        run = timed_in_thread(framework.handlers)(in_thread, [True])
        waiting = asyncio.ensure_future(run(lambda: None))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        clock.takes(WORK)
        begins[0]()  # its thread is free now, and the tool goes on without it
        clock.takes(WORK)

    framework.tools["search"] = lambda: asyncio.run(body())
    framework.run("search")
    figures = metertap.get_all_metrics()["tool_metrics"]["search"]
    assert figures["total_latency_ms"] == 2 * WORK * 1000


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("is_passed", [True, False])
def test_of_one_that_takes_any_arguments_the_function_is_found_by_its_place(
    place: int, is_passed: bool, framework: Any, clock: StoppedClock
) -> None:
    """As functions do that wrap the framework's own, such as another instrumentation's."""

    async def in_thread(*args: Any, **kwargs: Any) -> int:
        clock.takes(WAIT)
        function: Callable[..., int] = args[place] if is_passed else kwargs["function"]
        return function(*args[place + 1 :])

    def work(number: int = 3) -> int:
        clock.takes(WORK)
        return number

    run = timed_in_thread(framework.handlers, place)(in_thread, [True])
    given = ("config",) * place
    call = run(*given, work, 7) if is_passed else run(function=work)
    framework.tools["search"] = lambda: asyncio.run(call)
    assert framework.run("search") == (7 if is_passed else 3)
    figures = metertap.get_all_metrics()["tool_metrics"]["search"]
    assert figures["total_latency_ms"] == (WORK if is_passed else WAIT + WORK) * 1000
