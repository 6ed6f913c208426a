"""The thread that writes a process's history: every ten seconds, the measurements since."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from metertap import faults, locks, threads
from metertap.history import forks
from metertap.history.answers import HistoryError, Subject
from metertap.history.database import TIERS
from metertap.history.gathering import Gathering
from metertap.history.store import Run, Store
from metertap.history.tally import Tally
from metertap.recording import Recorder
from metertap.unmocked import unmocked

_EVERY = TIERS[0]
_TEND_SECONDS = TIERS[1]
_MOST_KEPT = 20_000
"""The most tallies that wait for a file that cannot be written; then intervals are joined."""
_SLOW_SECONDS = 5.0
"""An operation on the file that takes longer is shown in the diagnosis as one that hangs."""
_now = unmocked.time


class HistoryWriter:
    """The writer of all that `recorder` records to a file, from `start` to `close`.

    The thread begins with the first tool or cache. If the file cannot be written, one warning says
    so and the measurements wait in memory.
    """

    def __init__(
        self,
        path: Path,
        most_bytes: int,
        recorder: Recorder,
        service: Callable[[], Mapping[str, str]],
    ) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._recorder = recorder
        self._service = service
        self._gathering = Gathering(recorder, self._crowded)
        self._begin_anew()
        forks.WRITERS.add(self)

    def _begin_anew(self) -> None:
        self._starting = locks.lock()
        self._writing = locks.lock()
        self._wake = locks.event()
        self._is_ended = False
        self._thread: threading.Thread | None = None
        self._asked: list[tuple[float, threading.Event]] = []
        """Until when somebody waits for what was measured to be written, and how to say it is."""
        self.store: Store | None = None
        self._waiting: list[tuple[int, dict[Subject, Tally]]] = []
        self._taken = _now()
        self._tended = -float(_TEND_SECONDS)
        self._last_write: float | None = None
        self._problem: str | None = None
        self._busy_since: float | None = None

    def start(self) -> None:
        """Start collecting, and write once a tool or cache is used."""
        with faults.guarded("history.start"):
            self._gathering.start()
            self._recorder.on_activity(self._begin)

    def before_fork(self, seconds: float) -> bool:
        """Let go of the file once nobody writes, and say whether that was within `seconds`.

        A forked child inherits SQLite's own locks: one that is held would be held there for ever,
        and of an open file it would take locks for its own that only the parent has.
        """
        is_let_go = self._writing.acquire(timeout=seconds)
        if is_let_go and self.store is not None:
            with faults.guarded("history.fork"):
                self.store.close()
            self.store = None
        return is_let_go

    def forked_in_parent(self) -> None:
        """Go on writing, where `before_fork` has let go."""
        self._writing.release()

    def forked(self) -> None:
        """Begin again in a forked child, with its own measurements."""
        self._gathering.forked()
        self._begin_anew()

    def flush(self, until: float) -> None:
        """Write the measurements so far, and wait until `until` by the monotonic clock at most.

        The thread writes them, since the file may lie on a file system that hangs.
        """
        if self._thread is None or self._is_ended:
            return
        done = locks.event()
        self._asked.append((until, done))
        self._wake.set()
        done.wait(max(0.0, until - unmocked.monotonic()))

    def close(self, until: float) -> None:
        """Write the rest, and end."""
        self.flush(until)
        self.end()
        self._gathering.stop()
        if self._writing.acquire(timeout=max(0.0, until - unmocked.monotonic())):
            try:
                if self.store is not None:
                    self.store.close()
                    self.store = None
            finally:
                self._writing.release()

    def end(self) -> None:
        """Ask the thread to end, and return at once."""
        self._recorder.forget_activity_callback(self._begin)
        self._is_ended = True
        self._wake.set()

    def described(self) -> dict[str, Any]:
        """Describe file and last write for `metertap doctor`."""
        since, problem = self._busy_since, self._problem
        if since is not None and (seconds := unmocked.monotonic() - since) > _SLOW_SECONDS:
            problem = f"it has been opened, read or written for {seconds:.0f} s"
        return {
            "file": str(self.path),
            "last_write": self._last_write,
            "waiting_intervals": len(self._waiting),
            "problem": problem,
        }

    def _begin(self) -> None:
        with self._starting:
            if self._thread is None and not self._is_ended:
                self._taken = _now()
                thread = threads.Thread(target=self._run, name="metertap-history", daemon=True)
                thread.start()
                self._thread = thread

    def _crowded(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        wake = self._wake
        # Not all processes at once. Of a generator of our own: a program may have seeded that of
        # the module, and counts on its numbers.
        late = random.Random().uniform(0.05, 0.45)  # noqa: S311
        self._busily(self._look_at_file)
        while not self._is_ended and wake is self._wake:
            due = _EVERY - (_now() - late) % _EVERY
            is_crowded = wake.wait(due)
            wake.clear()
            if self._is_ended:
                return
            if self._asked:
                self._busily(self._answer)
            else:
                self._busily(self._gathering.sort if is_crowded else self._write)

    def _busily(self, do: Callable[[], None]) -> None:
        """Do something that may take long, or hang, with the file or what is to be written."""
        with self._writing, faults.guarded("history"):
            self._busy_since = unmocked.monotonic()
            try:
                do()
            finally:
                self._busy_since = None

    def _answer(self) -> None:
        asked = self._asked[: len(self._asked)]
        del self._asked[: len(asked)]
        try:
            self._write(max(0.0, asked[-1][0] - unmocked.monotonic()))
        finally:
            for _, done in asked:
                done.set()

    def _look_at_file(self) -> None:
        """Open the file at once, so that a file that cannot be written is reported early."""
        try:
            self._opened()
        except HistoryError as error:
            self._tell(error)

    def _write(self, seconds: float | None = None) -> None:
        """Write the measurements since the last time, and those that waited.

        `seconds` is given when the process ends: the longest time to wait for other processes.
        """
        with faults.guarded("history"):
            self._take()
            try:
                store = self._opened()
                if seconds is not None:
                    store.wait_at_most(seconds)
                if self._waiting:
                    store.write(self._who(), self._waiting)
                    self._waiting = []
                    self._last_write = _now()
                if seconds is None and unmocked.monotonic() - self._tended >= _TEND_SECONDS:
                    self._tended = unmocked.monotonic()
                    store.tend(_now())
                self._problem = None
            except HistoryError as error:
                self._tell(error)
                if self.store is not None:
                    with suppress(HistoryError):
                        self.store.close()
                    self.store = None

    def _take(self) -> None:
        # By the earlier of both times: the clock may have been set back meanwhile.
        now = _now()
        start = int(min(self._taken, now) // _EVERY * _EVERY)
        self._taken = now
        tallies = self._gathering.take()
        if tallies:
            self._waiting.append((start, tallies))
        while len(self._waiting) > 1 and sum(len(each) for _, each in self._waiting) > _MOST_KEPT:
            (start, one), (_, other) = self._waiting[:2]
            for subject, tally in other.items():
                one.setdefault(subject, Tally()).merge(tally)
            self._waiting[:2] = [(start, one)]

    def _opened(self) -> Store:
        if self.store is not None and (self.store.is_lost() or self.store.is_moved()):
            self.store.close()
            self.store = None
        forks.check(self.path)
        if self.store is None:
            self.store = Store(self.path, self._most_bytes)
        return self.store

    def _who(self) -> Run:
        service = self._service()
        return Run(
            service.get("name", ""), service.get("version", ""), service.get("instance_id", "")
        )

    def _tell(self, error: HistoryError) -> None:
        self._problem = str(error)
        faults.warn_once(
            f"history {self._problem}",
            "history cannot be written (%s); what is measured waits in memory, and it is tried "
            "again every %d s and when the process ends",
            self._problem,
            _EVERY,
        )
