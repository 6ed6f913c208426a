"""The folder of this user's measured processes, which nobody else may read or write.

It is `$XDG_RUNTIME_DIR/metertap` where that is this user's, else `metertap-<uid>` in the temporary
directory.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from metertap.settings.settings import user_runtime_directory

SOCKET = ".sock"
"""How names of sockets end that processes make here: `<process id>-<endpoint>.sock`."""


def made() -> Path:
    """Return the folder, made if need be. Raises PermissionError where somebody else owns it."""
    folder = path()
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        check_private(folder)
    return folder


def path() -> Path:
    """Return where the folder is, or would be."""
    base = user_runtime_directory()
    if base is not None and _is_this_users(base):
        return base / "metertap"
    # Windows has a temporary directory for each user.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return Path(tempfile.gettempdir()) / f"metertap{user}"


def check_private(folder: Path) -> None:
    """Make sure that nobody else reads or writes there. Raises OSError where somebody may."""
    if not hasattr(os, "getuid"):
        return
    found = folder.lstat()  # not stat: a link that somebody put there is not followed
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not this user's directory")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)


def _is_this_users(base: Path) -> bool:
    """Return whether the XDG specification's condition holds: `sudo -E` passes on another's."""
    try:
        found = base.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (
        not hasattr(os, "getuid") or found.st_uid == os.getuid()
    )
