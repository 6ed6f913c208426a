"""Taking this process out of the listing as it ends, although the listing's folder may hang."""

from __future__ import annotations

import math
import threading
import time
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
        """Begin anew, as in a forked child, which has no thread."""
        self._asked = locks.event()
        self._done = locks.event()
        self._thread: threading.Thread | None = None

    def renew(self) -> None:
        """Note that there is something to leave, where it was left before.

        A thread that waits to be asked is kept: one that nobody asks any more would be waited for
        as the process ends.
        """
        if self._asked.is_set():
            self.begin()

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

    def now(self, until: float = math.inf) -> None:
        """Take this process out of the listing.

        Waits a moment at most, and not after `until` by the monotonic clock.
        """
        seconds = max(0.0, min(listing.BRIEFLY_SECONDS, until - time.monotonic()))
        self._asked.set()
        if self._thread is None:
            listing.briefly(self._guarded, seconds)
        else:
            self._done.wait(seconds)

    def _run(self, asked: threading.Event, done: threading.Event) -> None:
        asked.wait()
        self._guarded()
        done.set()

    def _guarded(self) -> None:
        with faults.guarded("listing"):
            self._leave()
