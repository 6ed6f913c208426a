"""Locks that are free in a forked child, whoever held them in the parent.

A child is forked with one thread. A lock that another thread of the parent holds at that moment
would never be released there, so every lock of metertap is made here, and `renew` frees all of
them. They are the threading module's own objects: using one costs nothing more.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

PATIENCE = 1.0
"""The seconds that a call of the program's waits for a lock, at most."""

_made: weakref.WeakSet[Any] = weakref.WeakSet()
_stuck: set[Any] = set()
"""Locks that somebody has waited for in vain."""
T = TypeVar("T")
AT_ONCE = (False,)
"""What `acquire` is given where nobody waits: `taken.extend(map(lock.acquire, AT_ONCE))`.

An interrupt (Ctrl-C, a handler that raises) comes when a call has returned. After a plain `acquire`
nobody would know that the lock is taken, and it would never be released; here `taken` tells it.
"""


def lock() -> threading.Lock:
    """Make a lock that one thread holds, and no thread takes twice."""
    return _kept(threading.Lock())


def rlock() -> threading.RLock:
    """Make a lock that the thread that holds it may take again."""
    return _kept(threading.RLock())


def condition() -> threading.Condition:
    """Make a condition with a lock of its own; in a child nobody waits for it."""
    return _kept(threading.Condition())


def event() -> threading.Event:
    """Make an event; in a child it is as set as it was in the parent."""
    return _kept(threading.Event())


def tried(lock: Any, do: Callable[[], object], seconds: float = 0.0) -> bool:
    """Do something while holding `lock`; return False, and do nothing, if it is not free in time.

    A finaliser (`__del__`) of the program's may run in the thread that holds it, and wait for a
    lock of the program's that is held by who calls this: to wait for ever would be a deadlock. Once
    that has happened, nobody waits until the lock was free again.
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
