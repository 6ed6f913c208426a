"""One line on stderr that says where the live page is, once something can be seen there."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

from metertap import faults, locks, state
from metertap.runtime import running
from metertap.settings import program

_LINE = (
    "metertap: {}/ shows the tools and caches of this program "
    "(METERTAP_ANNOUNCE=false hides this line)\n"
)


class Announcement:
    """Tells the address of the page when the first tool or cache is seen.

    It is told once for all processes that run the same program, such as the workers of a server,
    and not where the program's own log has it already. Nor is it told by `python -c`: what such a
    command writes is read by another program more often than by a person.
    """

    def __init__(self, address: Callable[[], str | None]) -> None:
        """Ask `address` for the page's; None while there is none."""
        self._address = address
        self._lock = locks.lock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._is_due = self._is_told = self._is_there = self._is_logged = False

    def watch(self) -> None:
        """Wait for the first tool or cache."""
        self.forget()
        if state.settings().announce and getattr(sys, "argv", [])[:1] != ["-c"]:
            state.recorder().on_activity(self._seen)

    def forked(self) -> None:
        """Begin again in a forked child, which has an address of its own."""
        self._begin_anew()
        self.watch()

    def forget(self) -> None:
        """Print nothing from now on."""
        state.recorder().forget_activity_callback(self._seen)

    def listens(self, *, is_logged: bool) -> None:
        """Note that the page is there, and whether the program's log has shown its address.

        Called by a thread that may wait for stderr.
        """
        self._is_logged |= is_logged
        self._is_there = True
        if self._is_due:
            self._tell()

    def _seen(self) -> None:
        self._is_due = True
        if self._is_there:
            # A thread of its own: the program's must not wait for whoever reads its stderr.
            threading.Thread(target=self._tell, name="metertap-announcement", daemon=True).start()

    def _tell(self) -> None:
        with faults.guarded("announcement"):
            address = self._address()
            with self._lock:
                if address is None or self._is_told:
                    return
                self._is_told = True
            if not self._is_logged and _is_first():
                _write(_LINE.format(address))


def _is_first() -> bool:
    try:
        return running.is_first_to_tell(program.first_process())
    except OSError:  # nothing can be noted anywhere, and so every worker tells
        return True


def _write(line: str) -> None:
    stream, original = sys.stderr, sys.__stderr__
    if stream is None:
        return
    if original is not None and stream is original:
        # Past its buffer: Python aborts if it ends while a thread holds the lock of that.
        os.write(original.fileno(), line.encode())
    else:
        stream.write(line)
