"""The list of running processes: one small file each, in a directory that only its user reads.

The directory is that of `metertap.settings.runtime_folder`. A file has what `metertap snapshot`
lists: the process, the service's name, addresses of endpoints, and paths of files that a client
needs for access. It has no token, and no command line, which may contain secrets.

A process is identified by its id, its start and its service instance: a killed process leaves its
file behind, and others get its id and port.
"""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

import errno
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metertap import regular
from metertap.runtime import listing
from metertap.settings import program, runtime_folder

UNNAMED = "python"
"""The name of a service that has none."""
_TOLD = ".told"
"""The suffix of a file that marks a printed address, written by the program's first process."""
_FRESH_SECONDS = 60.0
"""The age in seconds of an unfinished file whose process must have been killed."""
_FOREIGN_SECONDS = 7 * 86_400.0
"""The age in seconds at which an entry is removed whose process cannot be seen from here."""
_CLOCK_SET_SECONDS = 60.0
"""The most seconds by which the clock may have been set between two compared times."""
_LONGEST = 65_536
"""The most bytes of a file that are read."""


class Running(NamedTuple):
    """One measured process."""

    pid: int
    service: str
    started: float
    """When it was listed, in Unix seconds."""
    json_url: str | None
    prometheus_url: str | None
    instance_id: str | None = None
    """The `service.instance.id` that its documents have, if they have one."""
    problem: str | None = None
    """Why it has no JSON endpoint."""
    asks_token: bool = False
    """Whether its endpoints answer only with a token."""
    token_file: str | None = None
    """The file with the token, if it is in a file."""
    certificate_file: str | None = None
    """The certificate that its endpoints show, if they speak TLS."""
    workers: str | None = None
    """The key of its service's workers, one of which answers for all."""


def directory() -> Path:
    """Return the directory; made if need be. Raises PermissionError if another user owns it."""
    return Path(runtime_folder.made())


def register(
    service: str,
    json_url: str | None,
    prometheus_url: str | None,
    *,
    instance_id: str | None = None,
    problem: str | None = None,
    access: Mapping[str, Any] | None = None,
) -> Path:
    """Write the entry of this process: its addresses, or why it has none. Return the file.

    It replaces the earlier entry.

    `access` has the last four fields of `Running`, unless they have their defaults.

    Not safe for several threads at once. Raises OSError if nothing can be written.
    """
    entry = {
        "instance_id": instance_id,
        "json_url": json_url,
        "prometheus_url": prometheus_url,
        "problem": problem,
        **(access or {}),
    }
    path = _write(service, ".json", entry)
    path.with_suffix(listing.UNSERVED).unlink(missing_ok=True)
    return path


def register_unserved(service: str, reason: str) -> None:
    """Write why this process, which is measured, does not answer; `register` replaces that.

    Raises OSError if nothing can be written.
    """
    _write(service, listing.UNSERVED, {"json_url": None, "prometheus_url": None, "reason": reason})


def _write(service: str, suffix: str, more: Mapping[str, Any]) -> Path:
    pid = os.getpid()
    entry = {
        "pid": pid,
        "process_start": listing.start_of(pid),
        "namespace": runtime_folder.namespace(),
        "service": service,
        "started": time.time(),
        **more,
    }
    return Path(listing.write(suffix, json.dumps(entry)))


def is_first_to_tell(pid: int) -> bool:
    """Return whether no process of the program that `pid` began has printed the page's address.

    The caller then counts as the one that prints it: of several processes that ask at the same
    time, only one gets True. Raises OSError if nothing can be noted.
    """
    try:
        (directory() / _told_by(pid)).open("x").close()
    except FileExistsError:
        return False
    return True


def _told_by(pid: int) -> str:
    return f"{pid}-{listing.start_of(pid)}{_TOLD}"


def unregister() -> None:
    """Remove the entries of this process, if any. A forked child has none."""
    try:
        path = Path(runtime_folder.path())
        runtime_folder.check_private(str(path))
        pid = os.getpid()
        for name in (f"{pid}.json", f"{pid}{listing.UNSERVED}", _told_by(pid)):
            (path / name).unlink(missing_ok=True)
    except OSError:
        pass  # another user's directory, or none: nothing was written there


def running() -> list[Running]:
    """Return the living processes, oldest first. Files of dead ones are removed.

    Never raises: if nothing can be listed the result is empty, and `problem` says why.
    """
    found = [process for process, _ in _registered(".json")]
    _remove_left()
    return sorted(found, key=lambda process: process.started)


