"""One line on stderr that says where the live page is, once something can be seen there."""

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
"""Lines that this process has written."""


class Announcement:
    """Tells the address of the page when the first tool or cache is seen.

    It is told once for all processes that run the same program, such as the workers of a server,
    and not where the program's own log has it already. Nor is it told by `python -c`: what such a
    command writes is read by another program more often than by a person.

    A process that was started for itself, and answers together with others, says so.
    """

    def __init__(self, address: Callable[[], str | None], joined: Callable[[], str | None]) -> None:
        """Ask `address` for the page's; None while there is none.

        Then `joined` is asked what there is to say of the process that answers for this one.
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
            # A notebook begins again in a later cell, mostly at the same address.
            if not self._is_logged and line not in _told and _is_first():
                _told.add(line)
                _write(f"metertap: {line}\n")


def joined(workers: str | None, service: str) -> str | None:
    """Say which process answers for this one, of the `workers` of a service; None if none does.

    Workers that a master of theirs started are silent, since that is what they are for.
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
