"""Sockets and selectors of Python's own, for threads of metertap's beside gevent's greenlets.

A socket of gevent's belongs to the thread that made it, and an endpoint answers in other threads
than it accepts in. What waits for descriptors makes a hub in each thread that uses it.
"""

from __future__ import annotations

import _socket
import select
import selectors
import socket
import sys
from types import ModuleType
from typing import Any

from metertap import threads

_kind: Any = socket.socket
"""The class of sockets when metertap was imported: pytest-socket replaces it by one that raises."""
_pythons = [it for it in _socket.socket.__subclasses__() if it.__module__ == socket.__name__]
if _pythons and (not isinstance(_kind, type) or issubclass(_kind, _pythons[0])):
    _kind = _pythons[0]  # a test had replaced it already; those of gevent and eventlet are others


def original(module: ModuleType, name: str) -> Any:
    """Return what Python has in a module, also if gevent or eventlet has replaced it; else None.

    They count only if they have done so since metertap was imported. Eventlet leaves nothing in
    the place of what it has no greenlets for.
    """
    if threads.stay_threads():
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched(module.__name__):
            return monkey.get_original(module.__name__, name)
        patcher = sys.modules.get("eventlet.patcher")
        if patcher is not None and patcher.is_monkey_patched(module.__name__):
            return getattr(patcher.original(module.__name__), name, None)
    return getattr(module, name, None)


def selector() -> selectors.BaseSelector:
    """Make a selector that needs no descriptor of its own: Python's, if gevent has come later."""
    kind: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
    if threads.stay_threads() and (poll := original(select, "poll")) is not None:
        kind = type(kind.__name__, (kind,), {"_selector_cls": poll})
    made: selectors.BaseSelector = kind()
    return made


def accepted_at(listener: Any) -> tuple[Any, Any]:
    """Accept a connection; return a socket of Python's own and the address of the client."""
    kind = original(socket, "socket") if threads.stay_threads() else _kind
    if kind is socket.socket:
        accepted: tuple[Any, Any] = listener.accept()
        return accepted
    # Python's own `accept` makes a socket of the class that gevent, or a test, has put there.
    descriptor, address = listener._accept()
    made = kind(fileno=descriptor)
    made.setblocking(True)
    return made, address


def pair() -> tuple[Any, Any]:
    """Make two sockets that are connected with each other."""
    kind = original(socket, "socket")
    if kind is socket.socket:
        return socket.socketpair()
    one, other = _socket.socketpair()
    return kind(fileno=one.detach()), kind(fileno=other.detach())
