"""Listing this process until it ends, without waiting long for a folder that hangs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress

from metertap import faults, locks, threads
from metertap.runtime import listing
from metertap.unmocked import unmocked

_LOOK_SECONDS = 10.0
"""Seconds between two checks that the entry still exists."""


class Leaving:
    """Calls `leave` when asked, and waits for it a moment at most. Until then it calls `look`.

    `look` is called every few seconds.

    Python 3.12 and later start no thread while they finalise. So in a process that has threads of
    metertap anyway, `prepare` starts one that waits until it is asked.
    """

    def __init__(self, leave: Callable[[], None], look: Callable[[], object]) -> None:
        self._leave, self._look = leave, look
        self.begin()

    def begin(self) -> None:
        """Begin anew, as in a forked child, which has no threads."""
        self._asked = locks.event()
        self._done = locks.event()
        self._thread: threading.Thread | None = None

    def renew(self) -> None:
        """Note that there is something to leave again.

        A thread that already waits is kept: another one in its place would never be asked, and
        Python would wait for it at the end.
        """
        if self._asked.is_set():
            self.begin()

    def prepare(self) -> None:
        """Start the thread that waits until it is asked. Not safe for several threads at once."""
        if self._thread is None or self._asked.is_set():
            self.begin()
            thread = threads.Thread(
                target=self._run,
                args=(self._asked, self._done),
                name="metertap-listing",
                daemon=True,
            )
            with suppress(RuntimeError):  # listed while Python finalises
                thread.start()
                self._thread = thread

    def now(self, until: float = math.inf) -> None:
        """Take this process out of the listing.

        Waits a moment at most, and not after `until` by the monotonic clock.
        """
        seconds = max(0.0, min(listing.BRIEFLY_SECONDS, until - unmocked.monotonic()))
        self._asked.set()
        if self._thread is None:
            listing.briefly(self._guarded, seconds)
        else:
            self._done.wait(seconds)

    def _run(self, asked: threading.Event, done: threading.Event) -> None:
        while not asked.wait(_LOOK_SECONDS):
            with faults.guarded("listing"):
                self._look()
        self._guarded()
        done.set()

    def _guarded(self) -> None:
        with faults.guarded("listing"):
            self._leave()
