"""Programs that gevent patches in their first lines, and must be first to use what it patches.

What has taken its classes from `ssl` before that calls itself without end afterwards, and threads
that were started before are not known to `threading` any more. So nothing of that may come with
metertap before the program has called `gevent.monkey.patch_all()`.

This module imports nothing that Python has not imported by itself.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EVENTS = "gevent.events"
"""The module that is imported when the patching begins, and tells when it is done."""
_NAMES = frozenset({"gevent", "gevent.monkey"})
_MOST_BYTES = 2**20


def patches_later(script: str | None) -> bool:
    """Return whether the program says, in its command or its `script`, that it will be patched."""
    if EVENTS in sys.modules:
        return False
    return not _NAMES.isdisjoint(sys.orig_argv) or (script is not None and _patches(script))


def _patches(script: str) -> bool:
    # As a pipe or a device would be, what is very long is no script.
    try:
        handle = os.open(script, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return False
            text = file.read(_MOST_BYTES)
    except OSError:
        return False
    return b"gevent" in text and b"patch_all" in text


def on_patched(tell: Callable[[], None]) -> None:
    """Call `tell` when gevent has patched everything. To be called as `EVENTS` is imported."""
    try:
        subscribers: list[Any] = __import__("zope.event", fromlist=["subscribers"]).subscribers
    except ImportError:  # then whatever else ends the waiting does
        return

    def heard(event: object) -> None:
        if type(event).__name__ == "GeventDidPatchAllEvent":
            subscribers.remove(heard)
            tell()

    subscribers.append(heard)
