"""Files of histories, let go of before a fork by all writers that have one open.

SQLite notes in the process which locks it has on a file. A forked child inherits the note and not
the locks: it would write without them, and what it and others wrote would be lost. So no file is
open during a fork, whoever opened it, also a writer that ends.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

WRITERS: weakref.WeakSet[Any] = weakref.WeakSet()
"""Every `HistoryWriter` of this process."""
_fork = threading.local()


def before_fork(seconds: float) -> None:
    """Have all writers let go of their files. Each is waited for that long."""
    _fork.let_go = [writer for writer in list(WRITERS) if writer.before_fork(seconds)]


def forked_in_parent() -> None:
    """Have the writers go on."""
    for writer in _fork.let_go:
        writer.forked_in_parent()


def forked() -> None:
    """Have the writers begin anew in the child."""
    for writer in list(WRITERS):
        writer.forked(is_let_go=writer in _fork.let_go)
