"""The lock of the worker that holds the port; the system releases it when the process ends."""

from __future__ import annotations

import json
from collections.abc import Mapping

from metertap.unmocked import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

IS_POSSIBLE = fcntl is not None and hasattr(os, "getuid")
"""Whether workers can find each other on this system."""
_LONGEST = 1024
"""The most bytes of a note that are read."""


class Hold:
    """A POSIX lock: forked children do not inherit it, and it ends with the process.

    Closing any other handle of the file in this process would release it, too, so the file is
    opened only here.
    """

    if fcntl is not None:
        _lock = staticmethod(fcntl.lockf)  # as it is now: a test's, on no real file, locks nothing

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None
        self.is_held = False

    def take(self) -> bool:
        """Take the lock if no other process has it. Raises OSError if it cannot be made."""
        while not self.is_held:
            if self._handle is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._handle = os.open(self._path, flags, 0o600)
                os.fchmod(self._handle, 0o600)  # as other workers need it, whatever the umask
            try:
                self._lock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                return False
            self.is_held = self._is_in_place()
            if not self.is_held:  # its former holder has removed the file
                self._close()
        return True

    def renew(self) -> bool:
        """Take the lock anew if its file was removed; return whether it was.

        Others may take the old lock then, and notice that its file is not in place. Raises OSError.
        """
        if not self.is_held or self._is_in_place():
            return False
        fresh = Hold(self._path)
        if not fresh.take():
            fresh._close()
            return False
        before, self._handle = self._handle, fresh._handle
        assert before is not None
        os.close(before)
        return True

    def touched(self) -> int:
        """Write to the file, and return its time of change in nanoseconds."""
        assert self._handle is not None
        os.utime(self._handle)
        return os.fstat(self._handle).st_mtime_ns

    def note(self, found: Mapping[str, int]) -> None:
        """Write numbers for the next holder of the lock. Raises OSError."""
        assert self._handle is not None
        data = json.dumps(found).encode()
        os.pwrite(self._handle, data, 0)
        os.ftruncate(self._handle, len(data))

    def noted(self) -> dict[str, int]:
        """Return the numbers that the last holder wrote; empty if it wrote none."""
        assert self._handle is not None
        try:
            found = json.loads(os.pread(self._handle, _LONGEST, 0))
        except (OSError, ValueError):
            return {}
        items = found.items() if isinstance(found, dict) else ()
        return {name: number for name, number in items if type(number) is int}

    def free(self, *, remove: bool = False) -> None:
        """Release the lock; `remove` its file, if no other process uses it."""
        if remove and self.is_held:
            os.unlink(self._path)
        self._close()

    def _is_in_place(self) -> bool:
        assert self._handle is not None
        try:
            found, mine = os.stat(self._path), os.fstat(self._handle)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def _close(self) -> None:
        self.is_held = False
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)
