"""Unix sockets to which only their user can connect, in folders that only their user can write."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from metertap.settings import runtime_folder
from metertap.settings.table import AUTO

_ASK_SECONDS = 1.0
Identity = tuple[int, int]
"""Device and inode of a file."""


def place(path: Path, label: str) -> Path:
    """Return the path of an endpoint's socket: `path`, or in the runtime folder."""
    if path != AUTO:
        return path
    return Path(runtime_folder.path()) / f"{os.getpid()}-{label}{runtime_folder.SOCKET}"


def bind(listener: socket.socket, path: Path) -> Identity:
    """Bind a listener to `path`, to which only this user may connect. Raises OSError.

    A socket without a listener, whose process was killed, is replaced. Other files stay.
    """
    _have_private(path.parent)
    _make_way(path)
    # Before binding, so that others can connect at no moment.
    os.fchmod(listener.fileno(), stat.S_IRUSR | stat.S_IWUSR)
    listener.bind(str(path))
    found = path.lstat()
    # The program's umask may keep even its own user out, and fchmod has no effect everywhere.
    if stat.S_IMODE(found.st_mode) != stat.S_IRUSR | stat.S_IWUSR:
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
    return found.st_dev, found.st_ino


def bind_again(listener: socket.socket, path: Path, bound: Identity, backlog: int) -> Identity:
    """Bind a listener to `path` again if its socket was removed, as cleaners of old files do.

    If that is impossible, or another file is there now, nothing is done.
    """
    if os.path.lexists(path):
        return bound
    with suppress(OSError), socket.socket(socket.AF_UNIX) as fresh:
        found = bind(fresh, path)
        fresh.listen(backlog)
        # In place of the former socket's descriptor, which is registered already.
        os.dup2(fresh.fileno(), listener.fileno(), inheritable=False)
        return found
    return bound


def remove(path: Path, bound: Identity) -> None:
    """Remove a socket, if it is still the one that was bound."""
    with suppress(OSError):
        found = path.lstat()
        if (found.st_dev, found.st_ino) == bound:
            path.unlink()


def _have_private(folder: Path) -> None:
    """Make the folder, or check that no other user can put files into it."""
    if str(folder) == runtime_folder.path():
        runtime_folder.made()
        return
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        folder.chmod(0o700)  # the program's umask may keep even its own user out
    found = folder.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if found.st_uid not in {0, os.getuid()} or stat.S_IMODE(found.st_mode) & 0o022:
        raise PermissionError(errno.EPERM, "others may write to its folder")


def _make_way(path: Path) -> None:
    """Remove a socket of this user without a listener. Raises OSError for other files."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise FileExistsError(errno.EEXIST, "something else than a socket is there")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_ASK_SECONDS)
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
