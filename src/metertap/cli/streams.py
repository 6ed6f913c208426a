"""The standard streams of a command, which may be closed, full, or without a reader."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from metertap.cli.tables import complain


def open_closed() -> None:
    """Replace standard streams that were closed when the command started by the null device.

    Otherwise the next file or socket would become one of them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            device = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # it stays open
            setattr(sys, name, device)


def failed(command: str, error: OSError) -> int:
    """Say what could not be written, and return the exit status.

    A reader that has gone is no failure: `metertap snapshot | head`.
    """
    with suppress(OSError):
        # What is still in the buffer cannot be written; Python would complain about it as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return 0
    with suppress(OSError):
        complain(command, str(error))
    return 1
