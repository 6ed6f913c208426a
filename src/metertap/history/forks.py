"""Files of histories, let go of before a fork by all that have one open.

SQLite notes in the process which locks it has on a file. A forked child inherits the note and not
the locks: it would write without them, and what it and others wrote would be lost. So no file is
open during a fork, whoever opened it: a writer, also one that ends, or the page. A file that was
not let go of in time is left alone by the child.
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
"""The lock that is held while this process reads a file to which it may also write."""
_unusable: list[tuple[Path, object, str]] = []
"""Files, what may neither be used nor closed of them, and why: for good in this process."""
_fork = threading.local()


def before_fork(seconds: float) -> None:
    """Have everybody let go of their files. Each is waited for that long."""
    _fork.is_unread = reading.acquire(timeout=seconds)
    _fork.let_go = [writer for writer in list(WRITERS) if writer.before_fork(seconds)]


def forked_in_parent() -> None:
    """Let the histories of the parent go on after a fork."""
    for writer in _fork.let_go:
        writer.forked_in_parent()
    if _fork.is_unread:
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

    A parent process had it open when it forked, or the program has closed its descriptors: SQLite
    goes by what it noted of them for all connections of a process.
    """
    for each, _, why in _unusable:
        if path == each:
            from metertap.history.answers import HistoryError

            raise HistoryError(f"{path}: {why}")


def lose(path: Path, connection: object) -> None:
    """Leave a file alone whose descriptors the program has closed; their numbers may be its own."""
    descriptors.leave(connection)
    _unusable.append((path, connection, "the program has closed its descriptors"))
