"""Files that anybody may have put in their place: only a regular one is opened, without waiting.

A pipe would keep its reader waiting, a device may be endless, and a folder has no text.

`metertap run` uses this before any module of the program is imported, so this module imports only
what is quick to import.
"""

from __future__ import annotations

import stat

from metertap.unmocked import os, unmocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class NotRegular(OSError):
    """What is there is no regular file, although there is something."""


def opened(path: str | os.PathLike[str], flags: int = 0) -> BinaryIO:
    """Open a regular file to read its bytes, with more `flags` of `os.open`. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | flags)
    is_regular = False
    try:
        is_regular = stat.S_ISREG(os.fstat(handle).st_mode)
    finally:
        if not is_regular:
            os.close(handle)
    if not is_regular:
        raise NotRegular("it is no regular file")
    return unmocked.open(handle, "rb")
