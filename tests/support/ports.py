"""Ports of 127.0.0.1 for servers that have to be told one.

They are below those that the system chooses from for everybody else, where a connection of another
test may take a port between the moment it is found free and the moment a server binds it.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from collections import deque

_PORTS = range(12_000, 32_000)
_CHOICE = random.SystemRandom()  # a test that seeds the other one would be given one port twice
_MOST_RESERVED = 100
_reserved: deque[int] = deque()
"""Descriptors of this process that keep other processes of tests from being given its ports."""


def free_port() -> int:
    """Find a port that nobody listens on, and that no other process of tests is given meanwhile."""
    while True:
        port = _CHOICE.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as listener:
            if sys.platform == "linux":
                _reserve(port)
            listener.bind(("127.0.0.1", port))
            return port


def _reserve(port: int) -> None:
    """Bind a name that the whole machine knows; raises OSError where another process has."""
    with socket.socket(socket.AF_UNIX) as name:
        name.bind(f"\0metertap-tests-{port}")
        _reserved.append(name.detach())
    if len(_reserved) > _MOST_RESERVED:
        os.close(_reserved.popleft())
