"""The first moments of an end: another signal that comes in them asks for nothing new."""

from __future__ import annotations

import _thread
from contextlib import suppress

from metertap import signal_mask

_STEPS = 5
_STEP_SECONDS = 0.02


class FirstMoments:
    """Tell, by `are_over`, whether a tenth of a second has passed since this was made.

    `timeout` of coreutils sends each signal to its child and then to its group, in which the child
    is. The clock does not tell which signals come so soon: a process may stand still (a quota of
    the processor's time, SIGSTOP, an import that holds the interpreter's lock), and handles after
    that what was sent long before. So a thread counts steps, which wait while the process does.
    """

    def __init__(self) -> None:
        self.are_over = False
        self._ended = _thread.allocate_lock()
        self._ended.acquire()
        self._counted: _thread.LockType | None = None
        with suppress(RuntimeError):  # there are no threads while Python 3.12 ends
            # Not a Thread: the main thread may hold the lock of those.
            self._counted = signal_mask.start(self._count)

    def end(self) -> None:
        """Let them be over now, and wait until the thread that counts has ended."""
        self._ended.release()
        if self._counted is not None:
            self._counted.acquire(timeout=1.0)

    def _count(self) -> None:
        for _ in range(_STEPS):
            if self._ended.acquire(timeout=_STEP_SECONDS):
                break
        self.are_over = True
