"""A WSGI application of ours as an ASGI application."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from metertap_exporters.http.app import WsgiApp
from metertap_exporters.http.connections import LIMIT

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_pools: dict[int, ThreadPoolExecutor] = {}
"""Threads in which answers are made, by process id: a forked child has none of its parent's.

The few of the loop itself are the program's: it would wait while answers take them all.
"""


def asgi(app: WsgiApp) -> AsgiApp:
    """Return `app` as ASGI; its answers are made in threads, if the loop is asyncio's or trio's."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            status, headers, body = await _in_a_thread(app, _environ(scope))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return answer


async def _live(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


async def _in_a_thread(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        trio: Any = sys.modules.get("trio")
        if trio is None:  # another loop, whose threads nobody knows
            return _answer(app, environ)
        found: Answer = await trio.to_thread.run_sync(_answer, app, environ)
        return found
    pid = os.getpid()
    if pid not in _pools:
        _pools[pid] = ThreadPoolExecutor(LIMIT, "metertap-mounted")
    return await loop.run_in_executor(_pools[pid], _answer, app, environ)


def _answer(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    started: list[Any] = []
    body = b"".join(app(environ, lambda *given: started.append(given)))
    ((status, headers),) = started
    encoded = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers]
    return int(status.partition(" ")[0]), encoded, body


def _environ(scope: Scope) -> dict[str, Any]:
    """Return what our applications read of a WSGI request."""
    root, path = scope.get("root_path", ""), scope["path"]
    # A proxy may have taken off its part of the address, and older frameworks take off their own.
    within = root.removeprefix(scope.get("app_root_path", ""))
    for prefix in (root, within):
        if prefix and (path == prefix or path.startswith(f"{prefix}/")):
            path = path[len(prefix) :]
            break
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root,
        "PATH_INFO": path,
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
    }
    for name, value in scope.get("headers", ()):
        key = name.decode("latin-1").upper().replace("-", "_")
        environ[f"HTTP_{key}"] = value.decode("latin-1")
    return environ
