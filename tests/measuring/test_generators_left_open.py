"""An async generator that nobody finishes is cleaned up as the plain one is."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

import pytest

import metertap

pytestmark = pytest.mark.interpreter

Items = Callable[[list[Any]], AsyncGenerator[int, None]]


async def waiting(log: list[Any]) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        log.append(sys.exc_info()[0])
        await asyncio.sleep(0.001)
        log.append("cleaned")


async def failing(log: list[Any]) -> AsyncGenerator[int, None]:
    try:
        yield 1
    finally:
        await asyncio.sleep(0)
        log.append("failing")
        raise ValueError("in the clean-up")


async def staying(log: list[Any]) -> AsyncGenerator[int, None]:
    try:
        yield 1
    except GeneratorExit:
        log.append("staying")
        yield 2


async def at_once(log: list[Any]) -> AsyncGenerator[int, None]:
    try:
        yield 1
    finally:
        log.append("cleaned")


async def nested(log: list[Any]) -> AsyncGenerator[int, None]:
    async for item in waiting(log):
        yield item


async def kept(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Open when the loop ends."""
    generator = items(log)
    keep.append(generator)
    async for _ in generator:
        break


async def several(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Several of them are open when the loop ends."""
    for _ in range(3):
        await kept(items, log, keep)


async def dropped(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Abandoned while the loop runs."""
    async for _ in items(log):
        break
    gc.collect()
    for _ in range(5):
        await asyncio.sleep(0.002)
    log.append("the program goes on")


async def never_started(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Made, and that is all."""
    keep.append(items(log))


async def cancelled(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Its consumer is cancelled between two items."""

    async def consume() -> None:
        async for _ in items(log):
            await asyncio.sleep(60)

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    del task


async def closed_by_the_program(items: Items, log: list[Any], keep: list[Any]) -> None:
    """Closed in another task than it was started in."""
    await kept(items, log, keep)
    try:
        await asyncio.create_task(keep[0].aclose())
    except Exception as error:
        log.append(repr(error))


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


def run_and_abandon(main: Coroutine[Any, Any, None]) -> None:
    """End the loop as programs do that do not know of open generators."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def events_of(
    items: Items,
    use: Callable[[Items, list[Any], list[Any]], Awaitable[None]],
    runner: Callable[[Coroutine[Any, Any, None]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Any]:
    """What the program, the loop's exception handler and the interpreter see, in order."""
    log: list[Any] = []
    keep: list[Any] = []

    def shown(text: object) -> str:
        return re.sub("0x[0-9a-f]+", "0x…", str(text))

    def handler(_loop: object, context: dict[str, Any]) -> None:
        log.append((shown(context["message"]), repr(context.get("exception"))))

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(handler)
        await use(items, log, keep)

    def unraisable(event: Any) -> None:
        log.append(("unraisable", repr(event.exc_value), shown(event.object)))

    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    runner(main())
    keep.clear()
    gc.collect()
    return log


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("runner", [run, run_and_abandon])
@pytest.mark.parametrize(
    "use", [kept, several, dropped, never_started, cancelled, closed_by_the_program]
)
@pytest.mark.parametrize("items", [waiting, failing, staying, at_once, nested])
def test_the_loop_sees_what_it_sees_of_the_plain_generator(
    items: Any, use: Any, runner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = events_of(items, use, runner, monkeypatch)
    measured = events_of(metertap.tool(items), use, runner, monkeypatch)
    assert measured == plain


def test_one_that_is_closed_early_is_cancelled_and_has_not_failed() -> None:
    decorated = metertap.tool(waiting)
    with metertap.instrument(json_endpoint=False):
        asyncio.run(kept(decorated, [], keep := []))
        del keep
        found = metertap.get_all_metrics()["tool_metrics"]["waiting"]
    assert (found["total_calls"], found["cancelled_calls"], found["failed_calls"]) == (1, 1, 0)


def test_hooks_of_the_program_are_told_of_one_generator_and_stay() -> None:
    started: list[str] = []

    async def consume() -> None:
        sys.set_asyncgen_hooks(firstiter=lambda made: started.append(made.__qualname__))
        hooks = sys.get_asyncgen_hooks()
        async for _ in metertap.tool(at_once)([]):
            assert sys.get_asyncgen_hooks() == hooks

    asyncio.run(consume())
    assert started == ["at_once"]
