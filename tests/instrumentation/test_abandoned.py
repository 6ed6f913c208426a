"""Coroutines that a program drops: Python closes them later, from another context than theirs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

import metertap
from metertap_instrumentation.models import pydantic_ai

pytestmark = [
    pytest.mark.library("frameworks that await"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def measured() -> Any:
    with metertap.instrument(json_endpoint=False):
        yield


def seen_by(call: Callable[[], Coroutine[Any, Any, Any]]) -> list[type[BaseException]]:
    """Drop a task that awaits `call()`, with its loop, and return what its code saw at the end."""
    seen: list[type[BaseException]] = []

    async def program() -> None:
        try:
            await call()
        except BaseException as error:
            seen.append(type(error))
            raise

    async def begin() -> asyncio.Task[None]:
        task = asyncio.ensure_future(program())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, _told: None)  # that it was dropped
    task = loop.run_until_complete(begin())
    loop.close()
    assert not task.done()
    del task, loop
    gc.collect()
    return seen


async def forever(*_args: Any, **_named: Any) -> Any:
    await asyncio.Event().wait()


def test_a_call_of_an_mcp_server_by_openai_agents() -> None:
    server = pytest.importorskip("agents.mcp.server")

    class Server(server.MCPServer):
        call_tool = forever
        cleanup = connect = list_tools = get_prompt = list_prompts = name = forever

    assert seen_by(lambda: Server().call_tool("search", {})) == [GeneratorExit]


def test_an_mcp_tool_of_openai_agents() -> None:
    util = pytest.importorskip("agents.mcp.util")
    agents_tool = pytest.importorskip("agents.tool_context")
    types = pytest.importorskip("mcp.types")
    server = pytest.importorskip("agents.mcp.server")

    class Server(server.MCPServer):
        call_tool = forever
        cleanup = connect = list_tools = get_prompt = list_prompts = forever
        name = "shop"

    tool = types.Tool(name="search", inputSchema={"type": "object"})
    context = agents_tool.ToolContext(None, tool_name="search", tool_call_id="1", tool_arguments="")
    assert seen_by(lambda: util.MCPUtil.invoke_mcp_tool(Server(), tool, context, "{}")) == [
        GeneratorExit
    ]


def test_a_stream_of_a_model_of_pydantic_ai() -> None:
    # By itself, since the methods of pydantic-ai's own models end by ValueError without us, too.
    @asynccontextmanager
    async def request_stream() -> AsyncIterator[Any]:
        await forever()
        yield

    async def ask() -> None:
        async with pydantic_ai.opened(request_stream, None, (), {}):
            pass

    assert seen_by(ask) == [GeneratorExit]
