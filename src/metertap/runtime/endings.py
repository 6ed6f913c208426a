"""The ends of a process: what was measured is pushed, and the end stays the program's own.

Seen are exit handlers (the program returns, calls `sys.exit` or raises), children of
`multiprocessing`, which end without exit handlers, SIGTERM and SIGHUP where the program does not
handle them, and a signal that a program raises at itself (as uvicorn does once it has shut down).
Nothing is seen of SIGKILL, `os._exit` and other deadly signals: they lose what was measured since
the last periodic export.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from metertap import faults, state
from metertap.patching.patch_set import PatchSet, Target
from metertap.patching.tracebacks import hide_frame

END_SECONDS = 0.8
"""The longest that metertap delays the end of a process."""

Hook = Callable[[], None]

_CAUGHT = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end, and end it at once where it does not handle them.

Not SIGQUIT and SIGUSR1, which also end it: those are for programs that hang, and Python calls a
handler only between two steps of its main thread.
"""
_HARMLESS = frozenset(
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
"""Signals that do not end a process that does not handle them."""


class Endings:
    """The ends of one process, from `watch` to `forget`.

    `push` sends what was measured and returns after `END_SECONDS` at most; it is called before
    every end that can be seen, by whichever thread sees it, and may be called twice. `stop` asks
    the threads of metertap to end.
    """

    def __init__(self, push: Hook, stop: Hook) -> None:
        self._push = push
        self._stop = stop
        self._aside: list[int] = []
        self._raised = PatchSet("signal", [Target("raise_signal", self._raise_signal)])

    def watch(self, *, pushes: bool) -> None:
        """Watch for the end of the process; `pushes` says whether anything could be lost then."""
        global _watching
        _watching = self
        atexit.register(self._exit)
        if pushes:
            self._watch_early_ends()

    def forget(self) -> None:
        """Leave the process as it would be without metertap."""
        global _watching
        if _watching is self:
            _watching = None
        atexit.unregister(self._exit)
        self._raised.uninstall()
        for number in self._ours():
            with suppress(ValueError):  # this is not the main thread; the handler does no harm
                signal.signal(number, signal.SIG_DFL)

    def woken(self, *, pushes: bool) -> None:
        """Watch for the end of a forked child, which records for the first time."""
        if pushes:
            self._watch_early_ends()

    # Ends without exit handlers

    def _watch_early_ends(self) -> None:
        if os.name != "posix":
            return
        self._raised.install()
        if _is_main_thread():
            for number in _CAUGHT:
                if _has_default_action(number):
                    signal.signal(number, self._caught)
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._watch_multiprocessing(util)

    def _watch_multiprocessing(self, util: Any) -> None:
        """Push at the end of a child of multiprocessing: by `os._exit`, after its finalizers.

        A child forgets all finalizers when it begins, which may be after its first record (the fork
        server imports the main module first), and then does what is registered for after a fork.
        """

        def end_with_it(_endings: Endings | None = None) -> None:
            util.Finalize(None, self._push, exitpriority=0)

        util.register_after_fork(self, end_with_it)
        if sys.modules["multiprocessing.process"].parent_process() is not None:  # it has begun
            end_with_it()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        """End the process by the signal as it would have ended, `END_SECONDS` later at most."""
        # Python calls a handler from the frame that it interrupts. A handler of the program's that
        # calls the one it replaced would have found none, and goes on.
        is_chained = sys._getframe(1) is not frame
        if not is_chained:
            signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        self._push_from_a_thread()
        if not is_chained:
            os.kill(os.getpid(), number)

    def _raise_signal(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("ending"):
            number = args[0] if args else kwargs.get("signalnum")
            if number not in _HARMLESS and signal.getsignal(number) is signal.SIG_DFL:
                self._push_from_a_thread()
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _push_from_a_thread(self) -> None:
        with faults.guarded("ending"):
            # This thread may hold any lock, and must not wait for itself.
            thread = threading.Thread(target=self._push, name="metertap-push", daemon=True)
            thread.start()
            thread.join(END_SECONDS)

    # Forks: Python forgets a signal that reaches a child before its first step, so that a child
    # that is terminated as soon as it is started would live on if it had a handler.

    def before_fork(self) -> None:
        """Put our handlers aside; the child takes its own when it records."""
        self._aside = self._ours() if _is_main_thread() else []
        for number in self._aside:
            signal.signal(number, signal.SIG_DFL)

    def forked_in_parent(self) -> None:
        """Put our handlers back."""
        for number in self._aside:
            signal.signal(number, self._caught)

    def _ours(self) -> list[int]:
        return [number for number in _CAUGHT if signal.getsignal(number) == self._caught]

    # Exit handlers

    def _exit(self) -> None:
        until = time.monotonic() + END_SECONDS
        with faults.guarded("exit"):
            self._push()
        with faults.guarded("exit"):
            self._stop()
        with faults.guarded("exit"):
            _join_threads(until)
        with faults.guarded("exit"):
            _keep_interrupt()


_watching: Endings | None = None


def _before_fork() -> None:
    if _watching is not None:
        _watching.before_fork()


def _forked_in_parent() -> None:
    if _watching is not None:
        _watching.forked_in_parent()


state.on_fork(before=_before_fork, parent=_forked_in_parent)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _has_default_action(number: int) -> bool:
    """Say whether nobody handles or ignores the signal, in Python or below it."""
    if signal.getsignal(number) is not signal.SIG_DFL:
        return False
    with suppress(OSError, ValueError, IndexError):  # only Linux has the file
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if (
                line.startswith(("SigIgn:", "SigCgt:"))
                and int(line.split()[1], 16) >> number - 1 & 1
            ):
                return False
    return True


def _join_threads(until: float) -> None:
    """Wait for the threads of metertap, which were asked to end, until that time at most.

    A daemon thread that wakes up while Python finalises is ended by `pthread_exit`, which ends the
    whole process with SIGABRT where no file can be opened (glibc loads a library for it).
    """
    for thread in threading.enumerate():
        if thread.daemon and thread.name.startswith("metertap-"):
            thread.join(max(0.0, until - time.monotonic()))


def _keep_interrupt() -> None:
    """Let a program that KeyboardInterrupt ended die of SIGINT, as it does without metertap.

    CPython notes such an end in a flag, and reads it after the exit handlers. Each `exec` of a text
    clears the flag, on any thread: that of a dataclass or a named tuple in a module that a thread
    of metertap was importing, for example. An `exec` that KeyboardInterrupt ends sets it again.
    """
    error = getattr(sys, "last_value", None)
    traceback = getattr(sys, "last_traceback", None)
    is_the_programs_end = (
        type(error) is KeyboardInterrupt
        and not hasattr(sys, "ps1")  # in an interactive session the last error ended nothing
        and traceback is not None
        and traceback.tb_frame.f_back is None
    )
    if is_the_programs_end:
        with suppress(KeyboardInterrupt):
            exec("raise KeyboardInterrupt")
