"""Handlers that a framework runs in a thread, which may have to wait for one that is free.

That wait is not the handler's time, nor is the wait for an event loop that is busy when the handler
has ended. Both are taken off the call's time, so that whatever else happens during the call stays
part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.measuring.calls import STARTED, Frame, clock
from metertap.measuring.frameworks import Handlers
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame


def timed_in_thread(handlers: Handlers, place: int = 0) -> Make:
    """Return a maker of stand-ins for an async function that runs another one in a thread.

    That one is its positional argument number `place`. A call that ends before its function has
    begun, since it was cancelled, takes as long as it waited.
    """

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        async def run(*args: Any, **kwargs: Any) -> Any:
            watched = None
            if live and len(args) > place:
                with faults.guarded("measure"):
                    frame = handlers.in_progress()
                    if frame is not None:
                        watched = _Watched(frame, args[place])
                        args = (*args[:place], watched.run, *args[place + 1 :])
            try:
                return await method(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
            finally:
                if watched is not None and watched.ended is not None:
                    watched.waited_since(watched.ended)

        return run

    return make


class _Watched:
    """A function that is to run in a thread, during the call of a frame."""

    __slots__ = ("_frame", "_function", "_handed_over", "ended")

    def __init__(self, frame: Frame, function: Callable[..., Any]) -> None:
        self._frame = frame
        self._function = function
        self._handed_over = clock()
        self.ended: float | None = None

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, in the thread."""
        self.waited_since(self._handed_over)
        try:
            return self._function(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            self.ended = clock()

    def waited_since(self, moment: float) -> None:
        """Take the time since then off the call's. Never raises."""
        with faults.guarded("measure"):
            now = clock()
            # A call that runs several at once waits for longer in sum than it takes.
            self._frame[STARTED] = min(now, self._frame[STARTED] + now - moment)
