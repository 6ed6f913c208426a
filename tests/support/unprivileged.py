"""A program without the rights by which root passes over owners and modes."""

from __future__ import annotations

import sys

_WITHOUT_RIGHTS = """
import ctypes, os, sys
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
for right in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
    if sys.platform == "linux":  # of an ordinary user, who has none, it is refused
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, right, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def unprivileged(*command: str) -> tuple[str, ...]:
    """The command that runs `command`, as the same user, where modes hold for root too."""
    return (sys.executable, "-c", _WITHOUT_RIGHTS, *command)
