"""A check whether metertap's file descriptors are still open, as some programs close all of them.

Code that starts daemons or sandboxes closes descriptors by number. The next file that the program
opens gets such a number, and metertap would damage it if it wrote to its old descriptor, or closed
it.
"""

from __future__ import annotations

from contextlib import suppress

from metertap.unmocked import os


class Witness:
    """A descriptor opened before metertap's others: it is closed if the program has closed all."""

    def __init__(self) -> None:
        self._number, other = os.pipe()  # a pipe: no file of the program can be mistaken for it
        os.close(other)
        self._identity = identity(self._number)

    def is_there(self) -> bool:
        """Return whether it is still open, and with it metertap's other descriptors."""
        return identity(self._number) == self._identity

    def close(self) -> None:
        """Close it, unless its number belongs to a file of the program by now."""
        if self._identity is not None and self.is_there():
            os.close(self._number)
            self._identity = None


def leave(*holders: object) -> None:
    """Keep objects for ever that would close descriptors when they go, which may be the program's.

    They are never closed, not even by the end of Python, in which files of the program may still
    be written.
    """
    _left.append(holders)
    with suppress(Exception):  # only CPython counts references
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holders))


_left: list[object] = []


def identity(number: int) -> tuple[int, int] | None:
    """Return device and inode of an open descriptor, which tell it from others; None if closed."""
    try:
        about = os.fstat(number)
    except OSError:
        return None
    return about.st_dev, about.st_ino
