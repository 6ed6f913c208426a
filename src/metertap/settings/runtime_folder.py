"""The folder of this user's measured processes, which other users can neither read nor write.

It is `$XDG_RUNTIME_DIR/metertap` if that belongs to this user, else `metertap-<uid>` in the
temporary directory. `metertap run` writes there before any module of the program is imported, so
this module imports only what is quick to import.
"""

from __future__ import annotations

import stat

from metertap.unmocked import os

SOCKET = ".sock"
"""The end of names of sockets in this folder: `<process id>-<endpoint>.sock`."""
_TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")  # noqa: S108  # the folder in it is checked
"""The folders of temporary files that are used if no variable names one, as in `tempfile`."""


def path() -> str:
    """Return the path of the folder, whether it exists or not."""
    base = os.environ.get("XDG_RUNTIME_DIR", "").strip()
    if base and _is_this_users(base):
        return os.path.join(base, "metertap")
    # Windows has a temporary directory for each user.
    user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
    return os.path.join(_temporary_folder(), f"metertap{user}")


def made() -> str:
    """Return the folder; made if need be. Raises PermissionError if another user owns it."""
    found = path()
    try:
        os.mkdir(found, mode=0o700)
        os.chmod(found, 0o700)  # the program's umask may keep even its own user out
    except FileExistsError:
        check_private(found)
    return found


def namespace() -> int | None:
    """Return the number of this process's namespace of process ids; None if unknown.

    Containers and sandboxes may share the folder, while one id means different processes in each.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return None


def check_private(folder: str) -> None:
    """Check that no other user can read or write the folder. Raises OSError otherwise."""
    if not hasattr(os, "getuid"):
        return
    # Not stat, which would follow a link that another user put there.
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not this user's directory")
    if stat.S_IMODE(found.st_mode) & 0o077:
        os.chmod(folder, 0o700)


def _is_this_users(base: str) -> bool:
    """Return whether the folder is this user's, as XDG requires: `sudo -E` passes on another's."""
    try:
        found = os.stat(base)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and (
        not hasattr(os, "getuid") or found.st_uid == os.getuid()
    )


def _temporary_folder() -> str:
    """Return the same as `tempfile.gettempdir`, whose import takes longer than all of this."""
    if os.name == "nt":
        import tempfile

        return tempfile.gettempdir()
    given = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    for folder in (*filter(None, given), *_TEMPORARY):
        if os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK):
            return os.path.abspath(folder)
    return os.getcwd()
