"""What `metertap run` does inside the program: instrument, and flush when it is told to end."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from metertap import guard
from metertap.tap import Tap, instrument


def start() -> None:
    """Called before the program's first line. Never raises."""
    with guard.guarded("run"):
        tap = instrument()
        if tap.pipeline.pushes:
            flush_on_sigterm(tap)


def flush_on_sigterm(tap: Tap) -> None:
    """Push what was measured when SIGTERM ends the program.

    Python dies of SIGTERM without running exit handlers. Where nobody handles the signal, ours
    flushes for half a second at most and lets the signal end the process as it would have: its
    parent sees the same status. A handler that the program installs replaces ours.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return

    def flush_and_die(number: int, _frame: Any) -> None:
        with guard.guarded("run.sigterm"):
            tap.at_exit()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, flush_and_die)
