"""One line on stderr with the address of the live page, once there is something to see."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from metertap import faults, locks, state, threads
from metertap.runtime import running
from metertap.settings import program
from metertap.text import printable

SHOWS = "%s shows the tools and caches of this program"
_HIDES = "METERTAP_ANNOUNCE=false hides this line"
_JOINED = (
    "%s/ shows this process together with process %d, as workers of %s "
    f"(OTEL_SERVICE_NAME=NAME tells them apart; {_HIDES})"
)
_told: set[str] = set()
"""Lines that this process has printed."""


class Announcement:
    """Prints the address of the page when the first tool or cache appears.

    Once for all processes of one program, such as the workers of a server, and not if the program's
    own log has shown the address. `python -c` prints nothing: other programs read its output more
    often than people do.

    A process that was started by itself, but answers together with others, prints that.
    """

    def __init__(self, address: Callable[[], str | None], joined: Callable[[], str | None]) -> None:
        """Take functions: `address` returns the page's address, or None while there is none.

        `joined` then returns a sentence about the process that answers for this one, if one does.
        """
        self._address = address
        self._joined = joined
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
        """Begin again in a forked child, which has its own address."""
        self._begin_anew()
        self.watch()

    def forget(self) -> None:
        """Print nothing from now on."""
        state.recorder().forget_activity_callback(self._seen)

    def listens(self, *, is_logged: bool) -> None:
        """Note that the page is open, and whether the program's log has shown its address.

        Called by a thread that may wait for stderr.
        """
        self._is_logged |= is_logged
        self._is_there = True
        if self._is_due:
            self._tell()

    def _seen(self) -> None:
        self._is_due = True
        if self._is_there:
            # In a thread, so that the program need not wait for the reader of its stderr.
            threads.Thread(target=self._tell, name="metertap-announcement", daemon=True).start()

    def _tell(self) -> None:
        with faults.guarded("announcement"):
            address = self._address()
            shows = SHOWS % f"{address}/"
            line = self._joined() if address is None else f"{shows} ({_HIDES})"
            with self._lock:
                if line is None or self._is_told:
                    return
                self._is_told = True
            # A notebook may begin again in a later cell, mostly at the same address.
            if not self._is_logged and line not in _told and _is_first():
                _told.add(line)
                _write(f"metertap: {line}\n")


def joined(workers: str | None, service: str) -> str | None:
    """Return which process answers for this one among the `workers` of a service; None if none.

    Workers that their master has started print nothing: answering together is their purpose.
    """
    if workers is None or not program.is_started_for_itself():
        return None
    for other in running.running():
        url, is_other = other.json_url or "", other.pid != os.getpid()
        if other.workers == workers and is_other and url.startswith("http"):
            return _JOINED % (url, other.pid, printable(service))
    return None


def _is_first() -> bool:
    try:
        return running.is_first_to_tell(program.first_process())
    except OSError:  # nothing can be noted, so every worker prints
        return True


def _write(line: str) -> None:
    stream, original = sys.stderr, sys.__stderr__
    if stream is None:
        return
    if original is not None and stream is original:
        # Not through its buffer: Python aborts if it ends while a thread holds the buffer's lock.
        os.write(original.fileno(), line.encode())
    else:
        stream.write(line)
