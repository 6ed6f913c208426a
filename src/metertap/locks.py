"""Locks that are free in a forked child, whoever held them in the parent.

A child is forked with one thread. A lock that another thread of the parent holds at that moment
would never be released there, so every lock of metertap is made here, and `renew` frees all of
them. They are the threading module's own objects: using one costs nothing more.

gevent and eventlet put greenlets in the place of threads, and locks of their own in the place of
Python's. If they do so when metertap is imported already, its threads stay threads (see
`metertap.threads`) and its locks stay Python's, also those that are made afterwards.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

_make_lock = threading.Lock
_native_rlock: Any = getattr(threading, "_CRLock", None)
_make_rlock: Callable[[], threading.RLock] = threading.RLock
if _native_rlock is not None and type(threading.RLock()) is _native_rlock:
    # The function looks the class up at each call, where gevent may have put another one.
    _make_rlock = _native_rlock
PATIENCE = 1.0
"""The longest, in seconds, that a call of the program waits for a lock."""

_made: weakref.WeakSet[Any] = weakref.WeakSet()
_stuck: set[Any] = set()
"""Locks that a thread has waited for in vain."""
T = TypeVar("T")
AT_ONCE = (False,)
"""The argument of `acquire` that does not wait: `taken.extend(map(lock.acquire, AT_ONCE))`.

An interrupt (Ctrl-C, a handler that raises) comes when a call has returned. After a plain `acquire`
no variable would say that the lock is taken, and it would never be released; here `taken` does.
"""


_wait: Any = threading.Condition.wait


class _Condition(threading.Condition):
    """A condition that waits as it did when metertap was imported."""

    # What the program has put in the place of Python's own function is kept as it is.
    if type(_wait) is FunctionType and _wait.__globals__ is vars(threading):
        wait = FunctionType(_wait.__code__, dict(vars(threading)), "wait", _wait.__defaults__)


class _Event(threading.Event):
    """An event that waits as it did when metertap was imported.

    Unlike Python's own, it may be set by a signal handler that interrupts this thread as it sets
    it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._cond = _Condition(_make_rlock())


# What gevent has put in the place of the class by then is kept as it is.
_make_event = _Event if hasattr(threading.Event(), "_cond") else threading.Event


def lock() -> threading.Lock:
    """Make a lock that a thread cannot take twice."""
    return _kept(_make_lock())


def rlock() -> threading.RLock:
    """Make a lock that the thread that holds it may take again."""
    return _kept(_make_rlock())


def condition() -> threading.Condition:
    """Make a condition with a lock of its own; in a forked child no thread waits for it."""
    return _kept(_Condition(_make_rlock()))


def event() -> threading.Event:
    """Make an event; in a forked child it is as set as it was in the parent."""
    return _kept(_make_event())


def tried(lock: Any, do: Callable[[], object], seconds: float = 0.0) -> bool:
    """Call `do` while holding `lock`; return False, without a call, if it is not free in time.

    A finaliser (`__del__`) of the program may run in the thread that holds it, and wait for a lock
    that the caller holds: to wait for ever would be a deadlock. Once a thread has waited in vain,
    no other one waits until the lock was free again.
    """
    wait = (True, seconds) if seconds and lock not in _stuck else (False, -1.0)
    taken: list[bool] = []
    try:
        taken.extend(map(lock.acquire, wait[:1], wait[1:]))
        if True in taken:
            _stuck.discard(lock)
            do()
            return True
        if seconds:
            _stuck.add(lock)
        return False
    finally:
        if True in taken:
            lock.release()


def briefly(lock: Any, make: Callable[[], T]) -> T:
    """Make something while holding `lock`, or without it if it is not free in a moment."""
    made: list[T] = []
    if not tried(lock, lambda: made.append(make()), PATIENCE):
        return make()
    return made[0]


def _kept(made: T) -> T:
    _made.add(made)
    return made


def renew() -> None:
    """Free every lock, in a forked child: the threads that held them are not there."""
    _stuck.clear()
    for made in list(_made):
        made._at_fork_reinit()  # what Python's own modules (logging, threading) call after a fork
