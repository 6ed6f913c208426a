"""Signal handlers of metertap's own, which the program does not see.

Metertap handles a signal where nobody else does. A program that asks who handles it, to call that
from a handler of its own or to put it back, is to find what it would find without metertap: with
another answer it may call a handler that returns, where it would have ended itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from metertap import faults
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Target
from metertap.patching.tracebacks import hide_frame
from metertap.runtime.signals import handle, handler_of


class HiddenHandlers:
    """Stand in for the default action of signals, from `take` to `leave`.

    In the process that took them, whoever asks for the handler is told that there is none, and
    whoever puts the default action back gets `handler`.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._taken: dict[int, int] = {}
        """The process that took each signal: a forked child that wants the default gets that."""
        self._patches = PatchSet(
            "signal", [Target("getsignal", self._getsignal), Target("signal", self._signal)]
        )

    def take(self, number: int) -> None:
        """Handle the signal from now on. Only the main thread may do this."""
        self._patches.install()
        handle(number, self._handler)
        self._taken[number] = os.getpid()

    def leave(self) -> None:
        """Show everything, and put nothing in the place of a default action any more."""
        self._taken.clear()
        self._patches.uninstall()

    def in_force(self) -> list[int]:
        """List the signals that are handled now: a program may have put its own handler there."""
        return [number for number in self._taken if self._is_ours(handler_of(number))]

    def _is_ours(self, handler: object) -> bool:
        return type(handler) is type(self._handler) and handler == self._handler

    def _shown(self, handler: Any) -> Any:
        return signal.SIG_DFL if self._is_ours(handler) else handler

    def _stands_for_default(self, args: tuple[Any, ...]) -> bool:
        """Return whether `signal.signal` is asked for a default action that is ours."""
        if len(args) != 2 or not isinstance(args[0], int) or args[1] is not signal.SIG_DFL:
            return False
        return self._taken.get(args[0]) == os.getpid()

    def _getsignal(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            found = wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        with faults.guarded("ending"):
            return self._shown(found)
        return found

    def _signal(self, wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        with faults.guarded("ending"):
            if self._stands_for_default(args):
                args = args[0], self._handler
        try:
            before = wrapped(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        with faults.guarded("ending"):
            return self._shown(before)
        return before
