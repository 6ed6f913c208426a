"""The private sockets on which the holder of the port asks the other workers.

Each is in a folder that only its user can read, and only that user can connect. Both ends check
whose process the other one is, if the system shows it. A question is a list of sections, and the
answer has these; the length comes first.
"""

from __future__ import annotations

import selectors
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from metertap import faults, native
from metertap.unmocked import os, unmocked
from metertap.workers.checking import Malformed, Samples
from metertap.workers.members import Member, remove
from metertap.workers.wire import MOST_BYTES, loaded

_LENGTH = struct.Struct(">I")
_PEER = struct.Struct("3i")
MOST_ASKED = 4096
"""The most bytes of a question."""
_AT_FIRST = 4096
"""Bytes to read before a message's length is known: most often all of it."""
_LONGEST_PATH = 100
"""The longest path, in bytes, that every system accepts as the address of a socket."""


@contextmanager
def _address(path: str) -> Iterator[str]:
    """Yield the address of a socket; a long path is shortened by a handle of its folder."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def listener(path: str) -> socket.socket:
    """Listen at `path`, to which only this user may connect. Raises OSError."""
    remove(path)
    made: socket.socket = native.original(socket, "socket")(socket.AF_UNIX)
    try:
        os.fchmod(made.fileno(), 0o600)  # before binding, so that no other user can ever connect
        with _address(path) as address:
            made.bind(address)
        os.chmod(path, 0o600)  # for systems on which fchmod has no effect
        made.listen(16)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def is_this_users(line: socket.socket, pid: int | None = None) -> bool:
    """Return whether the other end is a process of this user, and has the id `pid`."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the system does not tell, and the folder is private
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    peer, user, _ = _PEER.unpack(found)
    return user == os.getuid() and pid in (None, peer)


Message = tuple[dict[str, Any], Samples]
"""The content of a message, and the numbers that follow it."""


class Incoming:
    """A message that arrives in pieces, its length first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._bytes, self._taken = bytearray(_AT_FIRST), 0
        self._size: int | None = None
        """The bytes of message and length together, once they are known."""

    def take(self, line: socket.socket) -> Message | None:
        """Read what has arrived; return the message once it is whole. Raises OSError, Malformed."""
        if self._size is not None and self._taken == len(self._bytes):
            # No more than as much as has come: who tells a length may send nothing.
            self._bytes.extend(bytes(min(self._taken, self._size - self._taken)))
        try:
            with memoryview(self._bytes) as whole, whole[self._taken :] as rest:
                taken = line.recv_into(rest)
        except BlockingIOError:
            return None
        if not taken:
            raise ConnectionError("the other end has closed")
        self._taken += taken
        if self._size is None and self._taken >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._bytes)[0]
            if not 0 < length <= self._most:
                raise Malformed("a message is empty or too long")
            self._size = _LENGTH.size + length
        if self._size is None or self._taken < self._size:
            return None
        if self._taken > self._size:
            raise Malformed("more came than was asked for")
        found = self._bytes[_LENGTH.size : self._size]
        self._begin()
        return loaded(found)


class Line:
    """A connection to one worker, which stays open between questions."""

    def __init__(self, member: Member, path: str) -> None:
        self.member = member
        self._path = path
        self.socket: socket.socket | None = None
        self._incoming = Incoming(MOST_BYTES)
        self.is_waiting = False
        """Whether an answer is outstanding: then no further question is sent."""

    def ask(self, question: bytes) -> None:
        """Send a question. Raises OSError."""
        if self.socket is None:
            self.socket = native.original(socket, "socket")(socket.AF_UNIX)
            self.socket.setblocking(False)
            with _address(self._path) as address:
                self.socket.connect(address)
            if not is_this_users(self.socket, self.member.pid):
                raise PermissionError("another process listens there")
        if self.socket.send(question) != len(question):
            raise BlockingIOError("it takes no question")
        self.is_waiting = True

    def take(self) -> Message | None:
        """Read what has arrived; return the answer once it is whole. Raises OSError, Malformed."""
        assert self.socket is not None
        answer = self._incoming.take(self.socket)
        if answer is not None:
            self.is_waiting = False
        return answer

    def close(self) -> None:
        """Close the connection; the worker then forgets what it has sent."""
        self.is_waiting = False
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        self._incoming = Incoming(MOST_BYTES)  # what came of an answer may be long


def ask_all(
    lines: Sequence[Line],
    question: bytes | None,
    seconds: float,
    take: Callable[[Member, Message], None],
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[Member, Exception]:
    """Ask workers at the same time; return those that did not answer, with the reason.

    `take` gets each answer, also a late one to an earlier question; without a question only those.
    If it raises Malformed, that is the reason. `meanwhile` is called while the others work. A
    worker that still owes an answer is not waited for again.
    """
    until = unmocked.monotonic() + seconds
    failed: dict[Member, Exception] = {}
    late = {line.member for line in lines if line.is_waiting}
    with native.selector() as waiting:  # needs no descriptor: there may be none
        for line in lines:
            try:
                if question is not None and not line.is_waiting:
                    line.ask(question)
                if line.is_waiting and line.socket is not None:
                    waiting.register(line.socket, selectors.EVENT_READ, line)
            except OSError as error:
                failed[line.member] = _bare(error)
                line.close()
        meanwhile()
        while waiting.get_map() and (left := until - unmocked.monotonic()) > 0:
            are_late = question is not None and all(
                key.data.member in late for key in waiting.get_map().values()
            )
            ready = waiting.select(0.0 if are_late else left)
            if are_late and not ready:
                break
            for key, _ in ready:
                line = key.data
                try:
                    answer = line.take()
                    if answer is None:
                        continue
                    take(line.member, answer)
                    if line.member in late and question is not None:
                        late.remove(line.member)
                        line.ask(question)
                        continue
                except Exception as error:
                    if not isinstance(error, OSError | Malformed):
                        faults.fault("workers.asked", error)
                    failed[line.member] = _bare(error)
                    line.close()
                waiting.unregister(key.fileobj)
        for key in list(waiting.get_map().values()):
            failed[key.data.member] = TimeoutError(f"no answer within {seconds:g} s")
    return failed


def _bare(error: Exception) -> Exception:
    """Return an error without its frames, which would keep a whole message in memory."""
    error.__context__ = None
    return error.with_traceback(None)
