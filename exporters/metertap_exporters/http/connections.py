"""The open connections of an endpoint, and which of them are closed to make room.

There are limits for their number, for each one's time, and for the memory of answers that are being
written. At a limit, the client goes that the endpoint has waited for longest: one that does not
send its request, or does not read its answer. A client that waits for its answer, or reads it,
never goes. On a busy machine the endpoint itself may be late: it does not wait for a client whose
request is there unread, or that has made room for more data.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from metertap import locks
from metertap.native import original
from metertap.unmocked import unmocked

LIMIT = 64
"""The most open connections."""
SECONDS = 10.0
"""The most seconds for a client's request, and for reading its answer, however slowly."""
BODY_BYTES = 16 * 1024 * 1024
"""While two or more answers of more memory than this are written, no other one is made."""
PATIENCE_SECONDS = 0.5
"""The seconds after which a client that is waited for is slow: others may take its place."""
_HEAD_BYTES = 64 * 1024
"""A shorter first part of an answer is its head: the body is still to come."""
_GIVE_WAY = 8
"""How many slow clients are closed at a time; one by one, others would wait for long."""
_LOOK_SECONDS = 0.05  # seconds between two checks for slow connections while waiting


class Connection:
    """One client: since when it sends or reads, and since when the server waits for it."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.since = unmocked.monotonic()
        self.waiting_since: float | None = self.since
        """Since when the server waits to send or read; None while an answer is made."""
        self.body: bytes | None = None
        """The answer that is being written."""
        self.is_made_for = False
        """Whether an answer was made, or is being made, for it; others may share that."""


class Connections:
    """The open connections of one server. Any thread may call its methods."""

    def __init__(self) -> None:
        self._open: dict[socket.socket, Connection] = {}
        self._changed = locks.condition()
        self._is_closed = False

    def admit(self, opened: socket.socket) -> bool:
        """Take a new connection in; return False if all others stay busy.

        One whose client has left does not wait: a flood of these would keep others out.
        """
        with self._changed:
            if len(self._open) >= LIMIT and has_left(opened):
                return False
            if not self._wait(lambda: len(self._open) < LIMIT, SECONDS):
                return False
            self._open[opened] = Connection(opened)
            return True

    def asked(self, connection: socket.socket) -> bool:
        """Note that a client has sent its request; wait until there is memory for an answer.

        False if the connection was ended meanwhile.
        """
        with self._changed:
            known = self._open.get(connection)
            if known is None:
                return False
            known.waiting_since = None
            return self._wait(self._has_memory, SECONDS)

    def has_room(self, connection: socket.socket) -> bool:
        """Wait until there is memory for an answer, which is then made for this connection."""
        with self._changed:
            if not self._wait(self._has_memory, SECONDS):
                return False
            known = self._open.get(connection)
            if known is not None:
                known.is_made_for = True
            return known is not None

    def writes(self, connection: socket.socket, body: bytes | None) -> None:
        """Note that a part of `body` is about to be written to a client, or that all of it was."""
        known = self._open.get(connection)  # no lock: no other thread writes these
        if known is not None:
            if known.body is None:
                known.since = unmocked.monotonic()  # the answer's own time does not count
            known.body = body
            known.waiting_since = None if body is None else unmocked.monotonic()

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._changed:
            self._open.pop(connection, None)
            self._changed.notify_all()

    def end_late(self) -> None:
        """End connections whose clients have taken too long."""
        oldest = unmocked.monotonic() - SECONDS
        with self._changed:
            _end(
                known
                for known in self._open.values()
                if known.waiting_since is not None and known.since < oldest
            )

    def end_slow(self) -> None:
        """End every connection that the server waits for."""
        with self._changed:
            _end(self._slow())

    def close(self) -> None:
        """Refuse new connections, and wake those that wait for a place."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def forget(self) -> None:
        """Close a forked child's copies of the parent's sockets, which stay open in the parent."""
        for connection in list(self._open):
            connection.close()

    def _wait(self, is_free: Callable[[], bool], seconds: float) -> bool:
        """Wait until `is_free()`, ending some slow connections after others meanwhile."""
        deadline = unmocked.monotonic() + seconds
        while not is_free():
            if self._is_closed or unmocked.monotonic() > deadline:
                return False
            _end(self._slow()[:_GIVE_WAY])
            self._changed.wait(_LOOK_SECONDS)
        return True

    def _slow(self) -> list[Connection]:
        """Return the connections that the server has waited for too long, the longest first."""
        latest = unmocked.monotonic() - PATIENCE_SECONDS
        waited_for = [
            (known.waiting_since, position, known)
            for position, known in enumerate(self._open.values())
            if known.waiting_since is not None and known.waiting_since < latest
        ]
        ready = _ready(known for _, _, known in waited_for)
        return [known for _, _, known in sorted(waited_for) if known.socket.fileno() not in ready]

    def _has_memory(self) -> bool:
        """Return whether one more answer may be made; a shared one counts once."""
        written = [known.body for known in self._open.values()]
        sizes = {id(body): len(body) for body in written if body is not None}
        are_made = [
            known
            for known in self._open.values()
            if known.is_made_for and len(known.body or b"") < _HEAD_BYTES
        ]
        if len(are_made) > 1:
            return False
        return len(sizes) < 2 or sum(sizes.values()) < BODY_BYTES


def has_left(connection: socket.socket) -> bool:
    """Return whether a client will send nothing more: it has closed its side, or has left."""
    make_poll = original(select, "poll")
    if make_poll is None or not hasattr(select, "POLLRDHUP"):  # only Linux has both
        return False
    poll = make_poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def _ready(connections: Iterable[Connection]) -> set[int]:
    """Return descriptors that are ready: for these, the server itself is late."""
    make_poll = original(select, "poll")
    if make_poll is None:  # Windows, and where eventlet was first
        return set()
    poll = make_poll()
    for known in connections:
        poll.register(known.socket, select.POLLIN if known.body is None else select.POLLOUT)
    return {descriptor for descriptor, _ in poll.poll(0)}


def _end(connections: Iterable[Connection]) -> None:
    """End connections that other threads wait for; these threads close them."""
    for known in connections:
        known.waiting_since = None  # once is enough
        with suppress(OSError):
            # Not the method of SSLSocket: its thread's next write would go out unencrypted.
            original(socket, "socket").shutdown(known.socket, socket.SHUT_RDWR)
