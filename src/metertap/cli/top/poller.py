"""Polling of processes for their documents, each in its own thread: a slow one delays no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from metertap.cli.client import NONE, Unreachable
from metertap.cli.credentials import Credentials
from metertap.cli.processes import Process, document_of, processes, spending_of, unserved
from metertap.cli.top.history import History
from metertap.cli.top.readings import Reading, Readings
from metertap.runtime import running
from metertap.runtime.running import Running
from metertap.tables.spending import Spending

_MOST_GONE = 5
_GONE_SECONDS = 600.0
_DAYS_SECONDS = 60.0
_SLOW_SECONDS = 2.0
"""How long an answer may be overdue before the screen says so."""

Told = Callable[[], None]


class Asker(threading.Thread):
    """A thread that asks one process at intervals, and never again before it has an answer."""

    def __init__(self, process: Process, interval: float, answer: Callable[[Answer], None]) -> None:
        super().__init__(daemon=True)  # a process that hangs must not delay the end of the view
        self.interval = interval
        self._process = process
        self._answer = answer
        self._ended = threading.Event()
        self._readings = Readings()
        self._spending: Spending | None = None
        self._next_days = 0.0

    def run(self) -> None:
        """Ask until `end()`."""
        while not self._ended.is_set():
            self._answer(self._ask())
            # All threads ask at the same multiples of the interval, so that their answers arrive
            # together and the screen is drawn once.
            wait = self.interval - time.monotonic() % self.interval
            self._ended.wait(wait if wait > self.interval / 4 else wait + self.interval)

    def end(self) -> None:
        """Let the thread end once it has the answer that it may be waiting for."""
        self._ended.set()

    def _ask(self) -> Answer:
        try:
            reading = self._readings.of(document_of(self._process))
        except Unreachable as error:
            return Answer(self, None, error)
        return Answer(self, replace(reading, spending=self._days() if reading.costs else None))

    def _days(self) -> Spending | None:
        """Return the costs of the last days, asked for once a minute; None without a history."""
        if time.monotonic() >= self._next_days:
            self._next_days = time.monotonic() + _DAYS_SECONDS
            with suppress(Unreachable):
                self._spending = spending_of(self._process)
        return self._spending


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one request to one process: a reading, or the reason why there is none."""

    asker: Asker
    reading: Reading | None
    problem: Unreachable | None = None


@dataclass(slots=True)
class Watched:
    """The state of one process as far as it is known. Times are Unix seconds of this machine."""

    process: Process
    since: float
    asker: Asker | None = None
    reading: Reading | None = None
    answered: float | None = None
    began_anew: float | None = None
    problem: Unreachable | None = None
    gone: float | None = None
    """The time at which the process was first found to be no longer registered."""
    asked: int = 0
    history: History = field(default_factory=History)

    @property
    def name(self) -> str:
        """The name of its service; its address until that is known."""
        if self.reading is not None and self.reading.service:
            return self.reading.service
        return self.process.name.removeprefix("http://")

    def is_gone(self) -> bool:
        """Return whether the process has ended: it is no longer registered, or nothing listens."""
        return self.gone is not None or (
            self.problem is not None and self.problem.is_refused and self.answered is not None
        )

    def is_silent(self, now: float) -> bool:
        """Return whether the process has ended, failed to answer, or is late with an answer."""
        last = self.since if self.answered is None else self.answered
        late = now - last > _SLOW_SECONDS + (self.asker.interval if self.asker else 0)
        return self.is_gone() or self.problem is not None or late

    def silent_since(self) -> float:
        """Return the time of the process's end, else of its last answer, else of its discovery."""
        if self.gone is not None:
            return self.gone
        return self.since if self.answered is None else self.answered


class Poller:
    """The threads that ask the given processes, or every measured process of this user."""

    def __init__(
        self,
        urls: Sequence[str],
        interval: float,
        told: Told = lambda: None,
        given: Credentials = NONE,
    ) -> None:
        self._interval = interval
        self._given = given
        self._told = told
        self._answers: SimpleQueue[Answer] = SimpleQueue()
        self._found: dict[tuple[str, int | None], Watched] = {}
        self._discovers = not urls
        self.problem: str | None = None
        """The reason why running processes cannot be listed, if they cannot."""
        self.unserved: list[tuple[Running, str]] = []
        """Measured processes that cannot be asked, each with the reason."""
        for url in urls:
            for process in processes(url, given):
                self._watch(process)

    def discover(self) -> bool:
        """Look for processes that came or went; return whether any did. Given ones never change."""
        if not self._discovers:
            return False
        self.problem = running.problem()
        if self.problem is not None:
            return False
        self.unserved = unserved()
        registered = {
            (item.url + item.query, item.pid): item for item in processes(None, self._given)
        }
        changed = False
        for key, process in registered.items():
            known = self._found.get(key)
            if known is None or known.gone is not None:
                self._watch(process)
                changed = True
        for key, watched in self._found.items():
            if key not in registered and watched.gone is None:
                watched.gone = time.time()
                if watched.asker is not None:
                    watched.asker.end()
                    watched.asker = None
                changed = True
        self._forget()
        return changed

    def take(self) -> bool:
        """Take the answers that have arrived, and return whether there were any."""
        changed = False
        while True:
            try:
                answer = self._answers.get_nowait()
            except Empty:
                return changed
            changed = True
            for watched in self._found.values():
                if watched.asker is answer.asker:
                    _take(watched, answer)

    def listed(self) -> list[Watched]:
        """Return the processes in the order in which they appeared, with the ended ones last."""
        return sorted(self._found.values(), key=lambda watched: watched.gone is not None)

    def end(self) -> None:
        """Let every thread that asks a process end."""
        for watched in self._found.values():
            if watched.asker is not None:
                watched.asker.end()

    def _forget(self) -> None:
        now = time.time()
        gone = {key: item.gone for key, item in self._found.items() if item.gone is not None}
        for place, (key, since) in enumerate(sorted(gone.items(), key=lambda item: -item[1])):
            never_answered = self._found[key].reading is None
            if place >= _MOST_GONE or now - since > _GONE_SECONDS or never_answered:
                del self._found[key]

    def _watch(self, process: Process) -> None:
        key = (process.url + process.query, process.pid)
        if key in self._found and self._found[key].gone is None:
            return  # the same address was given twice
        asker = Asker(process, self._interval, self._answered)
        self._found.pop(key, None)  # the newest comes last
        self._found[key] = Watched(process, time.time(), asker, history=History(self._interval))
        asker.start()

    def _answered(self, answer: Answer) -> None:
        self._answers.put(answer)
        self._told()


def _take(watched: Watched, answer: Answer) -> None:
    watched.asked += 1
    watched.problem = answer.problem
    if answer.reading is not None:
        watched.answered = time.time()
        if answer.reading.began_anew:
            watched.began_anew = watched.answered
        watched.reading = answer.reading
        watched.history.add(answer.reading)
