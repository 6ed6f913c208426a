"""Threads of metertap's, which leave signals to those of the program.

The system gives a signal to any thread of a process that does not block it. Where the program
blocks one, to take it later (`sigwait`, a `signalfd`) or not to be disturbed, a thread that blocks
nothing would get it, and the program's handler would run, or the process would end.

Nothing of the program may run in such a thread that starts processes: they would block all of them.
"""

from __future__ import annotations

import threading

from metertap.signal_mask import signals_kept_away


class Thread(threading.Thread):
    """A thread that takes no signals of the process."""

    def start(self) -> None:
        """Start it. Raises RuntimeError where none can be started."""
        with signals_kept_away():
            super().start()
