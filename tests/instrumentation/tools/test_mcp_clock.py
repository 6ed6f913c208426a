"""A tool call takes as long as its handler, whatever the framework logs and validates around it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from pydantic import BaseModel, field_serializer, field_validator

from metertap import Tap
from metertap.state import recorder
from servers.mcp_stacks import MCP, Stack, of_this_sdk, stacks
from support.intervals import SlowLog, Steps, is_the_handlers

sdk = of_this_sdk()
STACKS = stacks()
HANDLER = 0.02
"""What a handler takes, in seconds."""
AROUND = 0.1
"""What each record of the log takes, and each validation of an answer."""
handlers = Steps()
"""When the handlers of this file ran."""
answering = Steps()
"""When an answer was validated or written."""
asking = Steps()
"""When arguments were validated."""


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    handlers.made.clear()
    answering.made.clear()
    asking.made.clear()


@pytest.fixture
def slow_log() -> Iterator[SlowLog]:
    handler = SlowLog(AROUND, logging.INFO)
    root = logging.getLogger()
    fastmcp = logging.getLogger("fastmcp")
    loggers = [root, *([] if fastmcp.propagate else [fastmcp])]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    # What tells of a slow callback of the event loop would be slow itself.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    yield handler
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)
    logging.getLogger("asyncio").setLevel(logging.NOTSET)


class Answer(BaseModel):
    """Takes its time to be validated and to be written."""

    number: int

    @field_validator("number")
    @classmethod
    def slowly(cls, number: int) -> int:
        with answering.step():
            time.sleep(AROUND)
        return number

    @field_serializer("number")
    def slowly_too(self, number: int) -> int:
        with answering.step():
            time.sleep(AROUND)
        return number


class Question(BaseModel):
    """Takes its time to be validated."""

    number: int

    @field_validator("number")
    @classmethod
    def slowly(cls, number: int) -> int:
        with asking.step():
            time.sleep(AROUND)
        return number


async def asks(question: Question) -> str:
    with handlers.step():
        await asyncio.sleep(HANDLER)
    return str(question.number)


def asks_plainly(question: Question) -> str:
    with handlers.step():
        time.sleep(HANDLER)
    return str(question.number)


def fails_plainly(question: Question) -> str:
    with handlers.step():
        time.sleep(HANDLER)
    raise KeyError(question.number)


def runs_plainly() -> str:
    with handlers.step():
        time.sleep(HANDLER)
    return "done"


async def succeeds() -> str:
    with handlers.step():
        await asyncio.sleep(HANDLER)
    return "done"


async def fails() -> str:
    with handlers.step():
        await asyncio.sleep(HANDLER)
    raise KeyError("odd")


async def answers() -> Answer:
    with handlers.step():
        await asyncio.sleep(HANDLER)
    return Answer.model_construct(number=1)


def build(stack: Stack) -> Any:
    tools: dict[str, Any] = {"succeeds": succeeds, "fails": fails}
    if stack.empty is None:

        async def handle(name: str) -> str:
            return str(await tools[name]())

        return sdk.dispatcher("shop", handle, [list(tools)])
    server = stack.empty("shop")
    more = (answers, asks, asks_plainly, fails_plainly, runs_plainly)
    for function in (*tools.values(), *more):
        server.tool()(function)
    return server


def published(tool: str) -> float:
    """Seconds of the one call, as they are published."""
    [figures] = [item for item in recorder().figures().tools if item.name == tool]
    assert figures.sampled == 1
    return figures.total_ms / 1000


def took(stack: Stack, tool: str, **arguments: Any) -> float:
    """Call a tool once, and return the seconds that are published."""

    async def call() -> None:
        async with stack.connect(build(stack)) as session:
            await session.list_tools()
            with contextlib.suppress(Exception):
                await session.call_tool(tool, arguments)

    asyncio.run(call())
    return published(tool)


def operation(tool: str) -> float:
    """Seconds of the one request, as the server saw it."""
    [seconds] = [
        item.total_ms / 1000
        for item in recorder().figures().operations
        if (item.side, item.name) == ("server", tool)
    ]
    return seconds


@pytest.mark.parametrize("tool", ["succeeds", "fails"])
@pytest.mark.parametrize("stack", STACKS, ids=str)
def test_a_frameworks_log_is_not_the_handlers_time(
    stack: Stack, tool: str, tap: Tap, slow_log: SlowLog
) -> None:
    seconds = took(stack, tool)
    [handler] = handlers.made
    assert is_the_handlers(seconds, handler, slow_log.records)
    if tool == "fails" and stack.empty is not None and (MCP >= (2,) or "fastmcp" in stack.name):
        assert slow_log.records.made
        assert operation(tool) >= HANDLER + AROUND


@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack.empty], ids=str)
def test_making_an_answer_is_not_the_handlers_time(stack: Stack, tap: Tap) -> None:
    seconds = took(stack, "answers")
    [handler] = handlers.made
    assert answering.made
    assert is_the_handlers(seconds, handler, answering)
    assert operation("answers") >= HANDLER + AROUND


@pytest.mark.parametrize("tool", ["asks", "asks_plainly", "fails_plainly"])
@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack.empty], ids=str)
def test_validating_arguments_is_not_the_handlers_time(stack: Stack, tool: str, tap: Tap) -> None:
    seconds = took(stack, tool, question={"number": 1})
    [handler] = handlers.made
    assert asking.made
    assert is_the_handlers(seconds, handler, asking)
    assert operation(tool) >= HANDLER + AROUND


@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack.empty], ids=str)
def test_waiting_for_a_thread_is_not_the_handlers_time(stack: Stack, tap: Tap) -> None:
    """The only thread is taken until the call waits for it, or has run without one."""
    waiting = Steps()

    async def call() -> None:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        is_taken = anyio.Event()

        def take() -> None:
            anyio.from_thread.run_sync(is_taken.set)
            while not limiter.statistics().tasks_waiting and not handlers.made:
                time.sleep(0.001)
            if not handlers.made:
                with waiting.step():
                    time.sleep(AROUND)

        async with anyio.create_task_group() as others, stack.connect(build(stack)) as session:
            await session.list_tools()
            others.start_soon(anyio.to_thread.run_sync, take)
            await is_taken.wait()
            await session.call_tool("runs_plainly", {})

    asyncio.run(call())
    [handler] = handlers.made
    assert is_the_handlers(published("runs_plainly"), handler, waiting)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("stack", [stack for stack in STACKS if stack.empty], ids=str)
def test_a_busy_event_loop_is_not_the_time_of_a_handler_in_a_thread(
    stack: Stack, fails: bool, tap: Tap
) -> None:
    """The event loop is busy when the handler ends, and hears of that later."""
    busy = Steps()

    def is_busy() -> None:
        with busy.step():
            time.sleep(AROUND)

    async def call() -> None:
        loop = asyncio.get_running_loop()

        def hands_back() -> str:
            with handlers.step():
                time.sleep(HANDLER)
            loop.call_soon_threadsafe(is_busy)
            if fails:
                raise KeyError("odd")
            return "done"

        server = build(stack)
        server.tool()(hands_back)
        async with stack.connect(server) as session:
            await session.list_tools()
            with contextlib.suppress(Exception):
                await session.call_tool("hands_back", {})

    asyncio.run(call())
    [handler] = handlers.made
    assert busy.made
    assert is_the_handlers(published("hands_back"), handler, busy)


@pytest.mark.skipif(MCP >= (2,), reason="the SDK 2.x leaves answers to the server's own handlers")
def test_validating_an_answer_by_its_schema_is_not_the_handlers_time(
    tap: Tap, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jsonschema
    from mcp import types
    from mcp.server.lowlevel import Server

    validator = jsonschema.validators.Draft202012Validator
    iter_errors = validator.iter_errors

    def slowly(self: Any, instance: Any, *args: Any, **kwargs: Any) -> Any:
        if instance == {"number": 1}:
            with answering.step():
                time.sleep(AROUND)
        return iter_errors(self, instance, *args, **kwargs)

    server: Any = Server("shop")
    number = {"type": "object", "properties": {"number": {"type": "integer"}}}

    @server.list_tools()
    async def list_tools() -> list[types.Tool]:
        return [types.Tool(name="counts", inputSchema=number, outputSchema=number)]

    @server.call_tool()
    async def call_tool(_name: str, _arguments: Any) -> dict[str, int]:
        with handlers.step():
            await asyncio.sleep(HANDLER)
        return {"number": 1}

    monkeypatch.setattr(validator, "iter_errors", slowly)

    async def call() -> None:
        async with sdk.connect(server) as session:
            result = await session.call_tool("counts", {})
            assert not result.isError

    asyncio.run(call())
    [handler] = handlers.made
    assert answering.made
    assert is_the_handlers(published("counts"), handler, answering)
    assert operation("counts") >= HANDLER + AROUND


@pytest.mark.parametrize(
    "stack", [stack for stack in STACKS if hasattr(stack.empty, "call_tool")], ids=str
)
def test_a_tool_that_calls_others_takes_as_long_as_itself(
    stack: Stack, tap: Tap, slow_log: SlowLog
) -> None:
    server: Any = None

    async def outer() -> str:
        with handlers.step():
            await asyncio.sleep(HANDLER)
            with contextlib.suppress(Exception):
                await server.call_tool("fails", {})
            await server.call_tool("succeeds", {})
            await asyncio.sleep(HANDLER)
        return "done"

    async def call() -> None:
        async with stack.connect(server) as session:
            await session.list_tools()
            await session.call_tool("outer", {})

    server = build(stack)
    server.tool()(outer)
    asyncio.run(call())
    *_, handler = handlers.made
    assert is_the_handlers(published("outer"), handler, slow_log.records)
