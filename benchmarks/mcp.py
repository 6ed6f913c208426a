"""One MCP `tools/call`, client and server in one process: all that is recorded for it (mcp 2.x).

The whole call takes some hundred microseconds and varies by more than what is asked here, so the
parts are measured apart: the functions that are patched are replaced by ones that return at once
what they returned in a real call, and called with the arguments of that call, patched and bare.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from mcp import Client
from mcp.client.session import ClientSession
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.tools.tool_manager import ToolManager
from mcp.server.runner import ServerRunner

from benchmarks import baselines
from benchmarks.measuring import Result, Work, above, awaited, interleaved, result
from benchmarks.process import measured

_PATCHED = (
    (ClientSession, "send_request"),
    (ServerRunner, "_on_request"),
    (ToolManager, "call_tool"),
)


def _server() -> MCPServer:
    server = MCPServer("benchmark")

    @server.tool()
    def work(number: int) -> int:
        return number

    return server


async def _call(client: Client, times: int = 1) -> None:
    for _ in range(times):
        await client.call_tool("work", {"number": 1})


def _whole_call(times: int) -> float:
    """CPU seconds of `times` calls, not measured by anybody."""

    async def run() -> float:
        async with Client(_server()) as client:
            await _call(client, 20)
            started = time.process_time()
            await _call(client, times)
            return time.process_time() - started

    return asyncio.run(run())


class _Replay:
    """The patched functions of one call, to be called again without what is below them."""

    def __init__(self) -> None:
        self._calls: dict[str, Any] = {}
        self._originals = {name: getattr(owner, name) for owner, name in _PATCHED}
        for owner, name in _PATCHED:
            setattr(owner, name, self._remembering(name))
        try:
            asyncio.run(self._record())
        finally:
            self._set(self._originals)

    async def _record(self) -> None:
        async with Client(_server()) as client:
            await _call(client)

    def _set(self, functions: dict[str, Any]) -> None:
        for owner, name in _PATCHED:
            setattr(owner, name, functions[name])

    def _remembering(self, name: str) -> Any:
        original = self._originals[name]

        async def function(instance: Any, *args: Any, **kwargs: Any) -> Any:
            returned = await original(instance, *args, **kwargs)
            if "tools/call" in repr(args) or name == "call_tool":
                self._calls[name] = (instance, args, kwargs, returned)
            return returned

        return function

    def stubs(self) -> dict[str, Any]:
        """Functions that return what the real ones did; the server's runs its tool manager."""
        manager, margs, mkwargs, _ = self._calls["call_tool"]

        async def call_tool(_instance: Any, *_args: Any, **_kwargs: Any) -> Any:
            return None

        async def _on_request(_instance: Any, *_args: Any, **_kwargs: Any) -> Any:
            await manager.call_tool(*margs, **mkwargs)
            return self._calls["_on_request"][3]

        async def send_request(_instance: Any, *_args: Any, **_kwargs: Any) -> Any:
            return self._calls["send_request"][3]

        return {"call_tool": call_tool, "_on_request": _on_request, "send_request": send_request}

    def work(self) -> Work:
        """One call's worth of patched functions, as they stand in their classes now."""
        client, cargs, ckwargs, _ = self._calls["send_request"]
        server, sargs, skwargs, _ = self._calls["_on_request"]
        # A runner binds its method once for all requests.
        on_request, send_request = server._on_request, client.send_request

        async def once() -> None:
            await send_request(*cargs, **ckwargs)
            await on_request(*sargs, **skwargs)

        return awaited(once)

    def variants(self) -> dict[str, Work]:
        """Bare; under wrappers that do nothing; under wrapt and the SDK; and ours."""
        stubs, sdk = self.stubs(), baselines.Sdk()
        found = {}
        for name, wrapper in (
            ("bare", None),
            ("nothing", baselines.do_nothing),
            ("sdk", sdk.coroutine),
        ):
            functions = {
                key: stub if wrapper is None else baselines.wrapped(stub, wrapper)
                for key, stub in stubs.items()
            }
            found[name] = self._with(functions)
        return found

    def _with(self, functions: dict[str, Any]) -> Work:
        def work(times: int) -> float:
            self._set(functions)
            try:
                return self.work()(times)
            finally:
                self._set(self._originals)

        return work


def requests(rounds: int) -> Iterator[Result]:
    """The cost of measuring one call, and the CPU time of that call."""
    replay = _Replay()
    works = replay.variants()
    replay._set(replay.stubs())
    with measured() as tap:
        functions = {name: getattr(owner, name) for owner, name in _PATCHED}
        works["ours"] = replay._with(functions)
        works["call"] = _whole_call
        seconds = interleaved(works, rounds=rounds, times=1000, fewer=("sdk", "call"))
        assert tap.snapshot()["tool_metrics"]["work"]["total_calls"] >= rounds * 1000
    replay._set(replay._originals)
    ours = above(seconds, "ours", "bare")
    row = "MCP tools/call, client and server"
    yield result(row, "CPU of the call", ours, seconds["call"], 0.01)
    yield result(row, "three wrapt that do nothing", ours, above(seconds, "nothing", "bare"), None)
    yield result(row, "wrapt + SDK, three records", ours, above(seconds, "sdk", "bare"), None)
