"""The ends of a process: what was measured is pushed, and the end stays the program's own.

Seen are exit handlers (the program returns, calls `sys.exit` or raises), children of
`multiprocessing`, which end without exit handlers, `os._exit` (by which children end that a program
forks itself: those of Celery's pool, RQ's work horses), SIGTERM and SIGHUP where the program does
not handle them, and a signal that a program sends to itself (as uvicorn does once it has shut
down). Nothing is seen of SIGKILL and other deadly signals: they lose what was measured since the
last periodic export.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from metertap import faults, signal_mask, state
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap.runtime.hidden_handlers import HiddenHandlers
from metertap.runtime.moments import (
    FirstMoments,
    join_threads,
    keep_interrupt,
    seconds_without_files,
)
from metertap.runtime.signals import (
    CAUGHT,
    HARMLESS,
    die_by,
    handle,
    handler_of,
    has_default_action,
    is_main_thread,
    may_hold_locks,
)

END_SECONDS = 0.8
"""The longest that metertap delays the end of a process."""
FLUSH_MILLISECONDS = 500.0
"""The longest that a flush waits for a collector, unless it is told."""

_PUT_OFF_SECONDS = 0.2
"""The part of it in which the main thread may leave code that holds a lock."""
_SWITCH_SECONDS = 1e-4
"""Python's switch interval during a push, in seconds.

