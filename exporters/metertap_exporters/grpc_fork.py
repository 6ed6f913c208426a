"""Exports over gRPC that pause while the program forks.

gRPC's core, written in C, lets a process fork only when it is idle. If a collector ends each
connection, the core connects again and again as long as an export waits, and `os.fork()` would wait
as long.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from metertap import locks, state
from metertap.otel import sdk

_PATIENCE_SECONDS = 0.2
"""How long, in seconds, a fork waits for an export in progress before that is given up."""
_END_SECONDS = 1.0
"""The longest, in seconds, that a fork waits for the end of one that is given up."""


class Pause:
    """The right to export, held by an exporting thread, or by one that forks."""

    def __init__(self, exporter: object) -> None:
        self.exporting = locks.lock()
        self._exporter = exporter
        self._nobody_forks = locks.event()
        self._nobody_forks.set()
        self._was_cut_off = False
        self._forking = threading.local()
        """Whether this thread holds it for a fork."""
        _pauses.add(self)

    def wait(self) -> None:
        """Wait until no thread forks: repeated exports would otherwise always come first."""
        self._nobody_forks.wait(_PATIENCE_SECONDS + _END_SECONDS)

    def resume(self) -> None:
        """Connect again before an export, if the last one was given up. Its errors pass."""
        if self._was_cut_off:
            self._was_cut_off = False
            sdk.connect_again(self._exporter)

    def begin(self) -> None:
        """Let no export begin until `end`."""
        self._nobody_forks.clear()
        held = self.exporting.acquire(timeout=_PATIENCE_SECONDS)
        if not held and sdk.cut_off(self._exporter):
            self._was_cut_off = True
            held = self.exporting.acquire(timeout=_END_SECONDS)
        self._forking.holds = held

    def end(self) -> None:
        """Let exports go on in the parent process."""
        self._nobody_forks.set()
        if getattr(self._forking, "holds", False):
            self._forking.holds = False
            self.exporting.release()


_pauses: weakref.WeakSet[Any] = weakref.WeakSet()


def _before_fork() -> None:
    for pause in list(_pauses):
        pause.begin()


def _forked_in_parent() -> None:
    for pause in list(_pauses):
        pause.end()


state.on_fork(before=_before_fork, parent=_forked_in_parent)
