"""Programs that gevent patches in their first lines, before anything else uses what it patches.

A module that has taken classes from `ssl` before then calls itself without end, and `threading`
does not know earlier threads any more. So metertap imports nothing of that before the program has
called `gevent.monkey.patch_all()`.

This module imports only what Python itself has imported.
"""

from __future__ import annotations

import sys

from metertap import regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

EVENTS = "gevent.events"
"""The module that gevent imports when patching begins, and that notifies of its end."""
_NAMES = frozenset({"gevent", "gevent.monkey"})
_MOST_BYTES = 2**20


def patches_later(script: str | None) -> bool:
    """Return whether the command, or its `script`, says that gevent will patch the program."""
    if EVENTS in sys.modules:
        return False
    return not _NAMES.isdisjoint(sys.orig_argv) or (script is not None and _patches(script))


def _patches(script: str) -> bool:
    # A very long file is no script, nor is a pipe or a device.
    try:
        with regular.opened(script) as file:
            text = file.read(_MOST_BYTES)
    except OSError:
        return False
    return b"gevent" in text and b"patch_all" in text


def on_patched(tell: Callable[[], None]) -> None:
    """Call `tell` when gevent has patched everything. To be called while `EVENTS` is imported."""
    try:
        subscribers: list[Any] = __import__("zope.event", fromlist=["subscribers"]).subscribers
    except ImportError:  # then another event ends the waiting
        return

    def heard(event: object) -> None:
        if type(event).__name__ == "GeventDidPatchAllEvent":
            subscribers.remove(heard)
            tell()

    subscribers.append(heard)
