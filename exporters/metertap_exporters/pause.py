"""Pauses in long work for views, so that the program's own threads run meanwhile."""

from __future__ import annotations

import time

_SECONDS = 0.00005


def pause() -> None:
    """Let other threads run. One that waits gets the interpreter now, and not after 5 ms."""
    time.sleep(_SECONDS)
