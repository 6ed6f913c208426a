"""The list of running processes: one small file each, in a directory that only its user reads.

The directory is that of `metertap.settings.runtime_folder`. A file holds what `metertap snapshot`
lists: the process, its service's name, the addresses of the endpoints, and the paths of what a
client needs to be let in. No token, and no command line: it may hold secrets.

A process is identified by its id, the time at which it started and its service instance, because a
process that is killed leaves its file behind, and its id and port go to others.
"""

# No import of annotations from __future__: a NamedTuple compiles each that is text, at start.

import errno
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from metertap.runtime import listing
from metertap.settings import program, runtime_folder

UNNAMED = "python"
"""The name of a service that has none."""
_TOLD = ".told"
"""The suffix of a file that marks a printed address, made by the program's first process."""
_FRESH_SECONDS = 60.0
"""A file of this age that is not in its place yet will never be: its process was killed."""
_FOREIGN_SECONDS = 7 * 86_400.0
"""The age from which an entry is removed whose process is where it cannot be seen."""
_CLOCK_SET_SECONDS = 60.0
"""The most by which the clock may have been set between two compared times."""
_LONGEST = 65_536
"""Characters of a file that are read."""


class Running(NamedTuple):
    """One process that is measured."""

    pid: int
    service: str
    started: float
    """When it registered, in Unix seconds."""
    json_url: str | None
    prometheus_url: str | None
    instance_id: str | None = None
    """The `service.instance.id` that its documents have, if they have one."""
    problem: str | None = None
    """Why it has no JSON endpoint."""
    asks_token: bool = False
    """Whether its endpoints answer only who shows a token."""
    token_file: str | None = None
    """The file that holds the token, where it is in one."""
    certificate_file: str | None = None
    """The certificate that it shows, where it speaks TLS."""
    workers: str | None = None
    """The key of the workers of its service, one of which answers for all."""


def directory() -> Path:
    """Return the directory, made if need be. Raises PermissionError where somebody else owns it."""
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
    """List the address of this process, or why it has none; replaces the earlier entry.

    Returns the file.

    `access` has the last four fields of `Running`, where they are not the default.

    Not safe for several threads at once. Raises OSError where nothing can be written.
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
    """List why this process, which is measured, does not answer; until `register` is called.

    Raises OSError where nothing can be written.
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

    From then on somebody has. Processes may ask at the same time: one of them is the first.
    Raises OSError where nothing can be noted.
    """
    try:
        (directory() / _told_by(pid)).open("x").close()
    except FileExistsError:
        return False
    return True


def _told_by(pid: int) -> str:
    return f"{pid}-{listing.start_of(pid)}{_TOLD}"


def unregister() -> None:
    """Remove the entries of this process, if there are any. A forked child has none."""
    try:
        path = Path(runtime_folder.path())
        runtime_folder.check_private(str(path))
        pid = os.getpid()
        for name in (f"{pid}.json", f"{pid}{listing.UNSERVED}", _told_by(pid)):
            (path / name).unlink(missing_ok=True)
    except OSError:
        pass  # somebody else's directory, or none: nothing was said there


def running() -> list[Running]:
    """Return the processes that are alive, oldest first. Files of dead ones are removed.

    Never raises: where nothing may be listed nobody is found, and `problem` says why.
    """
    found = [process for process, _ in _registered(".json")]
    _remove_left()
    return sorted(found, key=lambda process: process.started)


def unserved() -> list[tuple[Running, str]]:
    """Return the processes that are alive and measured and do not answer, each with the reason."""
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
                # One that lives writes it again.
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
    """Return whether a process has its id in another namespace, where this one sees it not."""
    own = runtime_folder.namespace()
    return namespace is not None and own is not None and namespace != own


def _text(path: Path) -> str:
    """Return what this user wrote to `path`. Raises OSError for a link or another user's file."""
    handle = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    with open(handle, encoding="utf-8") as file:
        owner = os.fstat(handle)
        if not stat.S_ISREG(owner.st_mode) or (
            hasattr(os, "getuid") and owner.st_uid != os.getuid()
        ):
            raise PermissionError(f"{path} is not this user's file")
        return file.read(_LONGEST)


def _text_or_none(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _is_running(process: Running, start: object) -> bool:
    """Return whether the process that registered is alive, and not another with its id."""
    if not _is_alive(process.pid):
        return False
    now = listing.start_of(process.pid)
    if now is None:  # this system does not say
        return True
    if start is not None:
        return start == now
    # An older metertap did not note it. No process registers before it has started.
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - now / os.sysconf("SC_CLK_TCK")
    return process.started > time.time() - since_boot - _CLOCK_SET_SECONDS


def _remove_left() -> None:
    """Remove unfinished files, notes and sockets of processes that were killed."""
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
    """Return whether a process listens at a socket, which may be in another namespace."""
    if path.suffix != runtime_folder.SOCKET:
        return False
    import socket  # no process needs it to start

    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        return client.connect_ex(str(path)) in {0, errno.EAGAIN}


def ended_seconds_ago() -> float | None:
    """Return how long ago the last entry was removed; None where there never was one."""
    try:
        return max(0.0, time.time() - os.stat(runtime_folder.path()).st_mtime)
    except OSError:
        return None


def problem() -> str | None:
    """Return why running processes cannot be listed, if they cannot."""
    try:
        _files()
    except OSError as error:
        return str(error)
    return None


def _files(suffix: str = ".json") -> list[Path]:
    """Return the files that processes wrote. Raises OSError where they may not be listed."""
    path = Path(runtime_folder.path())
    try:
        runtime_folder.check_private(str(path))
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