A push takes the interpreter some hundred times, from threads that compute: they keep it for 5
milliseconds each otherwise.
"""


class Endings:
    """The ends of one process, from `watch` to `forget`.

    `push` sends what was measured, until a time by the monotonic clock at most; it is called before
    every end that can be seen, by whichever thread sees it, and may be called twice. `stop` asks
    the threads of metertap to end, and waits until such a time at most. An end takes `END_SECONDS`
    and the seconds that `more` gives.
    """

    def __init__(
        self,
        push: Callable[[float], None],
        stop: Callable[[float], None],
        more: Callable[[], float],
    ) -> None:
        self._push = push
        self._stop = stop
        self._more = more
        self._aside: list[int] = []
        self._is_pushing = False  # and the main thread waits for it
        self._ends_by: int | None = None  # a signal that came meanwhile
        self._asked: FirstMoments | None = None  # of the end that a signal has asked for
        self._is_ending = False  # by an exit handler, which no interrupt keeps from it any more
        self._put_off_until: float | None = None
        self._handlers = HiddenHandlers(self._caught)
        self._raised = PatchSet("signal", [Target("raise_signal", self._raise_signal)])
        self._left = PatchSet("os", [Target("_exit", self._leave), Target("kill", self._kill)])

    def watch(self, *, pushes: bool) -> None:
        """Watch for the end of the process; `pushes` says whether anything could be lost then."""
        global _watching
        _watching = self
        # Twice: an interrupt that comes just before is raised as a function of Python's begins.
        atexit.register(self._exit)
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
        self._left.uninstall()
        for number in self._handlers.in_force():
            with suppress(ValueError):  # this is not the main thread; the handler does no harm
                handle(number, signal.SIG_DFL)
        self._handlers.leave()

    def woken(self, *, pushes: bool) -> None:
        """Watch for the end of a forked child, which records for the first time."""
        if pushes:
            self._watch_early_ends()

    # Ends without exit handlers

    def _watch_early_ends(self) -> None:
        if os.name != "posix":
            return
        self._raised.install()
        self._left.install()
        if is_main_thread():
            for number in CAUGHT:
                if has_default_action(number):
                    self._handlers.take(number)
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None:
            self._watch_multiprocessing(util)

    def _watch_multiprocessing(self, util: Any) -> None:
        """Push at the end of a child of multiprocessing: by `os._exit`, after its finalizers.

        A child forgets all finalizers when it begins, which may be after its first record (the fork
        server imports the main module first), and then does what is registered for after a fork.
        """

        def end_with_it(_endings: Endings | None = None) -> None:
            util.Finalize(None, self._push_at_once, exitpriority=0)

        util.register_after_fork(self, end_with_it)
        if sys.modules["multiprocessing.process"].parent_process() is not None:  # it has begun
            end_with_it()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        """End the process by the signal as it would have ended, `END_SECONDS` later at most."""
        # Python calls a handler from the frame that it interrupts. A handler of the program's that
        # calls the one it replaced would have found none, and goes on.
        if sys._getframe().f_back is not frame:
            self._push_from_a_thread()
        elif self._asked is not None:
            if self._asked.are_over:
                die_by(number)  # a second one ends the process at once
        elif self._is_pushing:  # the main thread waits below this frame, and ends when that is done
            self._ends_by = number
            self._asked = FirstMoments()
        elif not (may_hold_locks(frame) and self._put_off(number)):
            self._end_by(number)

    def _end_by(self, number: int) -> None:
        """Push, and let the signal do what it does where nobody handles it."""
        seconds = END_SECONDS
        if self._put_off_until is not None:
            seconds -= time.monotonic() - self._put_off_until + _PUT_OFF_SECONDS
            self._put_off_until = None
            sys.setprofile(None)
        self._asked = FirstMoments()
        self._push_from_a_thread(seconds)
        die_by(number)

    def _put_off(self, number: int) -> bool:
        """End the process by the signal as soon as the main thread has left the code it is in.

        The main thread stands still while it handles a signal. Where it was interrupted with a lock
        that the push needs, the push would wait for it in vain. Returns whether there is time left
        for that.
        """
        now = time.monotonic()
        if self._put_off_until is None:
            self._put_off_until = now + _PUT_OFF_SECONDS
            try:
                # Not a Thread: the main thread may hold the lock of those, too.
                signal_mask.start(partial(self._remind, number))
            except RuntimeError:  # there are none while Python 3.12 ends
                return False
        elif now >= self._put_off_until:
            return False

        def step(frame: FrameType, event: str, _arg: object) -> None:
            if not may_hold_locks(frame.f_back if event == "return" else frame):
                self._end_by(number)

        sys.setprofile(step)  # nobody misses another profiler: the process is about to end
        return True

    def _remind(self, number: int) -> None:
        time.sleep(_PUT_OFF_SECONDS)
        if self._put_off_until is not None:
            signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _raise_signal(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("ending"):
            self._push_before(args[0] if args else kwargs.get("signalnum"))
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _kill(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("ending"):
            if len(args) == 2 and args[0] == os.getpid() and args[1]:  # 0 asks if it is there
                self._push_before(args[1])
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _push_before(self, number: Any) -> None:
        """Push if the signal, which this process sends to itself, ends it."""
        if number not in HARMLESS and handler_of(number) is signal.SIG_DFL:
            self._push_from_a_thread()

    def _leave(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        # A child that has recorded nothing, as between a fork and an `exec`, starts no thread.
        if state.recorder().has_activity:
            self._push_from_a_thread()
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _push_from_a_thread(self, seconds: float = END_SECONDS) -> None:
        """Push, from where no lock can be held, and wait for it `seconds` at most."""
        until = self._until(max(0.0, seconds))

        def push() -> None:
            with faults.guarded("ending"):
                self._push(until)

        with faults.guarded("ending"), self._undisturbed():
            try:
                pushed = signal_mask.start(push)
            except RuntimeError:  # there are none while Python 3.12 ends
                self._push(until)
            else:
                pushed.acquire(timeout=max(0.0, until - time.monotonic()))

    def _until(self, seconds: float = END_SECONDS) -> float:
        """Return when an end that begins now is over, by the monotonic clock."""
        return time.monotonic() + seconds + faults.kept("ending", self._more, 0.0)

    def _push_at_once(self) -> None:
        """Push from the main thread, at the end of a child of multiprocessing."""
        with faults.guarded("ending"), self._undisturbed():
            self._push_unless_interrupted(self._until())

    def _push_unless_interrupted(self, until: float) -> bool:
        """Push; an interrupt ends that, but goes no further: the program has ended already."""
        try:
            self._push(until)
        except KeyboardInterrupt:
            return False
        return True

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Put off signals that end the process until the block ends.

        The handler of such a signal would keep the main thread in the middle of its push, and wait
        for another one in vain. An interrupt that only repeats one would end the push.
        """
        if self._is_pushing or not is_main_thread():
            yield
            return
        first = self._asked or faults.kept("ending", FirstMoments, None)

        def interrupt(number: int, frame: FrameType | None) -> None:
            if first is None or first.are_over:
                signal.default_int_handler(number, frame)

        is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        interval = sys.getswitchinterval()
        self._is_pushing = True
        try:
            for _ in range(2 * is_pythons):
                with suppress(KeyboardInterrupt):  # one that came before this line
                    signal.signal(signal.SIGINT, interrupt)
            sys.setswitchinterval(_SWITCH_SECONDS)
            yield
        finally:
            sys.setswitchinterval(interval)
            if is_pythons and signal.getsignal(signal.SIGINT) is interrupt:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            self._is_pushing = False
            if self._ends_by is not None:
                die_by(self._ends_by)
            if first is not None:
                with faults.guarded("ending"):
                    first.end()

    # Forks: Python forgets a signal that reaches a child before its first step, so that a child
    # that is terminated as soon as it is started would live on if it had a handler.

    def before_fork(self) -> None:
        """Put our handlers aside; the child takes its own when it records."""
        self._aside = self._handlers.in_force() if is_main_thread() else []
        for number in self._aside:
            handle(number, signal.SIG_DFL)

    def forked_in_parent(self) -> None:
        """Put our handlers back."""
        for number in self._aside:
            handle(number, self._caught)

    # Exit handlers

    def _exit(self) -> None:
        if self._is_ending:
            return
        try:
            with faults.guarded("exit"):
                self._push_and_stop()
        except KeyboardInterrupt:
            if not self._is_ending:
                with faults.guarded("exit"):
                    self._push_and_stop()

    def _push_and_stop(self) -> None:
        with self._undisturbed():
            self._is_ending = True
            self._end(self._until())

    def _end(self, until: float) -> None:
        without_files = faults.kept("ending", seconds_without_files, 0.0)
        with faults.guarded("ending"):
            if not self._push_unless_interrupted(until):
                until = time.monotonic()
        with faults.guarded("exit"):
            self._stop(until)
        with faults.guarded("exit"):
            join_threads(until + without_files)
        with faults.guarded("exit"):
            faults.leave_handlers()
        with faults.guarded("exit"):
            keep_interrupt()


_watching: Endings | None = None


def _before_fork() -> None:
    if _watching is not None:
        _watching.before_fork()


def _forked_in_parent() -> None:
    if _watching is not None:
        _watching.forked_in_parent()


state.on_fork(before=_before_fork, parent=_forked_in_parent)
