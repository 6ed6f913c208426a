"""The first moments of an end, in which another signal asks for nothing new."""

from __future__ import annotations

import _thread
from contextlib import suppress

from metertap import signal_mask

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
