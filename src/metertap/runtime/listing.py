"""Writing what this process says of itself into the folder in which processes are listed.

`metertap run` does so before anything of the program is imported, so this module imports nothing
that takes time.
"""

from __future__ import annotations

import os

from metertap import signal_mask
from metertap.settings import runtime_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

UNSERVED = ".unserved"
"""The suffix of the file of a process that is measured but does not answer; it says why."""
NO_PAGE_YET = "its page opens a moment after its first tool or cache"
"""The reason why a process does not answer yet, before its first tool or cache and just after."""
BRIEFLY_SECONDS = 0.2
FRESH = ".new"
"""The suffix of a file that is being written."""


def write(suffix: str, text: str) -> str:
    """Write the file of this process and return its path; its readers never see half of it.

    Not safe for several threads at once. Raises OSError where nothing can be written.
    """
    whole = os.path.join(runtime_folder.made(), str(os.getpid()))
    try:
        os.unlink(whole + FRESH)
    except FileNotFoundError:
        pass
    with open(whole + FRESH, "x", encoding="utf-8") as file:  # "x" follows no link
        file.write(text)
    os.replace(whole + FRESH, whole + suffix)
    return whole + suffix


def briefly(do: Callable[[], object], seconds: float = BRIEFLY_SECONDS) -> None:
    """Do something in the folder as the process ends, and wait for it `seconds` at most.

    The folder may lie on a file system that hangs. Python 3.12 and later start no thread while the
    process ends; there it is done at once. Errors of the system are passed over.
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
    """Return when a process started, in clock ticks since boot; None where the system hides it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name of the program comes before, in parentheses, and may have any character.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
