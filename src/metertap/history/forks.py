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

from metertap import locks

WRITERS: weakref.WeakSet[Any] = weakref.WeakSet()
"""Every `HistoryWriter` of this process."""
reading = locks.lock()
"""The lock that is held while this process reads a file to which it may also write."""
_inherited: list[tuple[Path, object]] = []
"""Files that a parent had open, and what a child may neither use nor close of them."""
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
            _inherited.append((writer.path, writer.store))
        writer.forked()


def check(path: Path) -> None:
    """Raise HistoryError for a file that a parent process had open when it forked."""
    if any(path == each for each, _ in _inherited):
        from metertap.history.answers import HistoryError

        raise HistoryError(f"{path}: a parent process had it open when it forked")
