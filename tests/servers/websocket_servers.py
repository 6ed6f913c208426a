"""WebSocket servers of every kind in a thread of their own, and a client that can vanish.

Each answers `raise` by raising, `leave` by returning from its handler, and all else by the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from http import HTTPStatus
from importlib import metadata
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from metertap_instrumentation.libraries import parse_version
from support.waiting import wait_for

VERSION = parse_version(metadata.version("websockets"))
PATH_REFUSED = "/refused"

_silent = logging.getLogger("tests.websockets")
_silent.setLevel(logging.CRITICAL)


class HandlerFailed(Exception):
    """What a handler raises when it is told to."""


async def handle(connection: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := await connection.recv()) != "leave":
            if message == "raise":
                raise HandlerFailed
            if message == "cancel":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            await connection.send(message)


def handle_in_a_thread(connection: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while (message := connection.recv()) != "leave":
            if message == "raise":
                raise HandlerFailed
            connection.send(message)


def _refuse(connection: Any, request: Any) -> Any:
    return (
        connection.respond(HTTPStatus.FORBIDDEN, "no\n") if request.path == PATH_REFUSED else None
    )


Serve = contextlib.AbstractContextManager[str]
"""A server while it is entered: its URL. Leaving closes it, with whatever is connected."""


@contextlib.contextmanager
def _in_a_loop(serve: Callable[[], Any]) -> Iterator[str]:
    ports: list[int] = []
    stop: list[Callable[[], None]] = []

    async def run() -> None:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
        async with serve() as server:
            ports.append(server.sockets[0].getsockname()[1])
            await stopped.wait()

    with _thread(lambda: asyncio.run(run())) as ended:
        yield f"ws://127.0.0.1:{wait_for(lambda: ports)[0]}"
        stop[0]()
        wait_for(ended)


@contextlib.contextmanager
def _thread(target: Callable[[], Any]) -> Iterator[Callable[[], bool]]:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    yield lambda: not thread.is_alive()


def on_asyncio() -> Serve:
    from websockets.asyncio.server import serve

    return _in_a_loop(
        lambda: serve(
            handle, "127.0.0.1", 0, process_request=_refuse, logger=_silent, close_timeout=1
        )
    )


def legacy() -> Serve:
    serve: Any
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        serve = importlib.import_module("websockets.legacy.server").serve

    async def refuse(path: str, _headers: Any) -> Any:
        return (HTTPStatus.FORBIDDEN, [], b"no\n") if path == PATH_REFUSED else None

    return _in_a_loop(
        lambda: serve(
            handle, "127.0.0.1", 0, process_request=refuse, logger=_silent, close_timeout=1
        )
    )


@contextlib.contextmanager
def in_threads() -> Iterator[str]:
    from websockets.sync.server import serve

    options: dict[str, Any] = {"logger": _silent, "close_timeout": 1}
    with (
        serve(handle_in_a_thread, "127.0.0.1", 0, process_request=_refuse, **options) as server,
        _thread(server.serve_forever) as ended,
    ):
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        wait_for(ended)


@contextlib.contextmanager
def on_trio() -> Iterator[str]:
    import trio
    from websockets.trio.server import serve

    ports: list[int] = []
    stop: list[Callable[[], None]] = []

    async def run() -> None:
        stopped = trio.Event()
        token = trio.lowlevel.current_trio_token()
        stop.append(lambda: token.run_sync_soon(stopped.set))
        async with trio.open_nursery() as nursery:
            options: dict[str, Any] = {"logger": _silent, "close_timeout": 1}
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            start: Any = lambda **more: serve(  # noqa: E731
                handle, listeners=listeners, process_request=_refuse, **options, **more
            )
            server = await nursery.start(start)
            async with server:
                ports.append(listeners[0].socket.getsockname()[1])
                await stopped.wait()

    with _thread(lambda: trio.run(run)) as ended:
        yield f"ws://127.0.0.1:{wait_for(lambda: ports)[0]}"
        stop[0]()
        wait_for(ended)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The same as an ASGI application."""
    await receive()
    if scope["path"] == PATH_REFUSED:
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        if message["text"] == "raise":
            raise HandlerFailed
        if message["text"] == "leave":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.send", "text": message["text"]})


@contextlib.contextmanager
def _uvicorn(implementation: str) -> Iterator[str]:
    import uvicorn

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        config = uvicorn.Config(
            application,
            host="127.0.0.1",
            port=0,
            ws=implementation,
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=2,
        )
        config.load()
    runner = uvicorn.Server(config)
    with _thread(runner.run) as ended:
        wait_for(lambda: runner.started)
        yield f"ws://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}"
        runner.should_exit = True
        wait_for(ended)


KINDS: dict[str, Callable[[], Serve]] = {"threads": in_threads}
"""The servers that are here, by name."""


def _is_here(*modules: str) -> bool:
    for module in modules:
        with contextlib.suppress(ModuleNotFoundError):
            if importlib.util.find_spec(module) is not None:
                continue
        return False
    return True


if _is_here("websockets.asyncio"):
    KINDS["asyncio"] = on_asyncio
if _is_here("websockets.legacy"):
    KINDS["legacy"] = legacy
if _is_here("websockets.trio", "trio"):
    KINDS["trio"] = on_trio
if _is_here("uvicorn.protocols.websockets.websockets_impl", "websockets.legacy"):
    KINDS["uvicorn legacy"] = lambda: _uvicorn("websockets")
if _is_here("uvicorn.protocols.websockets.websockets_sansio_impl"):
    KINDS["uvicorn"] = lambda: _uvicorn("websockets-sansio")


def client(url: str) -> Any:
    """A connected client; to be closed, or to be used as a context manager."""
    options: dict[str, Any] = {"proxy": None} if VERSION >= (15,) else {}
    # Its connection, in all versions: some give that to a `with` statement only.
    return connect(url, close_timeout=5, **options).__enter__()


def vanish(connection: Any) -> None:
    """End a client's connection without a word of the protocol."""
    connection.socket.shutdown(socket.SHUT_RDWR)
