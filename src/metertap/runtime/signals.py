"""Signals that end this process: which do so, who handles them, and what they interrupt."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal

_LOCKING = ("metertap", "metertap_exporters", "metertap_instrumentation", "opentelemetry")
"""Packages whose locks a push may need."""
CAUGHT = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end, and end it at once if it has no handler.

SIGQUIT and SIGUSR1 end it as well, but serve for programs that hang: Python calls handlers only
between two steps of its main thread.
"""
HARMLESS = frozenset(
    getattr(signal, name)
    for name in (
        "SIGCHLD",
        "SIGCONT",
        "SIGURG",
        "SIGWINCH",
        "SIGSTOP",
        "SIGTSTP",
        "SIGTTIN",
        "SIGTTOU",
    )
    if hasattr(signal, name)
)
"""Signals that do not end a process without a handler."""


# Kept: `Endings` and `HiddenHandlers` replace them by functions that push, or hide our handlers.
_kill = os.kill
# Not the functions of `signal`: before Python 3.13 these call `repr` of the program's handler,
# which may take long or raise.
handle, handler_of, DEFAULT = _signal.signal, _signal.getsignal, _signal.SIG_DFL


def die_by(number: int) -> None:
    """End the process by the signal, as it would end without a handler."""
    handle(number, DEFAULT)
    _kill(os.getpid(), number)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def may_hold_locks(frame: FrameType | None) -> bool:
    """Return whether the code that was interrupted in `frame` may hold locks that a push needs."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in _LOCKING:
            return True
        if package not in sys.stdlib_module_names:  # the library locks for its callers
            return False
        frame = frame.f_back
    return False


def has_default_action(number: int) -> bool:
    """Return whether the signal is neither handled nor ignored, in Python or below it."""
    if handler_of(number) is not DEFAULT:
        return False
    with suppress(OSError, ValueError, IndexError):  # only Linux has the file
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if (
                line.startswith(("SigIgn:", "SigCgt:"))
                and int(line.split()[1], 16) >> number - 1 & 1
            ):
                return False
    return True
