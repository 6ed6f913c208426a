"""A WSGI application of metertap's as an ASGI application."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import Future
from typing import Any

from metertap import faults, locks, threads
from metertap_exporters.http.app import WsgiApp
from metertap_exporters.http.connections import LIMIT

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
_FAULT: Answer = 500, [(b"content-length", b"0")], b""
"""The answer after a fault of metertap's."""


class _Threads:
    """Threads that make answers, `LIMIT` at most; further requests wait for one.

    The loop's own few threads are the program's, which would wait if answers took them all. And
    Python waits for a pool's threads at its end, however long: a file that is read may hang.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[Answer], WsgiApp, dict[str, Any]]] = deque()
        self._running = 0
        self._lock = locks.lock()

    def answer(self, app: WsgiApp, environ: dict[str, Any]) -> Future[Answer]:
        """Begin to make an answer."""
        future: Future[Answer] = Future()
        with self._lock:
            self._waiting.append((future, app, environ))
            is_more = self._running < LIMIT
            self._running += is_more
        if is_more:
            try:
                threads.Thread(target=self._run, name="metertap-mounted", daemon=True).start()
            except RuntimeError:  # the system has no more threads
                self._run()
        return future

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._running -= 1
                    return
                future, app, environ = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(_answer(app, environ))
                except BaseException as error:
                    future.set_exception(error)


_threads: dict[int, _Threads] = {}
"""By process id, since a forked child has no threads of its parent."""


def asgi(app: WsgiApp) -> AsgiApp:
    """Return `app` as ASGI; answers are made in threads, if the loop is asyncio's or trio's."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            status, headers, body = _FAULT
            with faults.guarded("mounting"):
                status, headers, body = await _in_a_thread(app, _environ(scope))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return answer


async def _live(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


async def _in_a_thread(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    trio: Any = sys.modules.get("trio")
    # First, since trio may run as a guest inside asyncio's loop.
    if trio is not None and _is_in_task_of(trio):
        found: Answer = await trio.to_thread.run_sync(_answer, app, environ)
        return found
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:  # another kind of loop
        return _answer(app, environ)
    threads = _threads.setdefault(os.getpid(), _Threads())
    return await asyncio.wrap_future(threads.answer(app, environ), loop=loop)


def _is_in_task_of(trio: Any) -> bool:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def _answer(app: WsgiApp, environ: dict[str, Any]) -> Answer:
    started: list[Any] = []
    body = b"".join(app(environ, lambda *given: started.append(given)))
    ((status, headers),) = started
    encoded = [(name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in headers]
    return int(status.partition(" ")[0]), encoded, body


def _environ(scope: Scope) -> dict[str, Any]:
    """Return the parts of a WSGI request that our applications read."""
    root, path = scope.get("root_path", ""), scope["path"]
    # A proxy may have removed its part of the address; older frameworks remove their own.
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
