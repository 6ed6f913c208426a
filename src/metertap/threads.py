"""Threads of metertap's, which leave signals to those of the program.

The system gives a signal to any thread of a process that does not block it. Where the program
blocks one, to take it later (`sigwait`, a `signalfd`) or not to be disturbed, a thread that blocks
nothing would get it, and the program's handler would run, or the process would end.

Nothing of the program may run in such a thread that starts processes: they would block all of them.
"""

from __future__ import annotations

import _thread
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_OF_A_THREAD = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
"""Signals that tell a thread of its own fault: blocked, they end the process without a report."""


class Thread(threading.Thread):
    """A thread that takes no signals of the process."""

    def start(self) -> None:
        """Start it. Raises RuntimeError where none can be started."""
        with signals_kept_away():
            super().start()


def start(do: Callable[[], object]) -> None:
    """Start one that `threading` does not know, as where its locks may be held.

    Raises RuntimeError where none can be started.
    """
    with signals_kept_away():
        _thread.start_new_thread(do, ())


@contextmanager
def signals_kept_away() -> Iterator[None]:
    """Block all signals in this thread: threads that start meanwhile block them for good."""
    import signal  # metertap run has threads before anything else has this

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    spared = {number for name in _OF_A_THREAD if (number := getattr(signal, name, None))}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - spared)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
