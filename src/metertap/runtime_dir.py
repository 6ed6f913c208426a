"""Where running processes can be found: one small file each, in a directory only its user reads.

`$XDG_RUNTIME_DIR/metertap`, else `metertap-<uid>` in the temporary directory. A file holds what
`metertap snapshot` lists: process id, service name and the addresses of the endpoints. No command
line: it may hold secrets.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from metertap.settings import user_runtime_directory


@dataclass(frozen=True, slots=True)
class Running:
    """One process that is measured."""

    pid: int
    service: str
    started: float
    json_url: str | None
    prometheus_url: str | None


def directory() -> Path:
    """The directory, made if need be. Raises PermissionError where somebody else owns it."""
    path = _path()
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        _check_private(path)
    return path


def _path() -> Path:
    base = user_runtime_directory()
    if base is not None and base.is_dir():
        return base / "metertap"
    # Windows has a temporary directory for each user.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"metertap{user}"


def _check_private(path: Path) -> None:
    if not hasattr(os, "getuid"):
        return
    found = path.lstat()  # not stat: a link that somebody put there is not followed
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path} is not this user's directory")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)


def register(service: str, json_url: str | None, prometheus_url: str | None) -> None:
    """Say where this process answers; replaces what it said before. One thread at a time."""
    path = directory() / f"{os.getpid()}.json"
    entry = {
        "pid": os.getpid(),
        "service": service,
        "started": time.time(),
        "json_url": json_url,
        "prometheus_url": prometheus_url,
    }
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(entry), encoding="utf-8")
    fresh.replace(path)


def unregister() -> None:
    """Take back what this process said, if it did. A forked child has nothing to take back."""
    try:
        (_path() / f"{os.getpid()}.json").unlink(missing_ok=True)
    except OSError:
        pass  # somebody else's directory, or none: nothing was said there


def running() -> list[Running]:
    """The processes that are alive, oldest first. Files of dead ones are removed."""
    found = []
    for path in directory().glob("*.json"):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            process = Running(
                pid=int(entry["pid"]),
                service=str(entry["service"]),
                started=float(entry["started"]),
                json_url=entry["json_url"],
                prometheus_url=entry["prometheus_url"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if _is_alive(process.pid):
            found.append(process)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda process: process.started)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process there; a dead one shows as unreachable
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
