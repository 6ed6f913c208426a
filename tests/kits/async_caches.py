"""Asynchronous caches in tests that are not: a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

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
