"""Threads of metertap, which leave signals to the program's own threads.

The system gives a signal to any thread of the process that does not block it. If the program blocks
a signal (to take it by `sigwait` or a `signalfd`, or not to be disturbed), a thread of metertap
that does not block it would get it: the program's handler would run, or the process would end.

No code of the program may start processes in such a thread: they would inherit the blocked signals.
"""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Any

from metertap.signal_mask import signals_kept_away

_NO_HOOKS = {"_trace_hook": None, "_profile_hook": None}
_BEGIN_SECONDS = 1.0
"""The most seconds for which whoever starts a thread waits until that has begun."""


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


class Thread(PlainThread):
    """A thread that takes no signals of the process, and that its tracers do not see.

    A tracer or profiler of the program (`threading.settrace`) would run in it, print it, and add
    its functions to those of the program's own threads.
    """

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if no thread can be started."""
        with signals_kept_away():
            super().start()

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
