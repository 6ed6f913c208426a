"""The workers of one service on this host: files in the folder of this user's processes.

Each worker is named by its process id and the start of that process, since ids are reused. Beside
its socket (`.sock`) it has a file of its totals (`.totals`); the totals of ended workers are in one
file (`.past`). All names contain the key of the service.
"""

from __future__ import annotations

import errno
import zlib
from contextlib import suppress
from typing import NamedTuple

from metertap import regular
from metertap.settings import program, runtime_folder
from metertap.unmocked import os, unmocked

SOCKET = runtime_folder.SOCKET
TOTALS = ".totals"
PAST = ".past"
LOCK = ".lock"
_FRESH = ".new"
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that say nothing of a file: the process or the system has no room to open it."""


class Member(NamedTuple):
    """A process, distinct from all others that had or will have its id."""

    pid: int
    start: int
    """The start in clock ticks since boot; 0 if the system hides it."""

    @property
    def is_alive(self) -> bool:
        """Whether it runs; a process that has ended, and was not waited for yet, does not."""
        start = started(self.pid)
        return start is not None and (start == self.start or not self.start or not start)


def me() -> Member:
    """Return this process."""
    return member(os.getpid())


def member(pid: int) -> Member:
    """Return the process that has this id now."""
    return Member(pid, started(pid) or 0)


def first() -> Member:
    """Return the process that runs this program and started the others that do; maybe this one."""
    return member(program.first_process())


def started(pid: int) -> int | None:
    """Return a process's start; 0 if the system hides it, None if there is no such process."""
    try:
        with unmocked.open(f"/proc/{pid}/stat", "rb") as file:
            # The program's name comes before, in parentheses, and may contain any character.
            found = file.read().rpartition(b")")[2].split()
        # As long as other threads run, one of them may still write a file.
        has_ended = found[0] in (b"Z", b"X") and int(found[17]) <= 1
        return None if has_ended else int(found[19])
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):
            return None
    except (OSError, ValueError, IndexError):
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return 0


def key(name: str, *addresses: str) -> str:
    """Return a service's key in names of files, made of its name and addresses.

    It includes the namespace of process ids: workers in others cannot tell whether these live.
    """
    namespace = str(runtime_folder.namespace())
    everything = "\0".join((name, *addresses, namespace)).encode("utf-8", "replace")
    shown = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in name[:20])
    return f"{shown}_{zlib.crc32(everything):08x}"


class Files:
    """The files of one service's workers. Raises OSError if the folder cannot be used."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.folder = runtime_folder.made()
        self._seen: list[str] = []

    def have_folder(self) -> None:
        """Make the folder again after it was removed. Raises OSError."""
        runtime_folder.made()

    def name(self, of: Member, suffix: str) -> str:
        """Return the path of a worker's file."""
        return os.path.join(self.folder, f"{of.pid}-{of.start}-{self.service}{suffix}")

    @property
    def past(self) -> str:
        """The path of the file with the totals of ended workers."""
        return os.path.join(self.folder, self.service + PAST)

    @property
    def lock(self) -> str:
        """The path of the file that the holder of the port has locked."""
        return os.path.join(self.folder, self.service + LOCK)

    def members(self) -> dict[Member, set[str]]:
        """Return all workers with files, and the suffixes of these."""
        found: dict[Member, set[str]] = {}
        try:
            self._seen = os.listdir(self.folder)
        except OSError as error:
            if error.errno not in EXHAUSTED:
                return found
        for name in self._seen:
            if self.service in name:
                stem, suffix = os.path.splitext(name)
                parts = stem.split("-")
                if len(parts) == 3 and parts[2] == self.service and suffix in (SOCKET, TOTALS):
                    with suppress(ValueError):
                        found.setdefault(Member(int(parts[0]), int(parts[1])), set()).add(suffix)
        return found

    def write(self, path: str, text: bytes) -> None:
        """Write a file; readers never see half of it. Raises OSError."""
        fresh = f"{path}.{os.getpid()}{_FRESH}"
        remove(fresh)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with unmocked.open(handle, "wb") as file:
                os.fchmod(handle, 0o600)  # the program's umask may keep even its own user out
                file.write(text)
            os.replace(fresh, path)
        except OSError:
            remove(fresh)
            raise

    def append(self, path: str, text: bytes) -> None:
        """Append to a file of this user; readers may see part of that. Raises OSError."""
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.write(handle, text) != len(text):
                raise OSError(f"{path} takes no more")
        finally:
            os.close(handle)

    def read(self, path: str, most: int) -> bytes:
        """Read a file of this user. Raises OSError for a link, another user's, or a long one."""
        with regular.opened(path, os.O_NOFOLLOW) as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid():
                raise PermissionError(f"{path} is not this user's file")
            if found.st_size > most:
                raise OSError(f"{path} is too long")
            return file.read(most)


def identity(path: str) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove(path: str) -> None:
    """Remove a file, if it is there and can be removed."""
    with suppress(OSError):
        os.unlink(path)


def raise_exhausted(error: Exception) -> None:
    """Raise an error that says nothing of a file, so that the file is read another time."""
    if isinstance(error, OSError) and error.errno in EXHAUSTED:
        raise error
