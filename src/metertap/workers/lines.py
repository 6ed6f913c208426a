"""The private sockets by which the holder of the port asks the other workers.

Each is in the folder that only its user reads, is open to that user alone, and its two ends see
whose process the other one is, where the system says so. A question is a list of sections, and so
is the answer; before each is its length.
"""

from __future__ import annotations

import os
import selectors
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from metertap.workers.members import Member, remove
from metertap.workers.wire import MOST_BYTES, VERSION, Malformed, dumped, loaded

_LENGTH = struct.Struct(">I")
_PEER = struct.Struct("3i")
_CHUNK = 1 << 20
MOST_ASKED = 4096
"""Bytes of a question."""
_LONGEST_PATH = 100
"""Bytes of a path that every system takes as the address of a socket."""


@contextmanager
def _address(path: str) -> Iterator[str]:
    """Give the address of a socket; a long path is shortened by way of its folder's handle."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


def listener(path: str) -> socket.socket:
    """Listen at `path`, which only this user may connect to. Raises OSError."""
    remove(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        os.fchmod(made.fileno(), 0o600)  # before it is bound: nobody else may ever connect
        with _address(path) as address:
            made.bind(address)
        os.chmod(path, 0o600)  # for systems on which that has no effect
        made.listen(16)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def is_this_users(line: socket.socket, pid: int | None = None) -> bool:
    """Say whether the other end is a process of this user, and the one of that id."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the folder is private
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    peer, user, _ = _PEER.unpack(found)
    return user == os.getuid() and pid in (None, peer)


def written(message: Mapping[str, Any]) -> bytes:
    """Write one message, its length first."""
    text = dumped({"version": VERSION, **message})
    return _LENGTH.pack(len(text)) + text


class Incoming:
    """A message that comes in pieces."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = bytearray()

    def take(self, line: socket.socket) -> dict[str, Any] | None:
        """Take in what is there; return the message once it is whole. Raises OSError, Malformed."""
        try:
            piece = line.recv(_CHUNK)
        except BlockingIOError:
            return None
        if not piece:
            raise ConnectionError("the other end has closed")
        self._bytes += piece
        if len(self._bytes) < _LENGTH.size:
            return None
        length = _LENGTH.unpack_from(self._bytes)[0]
        if length > self._most:
            raise Malformed("a message is too long")
        if len(self._bytes) < _LENGTH.size + length:
            return None
        text, self._bytes = self._bytes[_LENGTH.size :], bytearray()
        found: dict[str, Any] = loaded(text[:length])
        return found


class Line:
    """A connection to one worker, which stays open from one question to the next."""

    def __init__(self, member: Member, path: str) -> None:
        self.member = member
        self._path = path
        self.socket: socket.socket | None = None
        self.incoming = Incoming(MOST_BYTES)

    def ask(self, question: bytes) -> None:
        """Send a question. Raises OSError."""
        if self.socket is None:
            self.incoming = Incoming(MOST_BYTES)
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.setblocking(False)
            with _address(self._path) as address:
                self.socket.connect(address)
            if not is_this_users(self.socket, self.member.pid):
                raise PermissionError("another process listens there")
        if self.socket.send(question) != len(question):
            raise BlockingIOError("it takes no question")

    def close(self) -> None:
        """End the connection, and with it what the worker knows that was told."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None


def ask_all(
    lines: Sequence[Line], question: bytes, seconds: float
) -> dict[Member, dict[str, Any] | Exception]:
    """Ask workers at the same time; of those that have not answered in time, the exception."""
    until = time.monotonic() + seconds
    found: dict[Member, dict[str, Any] | Exception] = {}
    with selectors.DefaultSelector() as waiting:
        for line in lines:
            try:
                line.ask(question)
                assert line.socket is not None
                waiting.register(line.socket, selectors.EVENT_READ, line)
            except OSError as error:
                found[line.member] = error
                line.close()
        while waiting.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                line = key.data
                try:
                    answer = line.incoming.take(key.fileobj)
                    if answer is not None:
                        found[line.member] = answer
                        waiting.unregister(key.fileobj)
                except (OSError, Malformed) as error:
                    found[line.member] = error
                    waiting.unregister(key.fileobj)
                    line.close()
    for line in lines:
        if line.member not in found:
            found[line.member] = TimeoutError(f"no answer within {seconds:g} s")
            line.close()
    return found
