"""Keeping the program's signals away from threads that start.

`metertap run` needs it before anything of the program is imported, and while Python ends: an import
of a module in Python may then make Python forget that ^C has ended the program. So this one imports
nothing but what is built in.
"""

from __future__ import annotations

import _thread
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal

_OF_A_THREAD = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
"""Signals that tell a thread of its own fault: blocked, they end the process without a report."""


OF_WRITING = ("SIGPIPE", "SIGXFSZ")
"""Signals that tell a thread that what it writes to takes no more."""
_ROOM = 1024 * 1024
"""A stack that is large enough for threads of ours, in bytes: TLS needs more than some have."""


class signals_kept_away:  # lower case: `with signals_kept_away():`
    """Block signals in this thread: threads that start meanwhile block them for good.

    All signals, or those that are named. These threads have room, too, where the program has set a
    small `threading.stack_size` for its own. To ask for the size sets it to the system's.
    """

    __slots__ = ("_before", "_named", "_size")

    def __init__(self, *named: str) -> None:
        self._named = named

    def __enter__(self) -> None:
        self._before: Any = None
        if hasattr(_signal, "pthread_sigmask"):  # Windows has none
            if self._named:
                blocked = {getattr(_signal, name) for name in self._named}
            else:
                spared = {getattr(_signal, name, None) for name in _OF_A_THREAD}
                blocked = set(_signal.valid_signals()) - spared
            self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, blocked)
        self._size = _thread.stack_size()  # which is the system's from now on
        if self._size >= _ROOM:
            self._size = _thread.stack_size(self._size)

    def __exit__(self, *_: object) -> None:
        if self._size:
            meanwhile = _thread.stack_size(self._size)
            if meanwhile:  # a program's, in another thread
                _thread.stack_size(meanwhile)
        if self._before is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)


def start(do: Callable[[], object]) -> _thread.LockType:
    """Start a thread that `threading` does not know, as where its locks may be held.

    Returns a lock that is free once the thread has ended. Raises RuntimeError where none can be
    started.
    """
    ended = _thread.allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            do()
        finally:
            _forget()
            ended.release()

    with signals_kept_away():
        _thread.start_new_thread(run, ())
    return ended


def _forget() -> None:
    """Take this thread out of those that `threading` knows.

    Whoever asks for the current thread makes it known; until Python 3.12 it stays so for good.
    """
    threading = sys.modules.get("threading")
    known = getattr(threading, "_active", None)
    if type(known) is dict:
        known.pop(_thread.get_ident(), None)
