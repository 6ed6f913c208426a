"""Writing the entry of this process in the folder that lists running processes.

`metertap run` writes it before any module of the program is imported, so this module imports only
what is quick to import.
"""

from __future__ import annotations

from metertap import signal_mask
from metertap.settings import runtime_folder
from metertap.unmocked import os, unmocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

UNSERVED = ".unserved"
"""The suffix of the file of a measured process that does not answer; the file says why."""
NO_PAGE_YET = "its page opens a moment after its first tool or cache"
"""The reason before the first tool or cache, and a moment after."""
BRIEFLY_SECONDS = 0.2
FRESH = ".new"
"""The suffix of a file while it is written."""


def write(suffix: str, text: str) -> str:
    """Write the file of this process and return its path; readers never see half of it.

    Not safe for several threads at once. Raises OSError where nothing can be written.
    """
    whole = os.path.join(runtime_folder.made(), str(os.getpid()))
    try:
        os.unlink(whole + FRESH)
    except FileNotFoundError:
        pass
    with unmocked.open(whole + FRESH, "x", encoding="utf-8") as file:  # "x" does not follow a link
        file.write(text)
    os.chmod(whole + FRESH, 0o600)  # whatever the program's umask
    os.replace(whole + FRESH, whole + suffix)
    return whole + suffix


def briefly(do: Callable[[], object], seconds: float = BRIEFLY_SECONDS) -> None:
    """Do something in the folder as the process ends, and wait for it `seconds` at most.

    The folder may be on a file system that hangs. Python 3.12 and later start no thread while they
    finalise; there it is done without a limit. Errors of the system are ignored.
    """

    def tell() -> None:
        try:
            do()
        except OSError:
            pass

    try:
        told = signal_mask.start(tell)
    except RuntimeError:
        tell()
    else:
        told.acquire(timeout=max(0.0, seconds))


def start_of(pid: int) -> int | None:
    """Return a process's start in clock ticks since boot; None if the system does not tell."""
    try:
        with unmocked.open(f"/proc/{pid}/stat", "rb") as file:
            # The program's name comes before, in parentheses, and may contain any character.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
