"""Taking this process out of the listing as it ends, although the listing's folder may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from metertap import faults, locks
from metertap.runtime import listing


class Leaving:
    """Calls `leave` once somebody asks for it, and waits for that a moment at most.

    Python 3.12 and later start no thread while the process ends. So where the process has threads
    of ours anyway, `prepare` starts one that waits until it is asked.
    """

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self.begin()

    def begin(self) -> None:
        """Begin again: there is something to leave again, or this is a forked child."""
        self._asked = locks.event()
        self._done = locks.event()
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Start a thread that waits until it is asked. Not safe for several threads at once."""
        if self._thread is None or self._asked.is_set():
            self.begin()
            thread = threading.Thread(
                target=self._run,
                args=(self._asked, self._done),
                name="metertap-listing",
                daemon=True,
            )
            with suppress(RuntimeError):  # it is listed while the process ends already
                thread.start()
                self._thread = thread

    def now(self) -> None:
        """Take this process out of the listing, waiting a moment at most."""
        self._asked.set()
        if self._thread is None:
            listing.briefly(self._guarded)
        else:
            self._done.wait(listing.BRIEFLY_SECONDS)

    def _run(self, asked: threading.Event, done: threading.Event) -> None:
        asked.wait()
        self._guarded()
        done.set()

    def _guarded(self) -> None:
        with faults.guarded("listing"):
            self._leave()
