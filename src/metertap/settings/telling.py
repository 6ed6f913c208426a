"""Warnings about settings, given once for all processes of one program.

The workers of a server have the same settings, with the same mistakes. A worker that imports
metertap after its master has started it knows nothing of the others: the first one leaves a note in
the folder of processes. A child that is forked later knows its parent's warnings.
"""

from __future__ import annotations

import os
import zlib

from metertap import faults
from metertap.settings import program, runtime_folder

_NOTED = ".told"
"""The suffix of notes; listing processes removes those of programs that have ended."""


def warn_once(key: str, message: str, *args: object) -> None:
    """Log a warning about a setting once, in whichever worker comes first."""
    if not faults.was_warned(faults.SETTING + key) and not _is_told_by_another(repr((key, args))):
        faults.warn_once(faults.SETTING + key, message, *args)


def unusable(shown_name: str, value: object, why: str, taken: object) -> str:
    """Warn once that the value of a setting is unusable, and what is used instead.

    Returns the text.
    """
    shown, instead = faults.shown(value), faults.shown(taken)
    told = f"{shown_name}={shown} cannot be used ({why}); {instead} is used instead"
    warn_once(shown_name, "%s", told)
    return told


def _is_told_by_another(told: str) -> bool:
    """Return whether another worker has given this warning; if not, note that this one does."""
    first = program.first_process()
    if first == os.getpid():
        return False
    name = f"{first}-{program.start_of(first)}-{zlib.crc32(told.encode()):08x}{_NOTED}"
    try:
        open(os.path.join(runtime_folder.made(), name), "x").close()
    except FileExistsError:
        return True
    except OSError:  # nothing can be noted, so every worker warns
        return False
    return False
