"""The process that listens at a port, if Linux tells it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_LISTENS = "0A"
"""The state of a socket that accepts connections, in the kernel's tables."""


def process_at(port: int) -> int | None:
    """Return the id of the process that listens at a port; None if it is unknown.

    The system tells only about processes of the same user.
    """
    sockets = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, *_, inode = line.split()[:10]
                if state == _LISTENS and local.endswith(f":{port:04X}"):
                    sockets.add(f"socket:[{inode}]")
    pids = filter(str.isdecimal, os.listdir("/proc")) if sockets else ()
    return next((int(pid) for pid in pids if _has_one(pid, sockets)), None)


def _has_one(pid: str, sockets: set[str]) -> bool:
    """Return whether a process has one of these sockets open."""
    folder = Path("/proc", pid, "fd")
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.readlink(folder / name) in sockets:
                    return True
    return False
