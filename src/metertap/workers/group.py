"""One worker among those of its service on this host: it holds the port, or answers the holder.

Workers that should listen at the same address decide by a lock which of them does. The others
answer the holder on private sockets, and one of them takes its place when it ends. Each worker
saves changed counts once a second, so that no count decreases when it is gone.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from metertap import descriptors, faults, locks, native, threads
from metertap.descriptors import Witness
from metertap.unmocked import unmocked
from metertap.workers.answers import Answers
from metertap.workers.holder import Gathered, Holder
from metertap.workers.holding import IS_POSSIBLE, Hold
from metertap.workers.ledger import Ledger
from metertap.workers.members import SOCKET, TOTALS, Files, Member, first, me, remove
from metertap.workers.records import Totals
from metertap.workers.saving import Saving

_LOOK_SECONDS = 0.5
"""Seconds between two checks for new and ended workers, and for a free port."""
_WRITE_SECONDS = 0.95
"""The least time, in seconds, between two saves of totals while no other worker asks."""


class WorkerGroup:
    """This worker's membership in its service, from `join` to `end`.

    A thread of metertap calls `hold` when the former holder of the port has ended.
    """

    def __init__(
        self,
        service: str,
        ledger: Ledger,
        instance: Callable[[], str],
        hold: Callable[[], None],
    ) -> None:
        self._service = service
        self._ledger = ledger
        self._instance = instance
        self._take_place = hold
        self._lock = locks.rlock()
        self.saving = Saving(ledger, instance)
        """The saving of this worker's own totals."""
        self._is_ended = False
        self._is_alone = not IS_POSSIBLE
        """Whether workers cannot find each other."""
        self._gathered: dict[tuple[str, ...], Gathered] = {}
        self._clear()

    def _clear(self) -> None:
        self._files: Files | None = None
        self._hold: Hold | None = None
        self._holder: Holder | None = None
        self._answers: Answers | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._waiting: selectors.BaseSelector | None = None
        self._thread: threading.Thread | None = None
        self._witness: Witness | None = None
        self._me = self._first = Member(0, 0)
        self._ports: dict[str, int] = {}
        """The service's ports by label, and the process that had them, by `pid` and `start`."""
        self._is_followed = False
        """Whether processes that this one is about to start take its place."""
        self.saving.clear()

    def join(self) -> bool:
        """Join the service; return whether this worker should hold the port.

        Also if workers cannot find each other, since each is then alone. Not once this worker has
        left: the port then belongs to another.
        """
        with self._lock:
            must_join = self._thread is None and IS_POSSIBLE and not self._is_ended
            # Once more after a fault: a worker that cannot join is alone from then on.
            if must_join and not self._has_begun(is_last_try=False):
                self._has_begun(is_last_try=True)
            return self._is_alone or (self._hold is not None and self._hold.is_held)

    def _has_begun(self, *, is_last_try: bool) -> bool:
        """Begin to take part, or undo the beginning; return whether that is settled."""
        is_settled = True
        try:
            self._begin()
        except OSError as error:
            faults.warn_once("workers", "workers of this service cannot find each other: %s", error)
            self.end()
            self._is_alone = True
        except Exception as error:
            faults.fault("workers", error)
            self.end()
            self._is_ended = self._is_alone = is_settled = is_last_try
        return is_settled

    def kept_port(self, label: str) -> tuple[int, bool] | None:
        """Return the port of the service, and whether its former holder has still to leave it.

        None at the start of the service.
        """
        port = self._ports.get(label, 0)
        had_it = Member(self._ports.get("pid", 0), self._ports.get("start", 0))
        return (port, had_it.is_alive) if 0 < port < 65_536 else None

    def keep_port(self, label: str, port: int) -> None:
        """Note the port for the worker that takes this one's place."""
        with self._lock, suppress(OSError):
            if not self._is_lost() and self._hold is not None and self._hold.is_held:
                self._ports |= {label: port, "pid": self._me.pid, "start": self._me.start}
                self._hold.note(self._ports)

    @property
    def has_joined(self) -> bool:
        """Whether this worker takes part now."""
        return self._thread is not None

    @property
    def has_left(self) -> bool:
        """Whether this worker does not take part any more, while others may."""
        return self._is_ended and not self._is_alone

    def gathered(self, names: Sequence[str]) -> Gathered | None:
        """Ask all workers for some sections; None if this one is alone.

        After this worker has left the port, and if there are no descriptors or a fault occurs, the
        last result is returned.
        """
        while True:
            holder = self._holder
            try:
                found = None
                if holder is not None and not self._is_lost():
                    found = holder.gathered(names, self.saving.taken)
            except Exception as error:
                faults.fault("workers.gathered", error)
                return self._gathered.get(tuple(names))
            if self._is_ended:
                return self._gathered.get(tuple(names))
            if holder is self._holder:
                break
        if found is not None:
            self._gathered[tuple(names)] = found
        return found

    def has_others(self) -> bool:
        """Return whether another worker takes part, or may follow this one. For any process."""
        if not IS_POSSIBLE:
            return False
        with suppress(OSError):
            files, own = Files(self._service), me()
            return first() != own or any(
                other != own and other.is_alive for other in files.members()
            )
        return False

    def tell_last(self) -> None:
        """Save the last totals as the process ends, also if it has not joined before.

        Waits for a thread that is about to join.
        """
        with faults.guarded("workers.write"), self._lock:
            if self._files is None and not self._is_ended and self.has_others():
                self._enlist()
            if self._files is not None and self._is_missed():
                self.saving.write(is_last=True)

    def end(self) -> None:
        """Leave the service. The counts stay, as long as other workers need them."""
        with self._lock:
            self._is_ended = True
            if self._is_lost():
                self._leave()
            thread, wake, files, hold = self._thread, self._wake, self._files, self._hold
            if wake is not None:
                with suppress(OSError):
                    wake[1].send(b"e")
            if thread is not None and thread is not threading.current_thread():
                thread.join(1.0)
            if files is not None:
                self.tell_last()
                if self._holder is not None:
                    self._holder.close()
                self.saving.end()
                remove(files.name(self._me, SOCKET))
                if hold is not None and hold.is_held and not self._is_missed():
                    remove(files.name(self._me, TOTALS))
                    remove(files.past)
                    with suppress(OSError):
                        hold.free(remove=True)
            self._close()
            self._clear()

    def rest(self) -> None:
        """Leave the service to processes that this one is about to start. Raises OSError.

        The totals stay, even if no other worker is there yet to count them.
        """
        with self._lock:
            if self._files is None and not self._is_ended:
                self._enlist()
            self._is_followed = True
            self.end()

    def forked(self) -> None:
        """Reset a forked child: it takes part in nothing; sockets and lock are the parent's."""
        self._close()
        self._clear()
        self._gathered = {}
        self._is_ended = False
        self._is_alone = not IS_POSSIBLE
        self._ledger.forget()

    def _is_lost(self) -> bool:
        """Return whether the program has closed the descriptors, whose numbers may be its own."""
        return self._witness is not None and not self._witness.is_there()

    def _leave(self) -> None:
        """Take no part any more, and close nothing: the others keep the counts so far."""
        with self._lock:
            self._is_ended = True
            parts = self._hold, self._holder, self._answers, self._wake, self._waiting
            descriptors.leave(*parts)
            self._hold = self._holder = self._answers = self._wake = self._waiting = None

    def _close(self) -> None:
        if self._is_lost():
            self._leave()
        elif self._witness is not None:
            self._witness.close()
        with suppress(OSError):
            if self._hold is not None:
                self._hold.free()
        for part in (self._holder, self._answers, self._waiting, *(self._wake or ())):
            if part is not None:
                part.close()

    def _enlist(self) -> Files:
        """Set up the file for this worker's totals."""
        self._me, self._first = me(), first()
        files = self._files = Files(self._service)
        path = files.name(self._me, TOTALS)
        self.saving.begin(Totals(files, path, self._ledger.sections), self._first)
        return files

    def _begin(self) -> None:
        files = self._enlist()
        self._witness = Witness()
        hold = self._hold = Hold(files.lock)
        if hold.take():
            self._begin_to_hold(hold.touched())
        else:
            self._holder = self._new_holder(is_holding=False)
        path = files.name(self._me, SOCKET)
        self._answers = Answers(self._ledger, self._instance, path, self.saving.taken)
        self._wake = native.pair()
        self._waiting = native.selector()  # needs no descriptor of its own
        self._waiting.register(self._wake[0], selectors.EVENT_READ)
        self._answers.listen(self._waiting)
        thread = threads.Thread(
            target=self._run, args=(self._waiting,), name="metertap-workers", daemon=True
        )
        thread.start()
        self._thread = thread

    def _begin_to_hold(self, since: int | None = None) -> None:
        """Hold the port; a new worker passes `since`, when it took the lock."""
        before, holder = self._holder, self._new_holder(is_holding=True)
        assert self._hold is not None
        self._ports = self._hold.noted() if holder.begin(since) else {}
        self._holder = holder
        if before is not None:
            before.close()

    def _new_holder(self, *, is_holding: bool) -> Holder:
        assert self._files is not None
        return Holder(
            *(self._files, self._ledger, self._me, self._first, self._instance),
            is_holding=is_holding,
        )

    def _run(self, waiting: selectors.BaseSelector) -> None:
        with faults.guarded("workers"):
            look = write = unmocked.monotonic() + _LOOK_SECONDS
            while not self._is_ended:
                ready = waiting.select(max(0.0, look - unmocked.monotonic()))
                if self._is_lost():
                    self._leave()
                    return
                for key, _ in ready:
                    if key.data is not None:
                        with faults.guarded("workers.answer"):
                            key.data()
                now = unmocked.monotonic()
                if now < look or self._is_ended:
                    continue
                look = now + _LOOK_SECONDS
                with faults.guarded("workers.look"):
                    self._restore()
                    if self._answers is not None:
                        self._answers.listen(waiting)
                    self._look()
                    if now >= write and self._is_missed():
                        write = now + _WRITE_SECONDS
                        self.saving.write()

    def _restore(self) -> None:
        """Put back files that were removed: some systems delete temporary files after some days."""
        files, hold, answers = self._files, self._hold, self._answers
        if files is None or hold is None or answers is None or not self.saving.has_begun:
            return
        try:
            if self.saving.is_missing:
                files.have_folder()
                self.saving.begin_anew()
            if not answers.is_in_place:
                files.have_folder()
                answers.listen_again()
            if hold.renew():
                hold.note(self._ports)
        except OSError as error:
            faults.warn_once("workers.restore", "other workers do not find this one: %s", error)

    def _look(self) -> None:
        """Add the totals of ended workers; take the place of a holder that has ended."""
        hold, holder = self._hold, self._holder
        if hold is None or holder is None:
            return
        if holder.is_holding:
            holder.look()
        elif hold.take():
            self._begin_to_hold()
            self._take_place()

    def _is_missed(self) -> bool:
        """Return whether another worker that needs these totals exists, or may follow."""
        assert self._files is not None
        return (
            self._is_followed
            or self._hold is None
            or not self._hold.is_held
            or (self._first != self._me and self._first.is_alive)
            or any(other != self._me and other.is_alive for other in self._files.members())
        )
