"""One call of a tool of the Claude Agent SDK, in the process: its whole time, and what is added.

Claude's command line asks for it: a transport that answers itself stands for that program. The SDK
has the tool run by mcp 2.x, whose function is what is patched. As in `mcp.py` that is replaced by
one that returns at once, and measured patched and bare; the call is timed beside these.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from claude_agent_sdk import Transport, create_sdk_mcp_server, tool
from claude_agent_sdk._internal.query import Query
from mcp.server.runner import ServerRunner

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result
from benchmarks.process import measured

_HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
_CALL = {"name": "work", "arguments": {"number": 1}}
_KERNEL = "_on_request"
_ORIGINAL = ServerRunner._on_request


@tool("work", "Return it.", {"number": int})
async def work(arguments: dict[str, Any]) -> dict[str, Any]:
    """The tool."""
    return {"content": [{"type": "text", "text": str(arguments["number"])}]}


class _CommandLine(Transport):
    """Sends one message after the other, and waits for each answer."""

    def __init__(self) -> None:
        self._sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._number = 0

    async def connect(self) -> None: ...
    async def close(self) -> None: ...
    async def end_input(self) -> None: ...

    def is_ready(self) -> bool:
        return True

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:  # type: ignore[override]
        while True:
            yield await self._sent.get()

    async def write(self, data: str) -> None:
        json.loads(data)  # as the other side would
        self._answered.set()

    async def ask(self, method: str, params: Any) -> None:
        self._number += 1
        self._answered.clear()
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if not method.startswith("notifications/"):
            message["id"] = self._number
        request = {"subtype": "mcp_message", "server_name": "shop", "message": message}
        sent = {"type": "control_request", "request_id": str(self._number), "request": request}
        self._sent.put_nowait(sent)
        await self._answered.wait()


async def _session(steps: Callable[[_CommandLine], Awaitable[float]]) -> float:
    """What `steps` return, in a session that has shaken hands."""
    server = create_sdk_mcp_server("shop", tools=[work])["instance"]
    line = _CommandLine()
    query = Query(transport=line, is_streaming_mode=True, sdk_mcp_servers={"shop": server})
    await query.start()
    try:
        await line.ask("initialize", _HELLO)
        await line.ask("notifications/initialized", {})
        await line.ask("tools/list", {})
        return await steps(line)
    finally:
        await query.close()


def _whole_calls(times: int) -> float:
    """CPU seconds of `times` calls, not measured by anybody."""

    async def steps(line: _CommandLine) -> float:
        await line.ask("tools/call", _CALL)
        started = time.process_time()
        for _ in range(times):
            await line.ask("tools/call", _CALL)
        return time.process_time() - started

    setattr(ServerRunner, _KERNEL, _ORIGINAL)
    return asyncio.run(_session(steps))


def _recorded() -> tuple[Any, Any, Any]:
    """The runner of a real call, the arguments of its kernel, and what that returned."""
    found: list[tuple[Any, Any, Any]] = []

    async def on_request(runner: Any, *args: Any) -> Any:
        returned = await _ORIGINAL(runner, *args)
        found.append((runner, args, returned))
        return returned

    async def steps(line: _CommandLine) -> float:
        await line.ask("tools/call", _CALL)
        return 0.0

    setattr(ServerRunner, _KERNEL, on_request)
    try:
        asyncio.run(_session(steps))
    finally:
        setattr(ServerRunner, _KERNEL, _ORIGINAL)
    return found[-1]


def calls(rounds: int) -> Iterator[Result]:
    """Against the call's CPU time, and other wrappers around the same function."""
    runner, args, returned = _recorded()
    sdk = baselines.Sdk()

    async def stub(_runner: Any, *_args: Any) -> Any:
        return returned

    def with_kernel(function: Any) -> Work:
        def replaced(times: int) -> float:
            setattr(ServerRunner, _KERNEL, function)
            kernel = runner._on_request  # a runner binds its method once for all requests
            return awaited(lambda: kernel(*args))(times)

        return replaced

    works = {
        "bare": with_kernel(stub),
        "nothing": with_kernel(baselines.wrapped(stub, baselines.do_nothing)),
        "sdk": with_kernel(baselines.wrapped(stub, sdk.coroutine)),
        "call": _whole_calls,
    }
    setattr(ServerRunner, _KERNEL, stub)
    try:
        with measured() as tap:
            works["ours"] = with_kernel(vars(ServerRunner)[_KERNEL])
            seconds = interleaved(works, rounds=rounds, times=1000, fewer=("sdk", "call"))
            assert tap.snapshot()["tool_metrics"]["work"]["total_calls"] >= rounds * 1000
            setattr(ServerRunner, _KERNEL, stub)
    finally:
        setattr(ServerRunner, _KERNEL, _ORIGINAL)
    ours = above(seconds, "ours", "bare")
    row = "Claude Agent SDK @tool"
    yield result(row, "CPU of the call", ours, seconds["call"], 0.01)
    yield result(row, "wrapt that does nothing", ours, above(seconds, "nothing", "bare"), None)
    yield result(row, "wrapt + SDK", ours, above(seconds, "sdk", "bare"), None)
