"""Files of histories, which are closed before a fork by all that have one open.

SQLite keeps in the process a record of its locks on a file. A forked child inherits the record but
not the locks: it would write without them, and data would be lost. So no file is open during a
fork, be it a writer's, also one that is ending, or the page's. If a file was not closed in time,
the child does not use it.
"""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

from metertap import descriptors, locks

WRITERS: weakref.WeakSet[Any] = weakref.WeakSet()
"""Every `HistoryWriter` of this process."""
reading = locks.lock()
"""Held while this process reads a file to which it may also write."""
_unusable: list[tuple[Path, object, str]] = []
"""Files, objects of theirs that may be neither used nor closed, and the reason: for good."""


class _Fork(threading.local):
    """What this thread holds for the fork that it is making."""

    is_unread = False
    let_go: tuple[Any, ...] = ()


_fork = _Fork()


def before_fork(seconds: float) -> None:
    """Have all files closed, waiting that long for each."""
    _fork.is_unread = reading.acquire(timeout=seconds)
    _fork.let_go = tuple(writer for writer in list(WRITERS) if writer.before_fork(seconds))


def forked_in_parent() -> None:
    """Let the histories of the parent go on after a fork."""
    # A handler that forks meanwhile must not take files for closed that are opened again.
    is_unread, let_go = _fork.is_unread, _fork.let_go
    _fork.is_unread, _fork.let_go = False, ()
    for writer in let_go:
        writer.forked_in_parent()
    if is_unread:
        reading.release()


def forked() -> None:
    """Have the writers begin anew in the child."""
    global reading
    reading = locks.lock()
    for writer in list(WRITERS):
        if not _fork.is_unread or writer not in _fork.let_go:
            why = "a parent process had it open when it forked"
            _unusable.append((writer.path, writer.store, why))
        writer.forked()


def check(path: Path) -> None:
    """Raise HistoryError for a file that this process can no longer open safely.

    Its parent had the file open at a fork, or the program has closed its descriptors: SQLite relies
    on its own record for all connections of a process.
    """
    for each, _, why in _unusable:
        if path == each:
            from metertap.history.answers import HistoryError

            raise HistoryError(f"{path}: {why}")


def lose(path: Path, connection: object) -> None:
    """Never use a file again whose descriptors the program has closed, and may have reused."""
    descriptors.leave(connection)
    _unusable.append((path, connection, "the program has closed its descriptors"))
