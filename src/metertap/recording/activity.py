"""Activity of a recorder: callbacks for the first record, for records, and for looks at caches."""

from __future__ import annotations

from collections.abc import Callable

from metertap import faults


class Activity:
    """The callbacks of a recorder, which open endpoints, start threads and find caches."""

    def __init__(self) -> None:
        self._activity_callbacks: list[Callable[[], None]] = []
        self._record_callbacks: list[Callable[[], None]] = []
        self._look_callbacks: list[Callable[[], None]] = []

    def _expect_activity(self) -> None:
        self._seen_activity = False
        self._is_fresh_fork = False  # then tools and caches are there, and a record is activity

    def on_activity(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the first tool, cache, operation or session is seen.

        At once, if one was. A forked child sees its first with the first record.
        """
        self._activity_callbacks.append(callback)
        if self._seen_activity:
            callback()

    @property
    def has_activity(self) -> bool:
        """Whether a tool, cache, operation or session was seen; in a forked child a record."""
        return self._seen_activity

    def forget_activity_callback(self, callback: Callable[[], None]) -> None:
        if callback in self._activity_callbacks:
            self._activity_callbacks.remove(callback)

    def activity(self) -> None:
        """Note that a cache was seen that has no series yet."""
        self._activity()
        self.wake()

    def _activity(self) -> None:
        if not self._seen_activity:
            self._seen_activity = True
            self._is_fresh_fork = False
            try:
                for callback in list(self._activity_callbacks):
                    with faults.guarded("recorder.activity"):
                        callback()
            except BaseException:
                # An interrupt, or a time limit of the program's: the next record calls them again.
                self._seen_activity, self._is_fresh_fork = False, True
                raise

    def wake(self) -> None:
        """Note that something is about to be recorded.

        In a forked child that is the first activity: its tools and caches are there before.
        """
        if self._is_fresh_fork:
            self._activity()
        for callback in list(self._record_callbacks):
            with faults.guarded("recorder.record"):
                callback()

    def on_record(self, callback: Callable[[], None]) -> None:
        """Call `callback` when something begins to be recorded, until that is forgotten.

        So it is with the first call, lookup, operation or session, and every now and then later.
        """
        self._record_callbacks.append(callback)

    def forget_record_callback(self, callback: Callable[[], None]) -> None:
        """Stop calling `callback`."""
        if callback in self._record_callbacks:
            self._record_callbacks.remove(callback)

    def on_look(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` before anybody sees caches: it finds and names what is new."""
        if prepare not in self._look_callbacks:
            self._look_callbacks.append(prepare)

    def look(self) -> None:
        """Find and name new caches, as before anybody sees caches."""
        for prepare in list(self._look_callbacks):
            with faults.guarded("caches.look"):
                prepare()
