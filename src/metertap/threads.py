"""Threads of metertap, which leave signals to the program's own threads.

The system gives a signal to any thread of the process that does not block it. If the program blocks
a signal (to take it by `sigwait` or a `signalfd`, or not to be disturbed), a thread of metertap
that does not block it would get it: the program's handler would run, or the process would end.

No code of the program may start processes in such a thread: they would inherit the blocked signals.

gevent and eventlet put greenlets in the place of threads. If they do so when metertap is imported
already, its threads stay threads: as greenlets they would stop the program's thread, and each other
for good, wherever they wait for a lock that is older.
"""

from __future__ import annotations

import threading
import time
from types import FunctionType
from typing import Any

from metertap import locks, signal_mask
from metertap.signal_mask import signals_kept_away

_JOINABLE = "_start_joinable_thread"  # from Python 3.13 on
_BEGINS = _JOINABLE if hasattr(threading, _JOINABLE) else "_start_new_thread"
_begin = getattr(threading, _BEGINS, None)
"""What starts a thread for `threading`; a greenlet, if gevent has put its own there."""
signal_mask.keep_native()
sleep = time.sleep
"""As it was when metertap was imported: gevent's would let another greenlet run, also while a lock
of metertap's is held."""
_NO_HOOKS = {"_trace_hook": None, "_profile_hook": None}
_BEGIN_SECONDS = 1.0
"""The most seconds for which whoever starts a thread waits until that has begun."""


def stay_threads() -> bool:
    """Return whether something has replaced Python's start of threads since metertap was imported.

    gevent and eventlet do so: threads that the program starts from then on are greenlets.
    """
    return getattr(threading, _BEGINS, None) is not _begin


class _Begun(threading.Event):
    """The event by which a thread tells that it has begun."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the thread's beginning, a moment at most if no time is given."""
        return super().wait(_BEGIN_SECONDS if timeout is None else timeout)


class PlainThread(threading.Thread):
    """A thread that delays whoever starts it a moment at most.

    Python waits without end until a thread tells that it has begun. One that finds no memory for
    its first step ends without telling.
    """

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if no thread can be started."""
        self._started: Any = _Begun()
        super().start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread, unless it does not begin in that time or a moment."""
        if self._started.wait(timeout):
            super().join(timeout)

    def _delete(self) -> None:
        inherited: Any = super()
        inherited._delete()
        # Python waits for this lock until 3.12. If gevent has come meanwhile, nobody releases it.
        lock = getattr(self, "_tstate_lock", None)
        if lock is not None and stay_threads():
            lock.release()


class Thread(PlainThread):
    """A thread that takes no signals of the process, and that its tracers do not see.

    A tracer or profiler of the program (`threading.settrace`) would run in it, print it, and add
    its functions to those of the program's own threads.
    """

    _ended: Any = None
    """A lock that is held while it runs, if `threading` does not know of it."""

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if no thread can be started."""
        if stay_threads():
            self._start_natively()
            return
        with signals_kept_away():
            super().start()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end of the thread, for `timeout` seconds at most."""
        if self._ended is None:
            super().join(timeout)
        elif self._ended.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            self._ended.release()

    def is_alive(self) -> bool:
        """Return whether the thread runs."""
        return super().is_alive() if self._ended is None else self._ended.locked()

    def _start_natively(self) -> None:
        this: Any = self  # with the private attributes of Python's class
        this._ident, self._ended = 0, locks.lock()
        self._ended.acquire()
        try:
            signal_mask.start(self._run_natively)
        except RuntimeError:
            this._ident = self._ended = None
            raise

    def _delete(self) -> None:
        inherited: Any = super()
        # A thread that began before the replacement is known by its native identity, but
        # `threading` would now ask for that of a greenlet.
        if stay_threads():
            for number, thread in list(_known().items()):
                if thread is self:
                    _known().pop(number, None)
        else:
            inherited._delete()

    def _run_natively(self) -> None:
        this: Any = self
        known = _known()
        this._ident = threading.get_ident()
        known[this._ident] = self
        try:
            self.run()
        except BaseException:
            this._invoke_excepthook(self)
        finally:
            known.pop(this._ident, None)
            self._ended.release()

    def _bootstrap_inner(self) -> None:
        # Python sets the hooks in this method; it looks them up in the globals of its function.
        inherited: Any = super()
        begin = inherited._bootstrap_inner
        # Only Python's own method is known: gevent puts a class of its own in place of Python's.
        function = getattr(begin, "__func__", None)
        if type(function) is FunctionType and function.__globals__ is vars(threading):
            hookless = FunctionType(function.__code__, {**vars(threading), **_NO_HOOKS})
            begin = hookless.__get__(self)
        begin()


def _known() -> dict[int, object]:
    """Return the threads that `threading` knows."""
    known: dict[int, object] = getattr(threading, "_active", {})
    return known
