"""Floors of a `tools/call` on mcp 2.x: what any Python that keeps metertap's promises has to do.

Both patch the methods that metertap patches. `nothing` passes calls on. `least` does by hand what a
call that goes well needs, in one function a method, without a guard against its own faults, without
names that are bounded, and for `tools/call` alone: when the client's request, the server's and the
handler began and ended; the call in progress in a context variable, for caches and model calls; the
tick that counts it as active; tool, protocol and transport; whether the answer is an error, and its
size. It keeps that in a tuple a side and sorts 1,024 of them at a time into durations by kind.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import repeat
from typing import Any

from mcp.client.session import ClientSession
from mcp.server.mcpserver.tools.tool_manager import ToolManager
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.server.runner import ServerRunner

_CHUNK = 1024
_CALL = "tools/call"
_clock = time.perf_counter
_current: ContextVar[list[Any] | None] = ContextVar("benchmarks_current", default=None)
_get, _set = _current.get, _current.set

_METHODS: list[tuple[type, str]] = [
    (ClientSession, "send_request"),
    (ServerRunner, "_on_request"),
    (ServerRunner, "_serialize"),
    (ToolManager, "call_tool"),
    (FuncMetadata, "call_fn"),
]


def _dispatches(method: Any) -> Any:
    """Watch where a tool's exception is seen, before it becomes an answer."""

    async def call_tool(
        self: Any, name: Any, arguments: Any, context: Any, convert_result: Any = False
    ) -> Any:
        return await method(self, name, arguments, context, convert_result)

    return call_tool


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    """Pass on what metertap's patches would watch."""

    def sends(method: Any) -> Any:
        async def send_request(
            self: Any,
            request: Any,
            result_type: Any,
            request_read_timeout_seconds: Any = None,
            metadata: Any = None,
            progress_callback: Any = None,
        ) -> Any:
            return await method(
                self,
                request,
                result_type,
                request_read_timeout_seconds,
                metadata,
                progress_callback,
            )

        return send_request

    def serves(method: Any) -> Any:
        async def _on_request(self: Any, dctx: Any, asked: Any, params: Any) -> Any:
            return await method(self, dctx, asked, params)

        return _on_request

    def serializes(method: Any) -> Any:
        def _serialize(self: Any, asked: Any, version: Any, result: Any) -> Any:
            return method(self, asked, version, result)

        return _serialize

    def runs(method: Any) -> Any:
        async def call_fn(
            self: Any, fn: Any, fn_is_async: Any, arguments: Any, directly: Any = None
        ) -> Any:
            return await method(self, fn, fn_is_async, arguments, directly)

        return call_fn

    with _patched(sends, serves, serializes, _dispatches, runs):
        yield


@contextlib.contextmanager
def least() -> Iterator[None]:
    """Measure calls that go well as cheaply as Python can."""
    sent: list[tuple[Any, ...]] = []
    served: list[tuple[Any, ...]] = []
    requests: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    tools: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    sizes: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    keep_sent, keep_served = sent.append, served.append
    tick = repeat(None, _CHUNK).__next__

    def fold() -> None:
        nonlocal tick
        tick = repeat(None, _CHUNK).__next__
        for started, ended, size, *kind in sent:
            requests[tuple(kind)].append(ended - started)
            sizes[tuple(kind)].append(size)
        for started, began, returned, ended, size, *kind in served:
            requests[tuple(kind)].append(ended - started)
            tools[tuple(kind)].append(returned - began)
            sizes[tuple(kind)].append(size)
        for each in (*requests.values(), *tools.values(), *sizes.values()):
            each.sort()  # as the buckets of a histogram need them
            sum(each)
            each.clear()
        sent.clear()
        served.clear()

    def sends(method: Any) -> Any:
        async def send_request(
            self: Any,
            request: Any,
            result_type: Any,
            request_read_timeout_seconds: Any = None,
            metadata: Any = None,
            progress_callback: Any = None,
        ) -> Any:
            started = _clock()
            result = await method(
                self,
                request,
                result_type,
                request_read_timeout_seconds,
                metadata,
                progress_callback,
            )
            asked = request.__dict__
            if asked["method"] == _CALL:
                fields = result.__dict__
                size = len(fields["content"][0].__dict__["text"])
                name = asked["params"].__dict__["name"]
                version, is_error = self.protocol_version, fields["is_error"]
                keep_sent((started, _clock(), size, name, version, id(self), is_error))
            return result

        return send_request

    def serves(method: Any) -> Any:
        async def _on_request(self: Any, dctx: Any, asked: Any, params: Any) -> Any:
            if asked != _CALL:
                return await method(self, dctx, asked, params)
            try:
                tick()
            except StopIteration:
                fold()
            name = params["name"]
            frame = [name, _get(), False, False, 0.0, 0.0]
            _set(frame)
            frame[4] = started = _clock()
            result = await method(self, dctx, asked, params)
            ended = _clock()
            frame[0] = None
            dctx = getattr(dctx, "_inner", dctx)
            size = len(result["content"][0]["text"])
            kind = name, self.connection.protocol_version, dctx.transport.kind, id(self.server)
            is_error, is_cancelled = result.get("isError"), dctx.cancel_requested.is_set()
            keep_served((started, frame[4], frame[5], ended, size, *kind, is_error, is_cancelled))
            return result

        return _on_request

    def serializes(method: Any) -> Any:
        def _serialize(self: Any, asked: Any, version: Any, result: Any) -> Any:
            frame = _get()
            if frame is not None and not frame[5]:
                frame[5] = _clock()
            return method(self, asked, version, result)

        return _serialize

    def runs(method: Any) -> Any:
        def call(frame: Any, fn: Any, **arguments: Any) -> Any:
            frame[4] = _clock()
            result = fn(**arguments)
            frame[5] = _clock()
            return result

        async def call_fn(
            self: Any, fn: Any, fn_is_async: Any, arguments: Any, directly: Any = None
        ) -> Any:
            watched = functools.partial(call, _get(), fn)  # for this runs in another thread
            return await method(self, watched, fn_is_async, arguments, directly)

        return call_fn

    with _patched(sends, serves, serializes, _dispatches, runs):
        yield


@contextlib.contextmanager
def _patched(*made: Callable[[Any], Any]) -> Iterator[None]:
    """Replace each of the methods by what is made of it."""
    with contextlib.ExitStack() as undo:
        for (kind, name), make in zip(_METHODS, made, strict=True):
            owner = next(each for each in kind.__mro__ if name in vars(each))
            method = vars(owner)[name]
            setattr(owner, name, make(method))
            undo.callback(setattr, owner, name, method)
        yield
