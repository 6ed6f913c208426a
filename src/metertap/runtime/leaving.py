"""Keeping this process in the listing, and taking it out as it ends, though its folder may hang."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from metertap import faults, locks, threads
from metertap.runtime import listing

_LOOK_SECONDS = 10.0
"""The time between two looks whether the entry is still there."""


class Leaving:
    """Calls `leave` once somebody asks for it, and waits for that a moment at most.

    Until then its thread calls `look` now and then.

    Python 3.12 and later start no thread while the process ends. So where the process has threads
    of ours anyway, `prepare` starts one that waits until it is asked.
    """

    def __init__(self, leave: Callable[[], None], look: Callable[[], object]) -> None:
        self._leave, self._look = leave, look
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
            thread = threads.Thread(
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
        while not asked.wait(_LOOK_SECONDS):
            with faults.guarded("listing"):
                self._look()
        self._guarded()
        done.set()

    def _guarded(self) -> None:
        with faults.guarded("listing"):
            self._leave()
