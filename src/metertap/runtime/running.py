"""Where running processes can be found: one small file each, in a directory only its user reads.

`$XDG_RUNTIME_DIR/metertap` where that is this user's, else `metertap-<uid>` in the temporary
directory. A file holds what `metertap snapshot` lists: process id, service name and the addresses
of the endpoints. No command line: it may hold secrets.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from metertap.settings.settings import user_runtime_directory

_FRESH = ".new"
_FRESH_SECONDS = 60.0
"""How old a file must be to be one that its process did not come to putting in its place."""


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
    if base is not None and _is_this_users(base):
        return base / "metertap"
    # Windows has a temporary directory for each user.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"metertap{user}"


def _is_this_users(base: Path) -> bool:
    """The XDG specification's condition: `sudo -E`, say, passes on that of another user."""
    try:
        found = base.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (
        not hasattr(os, "getuid") or found.st_uid == os.getuid()
    )


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
    fresh = path.with_suffix(_FRESH)
    fresh.write_text(json.dumps(entry), encoding="utf-8")
    fresh.replace(path)


def unregister() -> None:
    """Take back what this process said, if it did. A forked child has nothing to take back."""
    try:
        (_path() / f"{os.getpid()}.json").unlink(missing_ok=True)
    except OSError:
        pass  # somebody else's directory, or none: nothing was said there


def running() -> list[Running]:
    """The processes that are alive, oldest first. Files of dead ones are removed.

    Never raises: where nothing may be listed nobody is found, and `problem` says why.
    """
    try:
        paths = _files()
    except OSError:
        return []
    found = []
    for path in paths:
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            process = Running(
                pid=int(entry["pid"]),
                service=str(entry["service"]),
                started=float(entry["started"]),
                json_url=entry["json_url"],
                prometheus_url=entry["prometheus_url"],
            )
            if _is_alive(process.pid):
                found.append(process)
            else:
                path.unlink(missing_ok=True)
        except (OSError, OverflowError, ValueError, KeyError, TypeError):
            continue
    _remove_unfinished()
    return sorted(found, key=lambda process: process.started)


def _remove_unfinished() -> None:
    """What processes wrote that were killed before they could put it in its place."""
    try:
        paths = _files(_FRESH)
    except OSError:
        return
    for path in paths:
        try:
            old = time.time() - path.stat().st_mtime > _FRESH_SECONDS
            if old and not _is_alive(int(path.stem)):
                path.unlink(missing_ok=True)
        except (OSError, OverflowError, ValueError):
            continue


def problem() -> str | None:
    """Why running processes cannot be listed, if they cannot."""
    try:
        _files()
    except OSError as error:
        return str(error)
    return None


def _files(suffix: str = ".json") -> list[Path]:
    """What processes wrote; none where none has. Raises OSError where that may not be read."""
    path = _path()
    try:
        _check_private(path)
        names = os.listdir(path)  # unlike glob it says what it may not read
    except FileNotFoundError:
        return []
    return [path / name for name in names if name.endswith(suffix)]


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
