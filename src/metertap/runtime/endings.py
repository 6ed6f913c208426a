"""The ends of a process: push what was measured first, then let the process end as it would have.

metertap sees these ends: exit handlers (the program returns, calls `sys.exit` or raises); children
of `multiprocessing`, which end without exit handlers; `os._exit`, by which children end that a
program forks itself (those of Celery's pool, RQ's work horses); SIGTERM and SIGHUP, where the
program does not handle them; and a signal that a program sends to itself (as uvicorn does once it
has shut down). SIGKILL and other deadly signals cannot be seen: they lose what was measured since
the last periodic export.
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
    DEFAULT,
    HARMLESS,
    die_by,
    handle,
    handler_of,
    has_default_action,
    is_main_thread,
    may_hold_locks,
)
from metertap.unmocked import unmocked

END_SECONDS = 0.8
"""The longest time by which metertap delays the end of a process, in seconds."""
FLUSH_MILLISECONDS = 500.0
"""The longest time that a flush waits for a collector where its caller names none."""

_PUT_OFF_SECONDS = 0.2
"""How much of `END_SECONDS` the main thread has to leave code that holds a lock."""
_SWITCH_SECONDS = 1e-4
"""Python's switch interval during a push, in seconds.

A push needs the interpreter some hundred times while other threads compute; at the usual interval
each of them would keep it for 5 milliseconds.
"""


class Endings:
    """The ends of one process, from `watch` to `forget`.

    `push` sends what was measured and returns by a given time on the monotonic clock. The thread
    that sees an end calls it before that end; it may be called twice. `stop` asks metertap's
    threads to end, and waits for them until such a time at most. An end takes up to `END_SECONDS`
    plus the seconds that `more` returns.
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
        self._is_pushing = False  # and the main thread waits for the push
        self._ends_by: int | None = None  # a signal that came during the push
        self._asked: FirstMoments | None = None  # of the end that a signal asked for
        self._is_ending = False  # an exit handler is ending it; no interrupt stops that
        self._put_off_until: float | None = None
        self._handlers = HiddenHandlers(self._caught)
        self._raised = PatchSet("signal", [Target("raise_signal", self._raise_signal)])
        self._left = PatchSet("os", [Target("_exit", self._leave), Target("kill", self._kill)])

    def watch(self, *, pushes: bool) -> None:
        """Watch for the end of the process; `pushes` says whether an end could lose anything."""
        global _watching
        _watching = self
        # Twice: an interrupt just before the first call is raised as a Python function begins.
        atexit.register(self._exit)
        atexit.register(self._exit)
        if pushes:
            self._watch_early_ends()

    def forget(self) -> None:
        """Stop watching, and undo the handlers and patches."""
        global _watching
        if _watching is self:
            _watching = None
        atexit.unregister(self._exit)
        self._raised.uninstall()
        self._left.uninstall()
        for number in self._handlers.in_force():
            with suppress(ValueError):  # this is not the main thread; the handler does no harm
                handle(number, DEFAULT)
        self._handlers.leave()

    def woken(self, *, pushes: bool) -> None:
        """Watch for the end of a forked child, which has just made its first record."""
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
        """Push at the end of a child of `multiprocessing`: by `os._exit`, after its finalizers.

        A child forgets all finalizers when it begins, and then runs what was registered to run
        after a fork. Its first record may come before that: the fork server imports the main module
        first.
        """

        def end_with_it(_endings: Endings | None = None) -> None:
            util.Finalize(None, self._push_at_once, exitpriority=0)

        util.register_after_fork(self, end_with_it)
        if sys.modules["multiprocessing.process"].parent_process() is not None:  # it has begun
            end_with_it()

    def _caught(self, number: int, frame: FrameType | None) -> None:
        """End the process by the signal, as it would have ended, but up to `END_SECONDS` later."""
        # Python calls a handler with the frame that it interrupted. Another frame means that a
        # handler of the program called this one as its predecessor; without metertap it would have
        # found none.
        if sys._getframe().f_back is not frame:
            self._push_from_a_thread()
        elif self._asked is not None:
            if self._asked.are_over:
                die_by(number)  # a second signal ends the process at once
        elif self._is_pushing:  # the main thread waits below this frame, then ends the process
            self._ends_by = number
            self._asked = FirstMoments()
        elif not (may_hold_locks(frame) and self._put_off(number)):
            self._end_by(number)

    def _end_by(self, number: int) -> None:
        """Push, then raise the signal with its default action."""
        seconds = END_SECONDS
        if self._put_off_until is not None:
            seconds -= unmocked.monotonic() - self._put_off_until + _PUT_OFF_SECONDS
            self._put_off_until = None
            sys.setprofile(None)
        self._asked = FirstMoments()
        self._push_from_a_thread(seconds)
        die_by(number)

    def _put_off(self, number: int) -> bool:
        """End the process by the signal as soon as the main thread has left the code it is in.

        The main thread stands still while it handles a signal. If the signal interrupted it while
        it held a lock that the push needs, the push would wait for that lock in vain. Returns
        whether there is time left to put the end off.
        """
        now = unmocked.monotonic()
        if self._put_off_until is None:
            self._put_off_until = now + _PUT_OFF_SECONDS
            try:
                # Not a Thread: the main thread may hold the locks of `threading`, too.
                signal_mask.start(partial(self._remind, number))
            except RuntimeError:  # Python 3.12 starts no threads while it ends
                return False
        elif now >= self._put_off_until:
            return False

        def step(frame: FrameType, event: str, _arg: object) -> None:
            if not may_hold_locks(frame.f_back if event == "return" else frame):
                self._end_by(number)

        sys.setprofile(step)  # it may replace another profiler: the process is about to end
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
            if len(args) == 2 and args[0] == os.getpid() and args[1]:  # 0 only asks: does it run?
                self._push_before(args[1])
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _push_before(self, number: Any) -> None:
        """Push if this signal, which the process sends to itself, ends it."""
        try:
            is_deadly = number not in HARMLESS and handler_of(number) is DEFAULT
        except (TypeError, ValueError):  # it is no signal, as the program is about to be told
            return
        if is_deadly:
            self._push_from_a_thread()

    def _leave(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        # A child that has recorded nothing, as between a fork and an `exec`, must start no thread.
        if state.recorder().has_activity:
            self._push_from_a_thread()
        try:
            return wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise

    def _push_from_a_thread(self, seconds: float = END_SECONDS) -> None:
        """Push in a thread of its own, which holds no locks, and wait for it `seconds` at most."""
        until = self._until(max(0.0, seconds))

        def push() -> None:
            with faults.guarded("ending"):
                self._push(until)

        with faults.guarded("ending"), self._undisturbed():
            try:
                pushed = signal_mask.start(push)
            except RuntimeError:  # Python 3.12 starts no threads while it ends
                self._push(until)
            else:
                pushed.acquire(timeout=max(0.0, until - unmocked.monotonic()))

    def _until(self, seconds: float = END_SECONDS) -> float:
        """Return when an end that begins now must be over, by the monotonic clock."""
        return unmocked.monotonic() + seconds + faults.kept("ending", self._more, 0.0)

    def _push_at_once(self) -> None:
        """Push from the main thread, at the end of a child of multiprocessing."""
        with faults.guarded("ending"), self._undisturbed():
            self._push_unless_interrupted(self._until())

    def _push_unless_interrupted(self, until: float) -> bool:
        """Push; an interrupt ends the push but is not raised: the program has ended already."""
        try:
            self._push(until)
        except KeyboardInterrupt:
            return False
        return True

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Put off signals that would end the process until the block ends.

        The handler of such a signal would stop the main thread in the middle of its push and wait
        in vain for another push. A repeated interrupt would end the push.
        """
        if self._is_pushing or not is_main_thread():
            yield
            return
        first = self._asked or faults.kept("ending", FirstMoments, None)

        def interrupt(number: int, frame: FrameType | None) -> None:
            if first is None or first.are_over:
                signal.default_int_handler(number, frame)

        is_pythons = handler_of(signal.SIGINT) is signal.default_int_handler
        interval = sys.getswitchinterval()
        self._is_pushing = True
        try:
            for _ in range(2 * is_pythons):
                with suppress(KeyboardInterrupt):  # an interrupt that came before this line
                    handle(signal.SIGINT, interrupt)
            sys.setswitchinterval(_SWITCH_SECONDS)
            yield
        finally:
            sys.setswitchinterval(interval)
            if is_pythons and handler_of(signal.SIGINT) is interrupt:
                handle(signal.SIGINT, signal.default_int_handler)
            self._is_pushing = False
            if self._ends_by is not None:
                die_by(self._ends_by)
            if first is not None:
                with faults.guarded("ending"):
                    first.end()

    # Forks: Python drops a signal that reaches a child before its first step. A child with a
    # handler that is terminated as soon as it is started would therefore live on.

    def before_fork(self) -> None:
        """Put our handlers aside before a fork; the child installs its own when it records."""
        self._aside = self._handlers.in_force() if is_main_thread() else []
        for number in self._aside:
            handle(number, DEFAULT)

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
                until = unmocked.monotonic()
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
