"""Threads of metertap's, which leave signals to those of the program.

The system gives a signal to any thread of a process that does not block it. Where the program
blocks one, to take it later (`sigwait`, a `signalfd`) or not to be disturbed, a thread that blocks
nothing would get it, and the program's handler would run, or the process would end.

Nothing of the program may run in such a thread that starts processes: they would block all of them.
"""

from __future__ import annotations

import threading
from types import FunctionType
from typing import Any

from metertap.signal_mask import signals_kept_away

_NO_HOOKS = {"_trace_hook": None, "_profile_hook": None}


class Thread(threading.Thread):
    """A thread that takes no signals of the process, and is not seen by its tracers.

    A tracer or profiler of the program (`threading.settrace`) would run in it, print it, and count
    what it does beside the program's own threads.
    """

    def start(self) -> None:
        """Start it. Raises RuntimeError where none can be started."""
        with signals_kept_away():
            super().start()

    def _bootstrap_inner(self) -> None:
        # Python sets the hooks in here, which it finds among the globals of this function.
        inherited: Any = super()
        begin = inherited._bootstrap_inner
        # Python's own alone is known: gevent puts a class of its own in the place of Python's.
        function = getattr(begin, "__func__", None)
        if type(function) is FunctionType and function.__globals__ is vars(threading):
            hookless = FunctionType(function.__code__, {**vars(threading), **_NO_HOOKS})
            begin = hookless.__get__(self)
        begin()
