"""Signal handlers of metertap that the program does not see.

Metertap handles a signal only where the program does not. A program that asks for the handler, to
call it from its own or to put it back, must find what it would find without metertap. With another
answer it might call a handler that returns, where it would have ended itself.
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
    """Handle signals that have the default action, hidden from the program, from `take` to `leave`.

    In the process that took a signal, a program that asks for its handler is told SIG_DFL, and one
    that sets SIG_DFL gets `handler`.
    """

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._handler = handler
        self._taken: dict[int, int] = {}
        """The process that took each signal: a forked child that sets SIG_DFL gets just that."""
        self._patches = PatchSet(
            "signal", [Target("getsignal", self._getsignal), Target("signal", self._signal)]
        )

    def take(self, number: int) -> None:
        """Handle the signal from now on. Only the main thread may do this."""
        self._patches.install()
        handle(number, self._handler)
        self._taken[number] = os.getpid()

    def leave(self) -> None:
        """Hide nothing any more, and set SIG_DFL where the program asks for it."""
        self._taken.clear()
        self._patches.uninstall()

    def in_force(self) -> list[int]:
        """List the taken signals that the program has not given a handler of its own."""
        return [number for number in self._taken if self._is_ours(handler_of(number))]

    def _is_ours(self, handler: object) -> bool:
        return type(handler) is type(self._handler) and handler == self._handler

    def _shown(self, handler: Any) -> Any:
        return signal.SIG_DFL if self._is_ours(handler) else handler

    def _stands_for_default(self, args: tuple[Any, ...]) -> bool:
        """Return whether `signal.signal` is asked for SIG_DFL on a signal that was taken."""
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