def unserved() -> list[tuple[Running, str]]:
    """Return living, measured processes that do not answer, each with the reason."""
    found = [
        (process, str(entry.get("reason"))) for process, entry in _registered(listing.UNSERVED)
    ]
    return sorted(found, key=lambda item: item[0].started)


def _registered(suffix: str) -> Iterator[tuple[Running, dict[str, Any]]]:
    """Yield the entries of living processes, and remove those of dead ones."""
    try:
        paths = _files(suffix)
    except OSError:
        return
    for path in paths:
        try:
            entry = json.loads(_text(path))
            process = Running(
                pid=int(entry["pid"]),
                service=str(entry["service"] or program.name_of_process(int(entry["pid"]))),
                started=float(entry["started"]),
                json_url=_text_or_none(entry["json_url"]),
                prometheus_url=_text_or_none(entry["prometheus_url"]),
                instance_id=_text_or_none(entry.get("instance_id")),
                problem=_text_or_none(entry.get("problem")),
                asks_token=entry.get("asks_token") is True,
                token_file=_text_or_none(entry.get("token_file")),
                certificate_file=_text_or_none(entry.get("certificate_file")),
                workers=_text_or_none(entry.get("workers")),
            )
            if _is_elsewhere(entry.get("namespace")):
                # A living process writes it again.
                is_over = time.time() - path.lstat().st_mtime > _FOREIGN_SECONDS
            elif _is_running(process, entry.get("process_start")):
                yield process, entry
                continue
            else:
                is_over = True
            if is_over:
                path.unlink(missing_ok=True)
        except (OSError, OverflowError, ValueError, KeyError, TypeError, RecursionError):
            continue


def _is_elsewhere(namespace: object) -> bool:
    """Return whether the entry's process is in another pid namespace, where it cannot be seen."""
    own = runtime_folder.namespace()
    return namespace is not None and own is not None and namespace != own


def _text(path: Path) -> str:
    """Return this user's text in `path`. Raises OSError for a link or another user's file."""
    with regular.opened(path, getattr(os, "O_NOFOLLOW", 0)) as file:
        if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
            raise PermissionError(f"{path} is not this user's file")
        return file.read(_LONGEST).decode()


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _is_running(process: Running, start: object) -> bool:
    """Return whether the listed process is alive, and no other has its id."""
    if not _is_alive(process.pid):
        return False
    now = listing.start_of(process.pid)
    if now is None:  # this system does not tell
        return True
    if start is not None:
        return start == now
    # Entries of older versions lack the start. No process is listed before it has started.
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - now / os.sysconf("SC_CLK_TCK")
    return process.started > time.time() - since_boot - _CLOCK_SET_SECONDS


def _remove_left() -> None:
    """Remove unfinished files, notes and sockets of killed processes."""
    try:
        paths = [*_files(listing.FRESH), *_files(_TOLD), *_files(runtime_folder.SOCKET)]
    except OSError:
        return
    for path in paths:
        try:
            old = time.time() - path.lstat().st_mtime > _FRESH_SECONDS
            is_alive = _is_alive(int(path.stem.partition("-")[0]))
            if old and not is_alive and not _is_listened_at(path):
                path.unlink(missing_ok=True)
        except (OSError, OverflowError, ValueError):
            continue


def _is_listened_at(path: Path) -> bool:
    """Return whether a process listens at a socket; it may be in another namespace."""
    if path.suffix != runtime_folder.SOCKET:
        return False
    import socket  # not needed at the start of a process

    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        return client.connect_ex(str(path)) in {0, errno.EAGAIN}


def ended_seconds_ago() -> float | None:
    """Return how long ago, in seconds, the last entry was removed; None if there never was one."""
    try:
        return max(0.0, time.time() - os.stat(runtime_folder.path()).st_mtime)
    except OSError:
        return None


def problem() -> str | None:
    """Return why running processes cannot be listed, if so."""
    try:
        _files()
    except OSError as error:
        return str(error)
    return None


def _files(suffix: str = ".json") -> list[Path]:
    """Return the files that processes wrote. Raises OSError if they may not be listed."""
    path = Path(runtime_folder.path())
    try:
        runtime_folder.check_private(str(path))
        names = os.listdir(path)  # unlike glob, it raises if it may not read
    except FileNotFoundError:
        return []
    return [path / name for name in names if name.endswith(suffix)]


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # signal 0 would end the process on Windows; a dead one shows as unreachable
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
