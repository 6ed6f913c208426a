"""Keeping the program's signals away from threads that start.

`metertap run` needs it before anything of the program is imported, and while Python ends: an import
of a module in Python may then make Python forget that ^C has ended the program. So this one imports
nothing but what is built in.
"""

from __future__ import annotations

import _thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Callable
    from typing import Any
else:
    import _signal

_OF_A_THREAD = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")
"""Signals that tell a thread of its own fault: blocked, they end the process without a report."""


class signals_kept_away:  # lower case: `with signals_kept_away():`
    """Block all signals in this thread: threads that start meanwhile block them for good."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before: Any = None
        if hasattr(_signal, "pthread_sigmask"):  # Windows has none
            spared = {getattr(_signal, name, None) for name in _OF_A_THREAD}
            blocked = set(_signal.valid_signals()) - spared
            self._before = _signal.pthread_sigmask(_signal.SIG_BLOCK, blocked)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, self._before)


def start(do: Callable[[], object]) -> None:
    """Start a thread that `threading` does not know, as where its locks may be held.

    Raises RuntimeError where none can be started.
    """
    with signals_kept_away():
        _thread.start_new_thread(do, ())
