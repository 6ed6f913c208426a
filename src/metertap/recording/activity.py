"""Activity of a recorder: callbacks for the first record, for records, and for looks at caches."""

from __future__ import annotations

from collections.abc import Callable

from metertap import faults


class Activity:
    """A recorder's callbacks, which open endpoints, start threads and find caches."""

    def __init__(self) -> None:
        self._activity_callbacks: list[Callable[[], None]] = []
        self._record_callbacks: list[Callable[[], None]] = []
        self._look_callbacks: list[Callable[[], None]] = []

    def _expect_activity(self) -> None:
        self._seen_activity = False
        self._is_fresh_fork = False  # a record is activity, then

    def on_activity(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the first tool, cache, operation or session appears.

        At once, if one has appeared. In a forked child the first record counts as that.
        """
        self._activity_callbacks.append(callback)
        if self._seen_activity:
            callback()

    @property
    def has_activity(self) -> bool:
        """Whether a tool, cache, operation or session has appeared; in a forked child, a record."""
        return self._seen_activity

    def forget_activity_callback(self, callback: Callable[[], None]) -> None:
        if callback in self._activity_callbacks:
            self._activity_callbacks.remove(callback)

    def activity(self) -> None:
        """Note a cache that has no series yet."""
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
                # An interrupt, or a time limit of the program: the next record calls them again.
                self._seen_activity, self._is_fresh_fork = False, True
                raise

    def wake(self) -> None:
        """Note that something is about to be recorded.

        In a forked child this is the first activity, since its tools and caches are the parent's.
        """
        if self._is_fresh_fork:
            self._activity()
        for callback in list(self._record_callbacks):
            with faults.guarded("recorder.record"):
                callback()

    def on_record(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a record begins, until it is forgotten.

        The first call, lookup, operation or session calls it, and some of the later ones.
        """
        self._record_callbacks.append(callback)

    def forget_record_callback(self, callback: Callable[[], None]) -> None:
        """Stop calling `callback`."""
        if callback in self._record_callbacks:
            self._record_callbacks.remove(callback)

    def on_look(self, prepare: Callable[[], None]) -> None:
        """Call `prepare` before caches are read, so that it can find and name new ones."""
        if prepare not in self._look_callbacks:
            self._look_callbacks.append(prepare)

    def look(self) -> None:
        """Find and name new caches, as has to be done before caches are read."""
        for prepare in list(self._look_callbacks):
            with faults.guarded("caches.look"):
                prepare()
