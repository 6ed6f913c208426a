"""The saving of one worker's own totals, so that its counts outlive it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from metertap import faults, locks
from metertap.unmocked import unmocked
from metertap.workers.ledger import Ledger, is_changed
from metertap.workers.members import Member
from metertap.workers.records import Head, Totals
from metertap.workers.rows import Sheet


class Saving:
    """Saves a worker's counts when they have changed, from `begin` to `end`. For any thread."""

    def __init__(self, ledger: Ledger, instance: Callable[[], str]) -> None:
        self._ledger = ledger
        self._instance = instance
        self._lock = locks.lock()
        self.clear()

    def clear(self) -> None:
        """Save nothing until `begin`, also in a forked child."""
        self._totals: Totals | None = None
        self._first = Member(0, 0)
        self._written: Sheet = {}
        """The sections that show a change, as they were when totals were last saved."""
        self._stale: set[str] = set()
        """Sections that were not saved since then."""

    def begin(self, totals: Totals, first: Member) -> None:
        """Save to this file from now on; `first` is the process that started the workers."""
        self._totals, self._first = totals, first

    def end(self) -> None:
        """Save nothing more, after a save in progress: a request may still be answered."""
        with self._lock:
            self._totals = None

    @property
    def has_begun(self) -> bool:
        """Whether counts are saved now."""
        return self._totals is not None

    @property
    def is_missing(self) -> bool:
        """Whether something else has removed the file."""
        return self._totals is not None and self._totals.is_missing

    def begin_anew(self) -> None:
        """Save everything the next time, whatever has changed."""
        self._written, self._stale = {}, set(self._ledger.sections)

    def taken(self, names: Sequence[str]) -> Sheet:
        """Return sections as they are now, once they are saved.

        Counts that were shown once must not decrease, whoever holds the port next.
        """
        with self._lock:
            at, now = unmocked.monotonic(), self._ledger.now({*names, *self._ledger.telling})
            self._write(at, now)
            return {name: now[name] for name in names if name in now}

    def write(self, *, is_last: bool = False) -> None:
        """Save the counts, if they have changed or this may be the last time."""
        with self._lock:
            at, now = unmocked.monotonic(), self._ledger.now(self._ledger.telling)
            if is_last or self._stale or self._is_changed(now):
                self._write(at, self._ledger.now(self._ledger.sections), is_last=is_last)

    def _is_changed(self, now: Sheet) -> bool:
        return is_changed(self._written, {name: now[name] for name in self._ledger.telling})

    def _write(self, at: float, now: Sheet, *, is_last: bool = False) -> None:
        """Save those of these sections that have changed. Nothing once this worker has ended."""
        totals = self._totals
        if totals is None:
            return
        with faults.guarded("workers.write"):
            if is_last or self._is_changed(now):
                self._stale = set(self._ledger.sections)
            stale = self._stale & now.keys()
            if not stale:
                return
            new = {name: now[name] for name in stale}
            totals.save(Head(self._instance(), (self._first,), killed=int(not is_last)), new, at)
            self._written = {**self._written, **new}
            self._stale -= stale
