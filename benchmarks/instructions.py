"""The interpreter's instructions in a call of metertap's: `python -m benchmarks.instructions`.

Times move with the load of the machine; this count does not, and says which function takes how
many. What C functions do inside is not in it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from importlib.util import find_spec
from types import FrameType
from typing import Any

import metertap
from benchmarks import mcp
from benchmarks.added import _later, _stream
from benchmarks.calls import work
from benchmarks.model_server import ASKED, serving
from benchmarks.process import measured
from metertap.patching import parameters

Counts = Counter[str]
_OURS = (
    "/src/metertap/",
    "/metertap_instrumentation/",
    "/site-packages/metertap/",
    parameters.FILE,
    "/mcp_floors.py",  # which stands beside ours, and never in force with it
)
_WARM = 50
_CALLS = 10


def counted(function: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[Counts]]:
    """Return what counts the instructions of one call of `function`, by metertap's functions.

    Threads that are started by the first calls, and run what others wait for, count as well.
    """
    counts: Counts = Counter()
    is_warm = False

    def instruction(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            counts[frame.f_code.co_name] += 1
        return instruction

    def entered(frame: FrameType, _event: str, _argument: Any) -> Any:
        if not is_warm or not any(part in frame.f_code.co_filename for part in _OURS):
            return None
        if threading.current_thread().name.startswith("metertap-"):  # for which no call waits
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return instruction

    async def run() -> Counts:
        nonlocal is_warm
        before = sys.gettrace()
        threading.settrace(entered)
        try:
            for _ in range(_WARM):  # the first ones look up what the others find
                await function()
            is_warm = True
            sys.settrace(entered)
            for _ in range(_CALLS):
                await function()
        finally:
            is_warm = False
            sys.settrace(before)
            threading.settrace(None)  # type: ignore[arg-type]
        return Counter({name: round(count / _CALLS) for name, count in counts.items()})

    return run


async def of_tool() -> Counts:
    """Count for a plain function under `@metertap.tool`."""
    tool = metertap.tool(work)

    async def call() -> None:
        tool(1)

    return await counted(call)()


async def of_generator() -> Counts:
    """Count for a generator of one item under `@metertap.tool`."""
    stream = metertap.tool(_stream)

    async def call() -> None:
        for _item in stream(1):
            pass

    return await counted(call)()


async def of_async_generator() -> Counts:
    """Count for an async generator of one item under `@metertap.tool`."""
    stream = metertap.tool(_later)

    async def call() -> None:
        async for _item in stream(1):
            pass

    return await counted(call)()


async def of_langchain() -> Counts:
    """Count for a tool of LangChain that is invoked."""
    from benchmarks import langchain_tools

    async def call() -> None:
        langchain_tools.work.invoke({"number": 1})

    return await counted(call)()


async def of_model(*, streamed: bool = False) -> Counts:
    """Count for a call of openai's client, or for one that streams eleven chunks."""
    import openai

    with (
        serving() as url,
        openai.OpenAI(api_key="key", base_url=f"{url}/v1") as client,
    ):

        async def call() -> None:
            found = client.chat.completions.create(**ASKED, stream=streamed)
            if streamed:
                for _chunk in found:
                    pass

        return await counted(call)()


async def of_request(build: Callable[[], Any]) -> Counts:
    """Count for a `tools/call` in memory, the client's side and the server's."""
    async with mcp.connected(build()) as client:
        return await counted(lambda: client.call_tool("work", {"number": 1}))()


def _show(title: str, count: Callable[[], Coroutine[Any, Any, Counts]]) -> None:
    counts = asyncio.run(count())
    print(f"{counts.total():>6,}  {title}")
    print("".join(f"{n:>12,}  {name}\n" for name, n in counts.most_common()))


_MODELS: list[tuple[str, Callable[[], Coroutine[Any, Any, Counts]]]] = [
    ("a call of a model", of_model),
    ("a call of a model that streams", lambda: of_model(streamed=True)),
]


def main() -> None:
    """Print the counts."""
    for name in ("mcp", "httpx", "httpx2"):  # the SDK of MCP has each line of theirs drawn
        logging.getLogger(name).setLevel(logging.WARNING)
    for title, least in mcp._FLOORS.items():
        if "least" in title:
            with least():
                _show("MCP tools/call, low-level, the least", lambda: of_request(mcp._low_level))
                _show("MCP tools/call, MCPServer, the least", lambda: of_request(mcp._high_level))
    with measured():
        for title, count in (
            ("@metertap.tool", of_tool),
            ("generator of one item", of_generator),
            ("async generator of one item", of_async_generator),
            *([("LangChain tool.invoke", of_langchain)] if find_spec("langchain_core") else []),
            *(_MODELS if find_spec("openai") and find_spec("anthropic") else []),
            ("MCP tools/call, low-level", lambda: of_request(mcp._low_level)),
            ("MCP tools/call, MCPServer", lambda: of_request(mcp._high_level)),
        ):
            _show(title, count)


if __name__ == "__main__":
    main()
