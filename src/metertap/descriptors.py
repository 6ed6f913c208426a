"""Whether descriptors of ours are still that, in a program that may close all that are open.

Code that starts daemons or sandboxes closes descriptors by their numbers. The next file that the
program opens gets such a number; whoever goes on to write to it, or closes it, spoils that file.
"""

from __future__ import annotations

import os
from contextlib import suppress


class Witness:
    """A descriptor that is opened before others, and is gone where the program closed them all."""

    def __init__(self) -> None:
        self._number, other = os.pipe()  # a pipe is like no file that the program may open
        os.close(other)
        self._identity = identity(self._number)

    def is_there(self) -> bool:
        """Return whether nobody has closed it, so that those beside it are ours."""
        return identity(self._number) == self._identity

    def close(self) -> None:
        """Close it, unless its number is the program's by now."""
        if self.is_there():
            os.close(self._number)
            self._identity = None


def leave(*holders: object) -> None:
    """Leave objects alone that close descriptors when they go: these may be the program's now.

    They are never closed, not even by the end of Python, in which files of the program may still
    be written.
    """
    _left.append(holders)
    with suppress(Exception):  # other Pythons count no references
        import ctypes

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holders))


_left: list[object] = []


def identity(number: int) -> tuple[int, int] | None:
    """Return what no other open file or connection has; None where nothing is open."""
    try:
        about = os.fstat(number)
    except OSError:
        return None
    return about.st_dev, about.st_ino
