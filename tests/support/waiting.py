"""Waiting for something that another thread or process does."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_DAY = 86_400


def wait_for(what: Callable[[], T], seconds: float = 60.0) -> T:
    """The first true value of `what()`; fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"nothing came in {seconds} s; last was {value!r}"
        time.sleep(0.02)


def stop(pid: int) -> None:
    """Stop a process, and wait until its last thread stands still.

    The signal is taken by one thread, which may have to wait for the processor; others run on.
    """
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    wait_for(lambda: all(_stands(thread) for thread in threads.iterdir()))


def _stands(thread: Path) -> bool:
    with suppress(FileNotFoundError):  # it has ended meanwhile
        return (thread / "stat").read_bytes().rpartition(b")")[2].split()[0] == b"T"
    return True


def today() -> int:
    """When this day (UTC) began, in Unix seconds; a day that is about to end is waited for."""
    left = _DAY - time.time() % _DAY
    if left < 60:
        time.sleep(left + 0.1)
    return int(time.time() // _DAY * _DAY)
