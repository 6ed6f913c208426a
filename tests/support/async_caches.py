"""Asynchronous caches in tests that are not: a loop, and a real redis."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from support.real import program
from support.servers import free_port
from support.waiting import wait_for

Result = TypeVar("Result")

_loop: asyncio.AbstractEventLoop | None = None


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run in the test's loop, which stays open for the timers and locks that caches keep in it.

    In another thread it is a loop for this once.
    """
    global _loop
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(coroutine)
    if _loop is None:
        _loop = asyncio.new_event_loop()
    return _loop.run_until_complete(coroutine)


def close_loop() -> None:
    """Cancel what is left in the test's loop, and close it."""
    global _loop
    if _loop is None:
        return
    left = asyncio.all_tasks(_loop)
    for task in left:
        task.cancel()
    if left:
        _loop.run_until_complete(asyncio.wait(left))
    # A test that drops its cache leaves connections behind that nobody else knows.
    for transport in list(getattr(_loop, "_transports", {}).values()):
        transport.abort()
    _loop.run_until_complete(asyncio.sleep(0))
    _loop.run_until_complete(_loop.shutdown_default_executor())
    _loop.close()
    _loop = None


@contextmanager
def redis_server(directory: Path) -> Iterator[int]:
    """The port of an empty redis that keeps nothing; a skip where the program is not there."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(
        [program("redis-server"), *options], cwd=directory, stdout=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: _answers(port))
        yield port
    finally:
        server.terminate()
        server.wait(10)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
