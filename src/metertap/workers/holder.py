"""The collector of the counts of all other workers, running and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

from metertap import faults, locks
from metertap.unmocked import os, unmocked
from metertap.workers import records
from metertap.workers.checking import Malformed, moment
from metertap.workers.exchange import Heard
from metertap.workers.ledger import Ledger
from metertap.workers.lines import Line, Message, ask_all
from metertap.workers.members import SOCKET, TOTALS, Files, Member, raise_exhausted, remove
from metertap.workers.merged import Merged
from metertap.workers.past import Past
from metertap.workers.records import MOST_BYTES, Head, Record
from metertap.workers.rows import Items, Sheet
from metertap.workers.wire import OtherVersion, framed

_ASK_SECONDS = 0.25
"""The longest, in seconds, that all workers together are waited for."""
_LATE_SECONDS = 0.1
"""The seconds for which late answers are still read, so that the next ones are short."""
_TRUSTED_SECONDS = 2.0
"""The age, in seconds, of a late worker's last answer from which its file is read instead."""
HOLDS, REACHED, NOT_REACHED, LEFT = "holds the port", "reached", "not reached", "left"


@dataclass(frozen=True, slots=True)
class Worker:
    """One running worker, and the age of its figures."""

    pid: int
    instance: str
    state: str
    age_seconds: float
    reason: str | None = None
    """Why it was not reached."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """Some sections of all workers merged, and those of each."""

    merged: Mapping[str, Items]
    workers: tuple[Worker, ...]
    ended: int
    """The number of ended workers whose counts are included."""
    killed: int
    """The number of these whose last second may be missing."""
    sheets: Mapping[int, Sheet]
    """The sections of each worker, by process id."""


@dataclass(slots=True)
class _Peer:
    """The last answer of one other worker, and the time of each of its sections."""

    line: Line
    instance: str = ""
    heard: dict[str, Heard] = field(default_factory=dict)
    """Its answers on this connection, by section."""
    sheet: dict[str, Items] = field(default_factory=dict)
    at: dict[str, float] = field(default_factory=dict)

    def oldest(self, names: Iterable[str]) -> float:
        """Return the time of the oldest of these sections; 0 if one is not known."""
        return min((self.at.get(name, 0.0) for name in names), default=0.0)


class Holder:
    """A collector of the counts of all workers of one service. Any thread may ask it.

    The holder of the port keeps the totals of ended workers; the other workers read what it keeps.
    """

    def __init__(
        self,
        files: Files,
        ledger: Ledger,
        me: Member,
        first: Member,
        instance: Callable[[], str],
        *,
        is_holding: bool = True,
    ) -> None:
        self.is_holding = is_holding
        self._files = files
        self._ledger = ledger
        self._me = me
        self._instance = instance
        self._peers: dict[Member, _Peer] = {}
        self._past = Past(files, ledger.sections, first)
        self._is_over = False
        self._merged = Merged()
        self._lock = locks.lock()

    @property
    def has_past(self) -> bool:
        """Whether totals of ended workers are kept."""
        return not self._past.is_empty

    def begin(self, since: int | None) -> bool:
        """Take over the totals of ended workers, unless the whole service has ended.

        A holder that took part before continues. A new one passes `since`, when it took the lock:
        workers from before have an older socket, and the process that started the workers may be
        about to start more. Otherwise the service begins again, and counts from zero. Returns
        whether it continues.
        """
        self._past.read()
        is_continued = since is None or self._is_continued(since)
        if not is_continued:
            self._past.forget()
            for other in self._others():
                if not other.is_alive:
                    self._remove(other)
        self.look()
        return is_continued

    def look(self) -> None:
        """Add the totals of workers that have ended meanwhile."""
        with self._lock:
            if self._is_over:
                return
            self._past.restore()
            self._absorb(other for other in self._others() if not other.is_alive)
            late = [peer.line for peer in self._peers.values() if peer.line.is_waiting]
            if late:
                ask_all(late, None, _LATE_SECONDS, self._take)

    def gathered(
        self, names: Sequence[str], taken: Callable[[Sequence[str]], Sheet]
    ) -> Gathered | None:
        """Ask all others for some sections; None if there are no others and never were.

        `taken` returns this worker's. Raises OSError if files cannot be read now: without their
        figures, counts would decrease.
        """
        with self._lock:
            if self._is_over:
                return None
            others = self._others()
            living = {other: files for other, files in others.items() if other.is_alive}
            ended = [other for other in others if other not in living]
            if self.is_holding:
                self._absorb(ended)
            else:
                self._look_at_past(ended)
            for gone in self._peers.keys() - living.keys():
                self._peers.pop(gone).line.close()
            if not living and not self.has_past:
                return None
            own: dict[str, Items] = {}
            state = HOLDS if self.is_holding else REACHED
            workers = [Worker(self._me.pid, self._instance(), state, 0.0)]
            workers += self._asked(living, names, lambda: own.update(taken(names)))
            sheets: dict[int, Sheet] = {self._me.pid: own}
            for other in living:
                sheets[other.pid] = self._peers[other].sheet
            all_sheets = [*sheets.values(), self._past.record.sheet]
            merged = {
                name: self._merged.of(self._ledger.sections[name], all_sheets) for name in own
            }
            past = self._past.record.head
            return Gathered(merged, tuple(workers), past.ended, past.killed, sheets)

    def close(self) -> None:
        """End all connections, and leave the files to the next holder of the port."""
        with self._lock:
            self._is_over = True
            for peer in self._peers.values():
                peer.line.close()

    def _others(self) -> dict[Member, set[str]]:
        """Return all others with files, and those that had lost theirs before they ended."""
        found = self._files.members()
        found.pop(self._me, None)
        for known in self._peers.keys() - found.keys():
            if self.is_holding or known.is_alive:
                found[known] = set()
        return found

    def _is_continued(self, since: int) -> bool:
        records_of_ended = [self._past.record]
        for other, suffixes in self._others().items():
            if other.is_alive:
                if SOCKET in suffixes and self._is_older(other, since):
                    return True
            elif (record := self._totals(other)) is not None:
                records_of_ended.append(record)
        return any(record.is_continued for record in records_of_ended)

    def _is_older(self, other: Member, since: int) -> bool:
        with suppress(OSError):
            return os.lstat(self._files.name(other, SOCKET)).st_mtime_ns < since
        return False

    def _asked(
        self,
        living: Mapping[Member, set[str]],
        names: Sequence[str],
        meanwhile: Callable[[], None],
    ) -> list[Worker]:
        for other in living:
            if other not in self._peers:
                self._peers[other] = _Peer(Line(other, self._files.name(other, SOCKET)))
        # A connection stays open after the socket was removed.
        reachable = [
            other
            for other in living
            if SOCKET in living[other] or self._peers[other].line.socket is not None
        ]
        failed = ask_all(
            [self._peers[other].line for other in reachable],
            _question(*names),
            _ASK_SECONDS,
            self._take,
            meanwhile,
        )
        return [
            self._known(other, names, other in reachable, failed.get(other)) for other in living
        ]

    def _known(
        self, other: Member, names: Sequence[str], is_reachable: bool, error: Exception | None
    ) -> Worker:
        """Return a worker and its figures; if it did not answer, those that it has saved."""
        peer, state, saved = self._peers[other], REACHED, None
        if error is not None or not is_reachable:
            is_late = isinstance(error, TimeoutError)
            if not is_late or unmocked.monotonic() - peer.oldest(names) > _TRUSTED_SECONDS:
                with suppress(OSError):  # else its last answer counts
                    saved = self._take_totals(other, peer)
            has_left = saved is not None and not saved.head.killed
            state = LEFT if has_left else NOT_REACHED
        for name in names:
            peer.sheet.setdefault(name, {})
        at = peer.oldest(names)
        age = max(0.0, unmocked.monotonic() - at) if at else 0.0
        reason = None
        if state == NOT_REACHED:
            reason = _told(error) if error is not None else "its socket was removed"
        return Worker(other.pid, peer.instance, state, age, reason)

    def _take(self, other: Member, message: Message) -> None:
        """Add the answer of a worker. Raises Malformed."""
        peer, (answer, samples) = self._peers[other], message
        sections = answer.get("sections")
        if not isinstance(sections, dict):
            raise Malformed("it is no answer")
        at = moment(answer.get("at"))
        peer.instance = str(answer.get("instance", ""))[:200]
        for name, given in sections.items():
            section = self._ledger.sections.get(name)
            if section is None:
                raise Malformed("it answers what was not asked")
            heard = peer.heard.get(name)
            if heard is None:
                heard = peer.heard[name] = Heard()
            if given is not None:  # something has changed
                heard.take(section.decoded(given, samples))
            peer.sheet[name] = heard.items
            peer.at[name] = at

    def _take_totals(self, other: Member, peer: _Peer) -> Record | None:
        """Use a worker's saved totals if they are newer than its last answer."""
        record = self._totals(other)
        if record is not None:
            peer.instance = record.head.instance
            for name, items in record.sheet.items():
                if record.at[name] > peer.at.get(name, 0.0):
                    peer.sheet[name] = items
                    peer.at[name] = record.at[name]
        return record

    def _totals(self, other: Member) -> Record | None:
        try:
            text = self._files.read(self._files.name(other, TOTALS), MOST_BYTES)
            return records.read(text, self._ledger.sections)
        except (FileNotFoundError, OtherVersion):  # left behind before an upgrade
            return None
        except (OSError, Malformed) as error:
            raise_exhausted(error)
            faults.fault("workers.totals", error)
            return None

    def _absorb(self, ended: Iterable[Member]) -> None:
        """Add the totals of ended workers to those of all that ended before.

        Their files are removed once the sum is saved. This worker may be killed in between; its
        successor finds in the sum which files to leave out.
        """
        left = set(ended)
        new = {other: self._last_known(other) for other in left - self._past.absorbed}
        if new:
            self._past.add(new, left)
        if self._past.save():
            for other in left:
                self._remove(other)

    def _look_at_past(self, ended: Iterable[Member]) -> None:
        """Read the holder's totals of ended workers, and add those that it has not absorbed."""
        # Their files first: the holder's totals, read later, contain what it absorbs meanwhile.
        known = {other: self._last_known(other) for other in ended}
        self._past.read_newer()
        absorbed = self._past.absorbed
        new = {other: record for other, record in known.items() if other not in absorbed}
        if new:
            self._past.add(new, set(new))

    def _last_known(self, ended: Member) -> Record:
        """Return the last figures that an ended worker saved or sent."""
        peer = self._peers.get(ended) or _Peer(Line(ended, ""))
        record = self._take_totals(ended, peer)
        self._peers.pop(ended, None)
        peer.line.close()
        # A worker that leaves saves its totals; one that is killed at once may have saved nothing.
        return Record(Head(killed=1) if record is None else record.head, peer.sheet)

    def _remove(self, other: Member) -> None:
        for suffix in (SOCKET, TOTALS):
            remove(self._files.name(other, suffix))


@lru_cache(maxsize=20)
def _question(*names: str) -> bytes:
    return framed({"sections": names})


def _told(error: Exception) -> str:
    return str(error) or type(error).__qualname__
