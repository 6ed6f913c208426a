"""Blocking of the program's signals in threads that start.

`metertap run` needs it before any module of the program is imported, and while Python finalises: an
import of a Python module may then make Python forget that ^C has ended the program. So this module
imports only what is built in.
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
"""Signals of a thread's own fault: if they are blocked, the process ends without a report."""


OF_WRITING = ("SIGPIPE", "SIGXFSZ")
"""Signals that tell a thread that it writes to a closed pipe, or past a limit."""
_kept: tuple[Callable[[], Any], Callable[[Callable[[], None], tuple[()]], int]] | None = None
_ROOM = 1024 * 1024
"""A stack size in bytes that is large enough for metertap's threads; TLS needs most of it."""


class signals_kept_away:  # lower case: `with signals_kept_away():`
    """Context manager that blocks signals in this thread; threads that start meanwhile keep that.

    It blocks all signals, or the named ones. The threads get a large stack, also where the program
    has set a small `threading.stack_size` for its own. Asking for the size sets it to the system's.
    """

    __slots__ = ("_before", "_named", "_size")

    def __init__(self, *named: str) -> None:
        self._named = named

    def __enter__(self) -> None:
        self._before: Any = None
        if hasattr(_signal, "pthread_sigmask"):  # Windows has no signal masks
            if self._named:
                blocked = {getattr(_signal, name) for name in self._named}
            else:
                spared = {getattr(_signal, name, None) for name in _OF_A_THREAD}
                blocked = set(_signal.valid_signals()) - spared
            self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, blocked)
        self._size = _thread.stack_size()  # which sets it to the system's
        if self._size >= _ROOM:
            self._size = _thread.stack_size(self._size)

    def __exit__(self, *_: object) -> None:
        if self._size:
            meanwhile = _thread.stack_size(self._size)
            if meanwhile:  # the program has set one meanwhile, in another thread
                _thread.stack_size(meanwhile)
        if self._before is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)


def start(do: Callable[[], object]) -> _thread.LockType:
    """Start a thread unknown to `threading`, for places where the locks of that may be held.

    Returns a lock that is free once the thread has ended. Raises RuntimeError if no thread can be
    started.
    """
    allocate_lock, start_new_thread = _kept or (_thread.allocate_lock, _thread.start_new_thread)
    ended = allocate_lock()
    ended.acquire()

    def run() -> None:
        try:
            do()
        finally:
            _forget()
            ended.release()

    with signals_kept_away():
        start_new_thread(run, ())
    return ended


def keep_native() -> None:
    """Start threads as now from here on, also if gevent makes greenlets of the program's."""
    global _kept
    _kept = _thread.allocate_lock, _thread.start_new_thread


def _forget() -> None:
    """Remove this thread from those that `threading` knows.

    Asking for the current thread makes it known, and until Python 3.12 it stays so for good.
    """
    threading = sys.modules.get("threading")
    known = getattr(threading, "_active", None)
    if type(known) is dict:
        known.pop(_thread.get_ident(), None)
