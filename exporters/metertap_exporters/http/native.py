"""Sockets of Python's own, for threads that stay threads where gevent makes greenlets of others.

A socket of gevent's belongs to the thread that made it, and an endpoint answers in other threads
than it accepts in.
"""

from __future__ import annotations

import socket
import sys
from typing import Any

from metertap import threads


def socket_class() -> Any:
    """Return Python's own class of sockets, also if gevent or eventlet has replaced it.

    They count only if they have done so since metertap was imported.
    """
    if threads.stay_threads():
        monkey = sys.modules.get("gevent.monkey")
        if monkey is not None and monkey.is_module_patched("socket"):
            return monkey.get_original("socket", "socket")
        patcher = sys.modules.get("eventlet.patcher")
        if patcher is not None and patcher.is_monkey_patched("socket"):
            return patcher.original("socket").socket
    return socket.socket


def accepted_at(listener: Any) -> tuple[Any, Any]:
    """Accept a connection; return a socket of Python's own and the address of the client."""
    kind = socket_class()
    if kind is socket.socket:
        accepted: tuple[Any, Any] = listener.accept()
        return accepted
    # Python's own `accept` makes a socket of the class that gevent has put in the module.
    descriptor, address = listener._accept()
    made = kind(fileno=descriptor)
    made.setblocking(True)
    return made, address
