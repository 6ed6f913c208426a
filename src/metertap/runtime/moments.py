"""The first moments of an end, in which a repeated signal changes nothing, and the last ones."""

from __future__ import annotations

import _thread
import os
import sys
import threading
from contextlib import suppress

from metertap import signal_mask
from metertap.unmocked import unmocked

_WITHOUT_FILES_SECONDS = 10.0
"""How much longer threads are waited for where no file can be opened."""
_STEPS = 5
_STEP_SECONDS = 0.02


class FirstMoments:
    """Tells by `are_over` whether a tenth of a second has passed since its creation.

    `timeout` of coreutils sends each signal to its child, and then to its process group, which
    includes the child. Signals that came that close cannot be told by the clock: a process may
    stand still (a quota of processor time, SIGSTOP, an import that holds the interpreter's lock)
    and handle them long after. So a thread counts steps, which stand still together with the
    process.
    """

    def __init__(self) -> None:
        self.are_over = False
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        self._counted: _thread.LockType | None = None
        with suppress(RuntimeError):  # no thread can start while Python 3.12 finalises
            # Not a Thread: the main thread may hold the locks of that class.
            self._counted = signal_mask.start(self._count)

    def end(self) -> None:
        """End them now, and wait for the end of the counting thread."""
        self._ended.release()
        if self._counted is not None:
            self._counted.acquire(timeout=1.0)

    def _count(self) -> None:
        for _ in range(_STEPS):
            if self._ended.acquire(timeout=_STEP_SECONDS):
                break
        self.are_over = True


def seconds_without_files() -> float:
    """Return how much longer threads are waited for: on a busy machine they may need it.

    It is asked before endpoints close, which gives back files that others may take at once.
    """
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return _WITHOUT_FILES_SECONDS
    return 0.0


def join_threads(until: float) -> None:
    """Wait for the threads of metertap, which were asked to end, until that time at most.

    A daemon thread that wakes up while Python finalises is ended by `pthread_exit`, which ends the
    whole process with SIGABRT where no file can be opened (glibc loads a library for it).
    """
    for thread in threading.enumerate():
        if thread.daemon and thread.name.startswith("metertap-"):
            thread.join(max(0.0, until - unmocked.monotonic()))


def keep_interrupt() -> None:
    """Let a program that KeyboardInterrupt ended die of SIGINT, as it does without metertap.

    CPython notes such an end in a flag, and reads it after the exit handlers. Each `exec` of a text
    clears the flag, on any thread: that of a dataclass or a named tuple in a module that a thread
    of metertap was importing, for example. An `exec` that KeyboardInterrupt ends sets it again.
    """
    error = getattr(sys, "last_value", None)
    traceback = getattr(sys, "last_traceback", None)
    is_the_programs_end = (
        type(error) is KeyboardInterrupt
        and not hasattr(sys, "ps1")  # in an interactive session the last error ended nothing
        and traceback is not None
        and traceback.tb_frame.f_back is None
    )
    if is_the_programs_end:
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")  # noqa: S102  # a text of ours
