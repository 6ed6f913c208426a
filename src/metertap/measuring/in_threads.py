"""Handlers that a framework runs in a thread, which may have to wait for one that is free.

That wait is not the handler's time, nor is the wait for an event loop that is busy when the handler
has ended. Both are taken off the call's time, so that whatever else happens during the call stays
part of it. While another function of the same call runs, nothing is taken off.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

from metertap import faults, locks
from metertap.measuring.calls import STARTED, Frame, clock
from metertap.measuring.frameworks import Handlers
from metertap.patching.parameters import OURS, shaped
from metertap.patching.targets import Live, Make
from metertap.patching.tracebacks import hide_frame

_RUN = """
async def call({parameters}):
    _watched = None
    if _live:
        _watched = _watch({function})
        if _watched is not None:
            {function} = _watched.run
    try:
        return await _method({arguments})
    except BaseException as _error:
        _hide(_error)
        raise
    finally:
        if _watched is not None:
            _watched.answered()
"""
_lock = locks.lock()
"""Held while the times of a call change, for its functions may run in several threads."""
_waits: dict[int, _Waits] = {}
"""By the identity of a call's frame, as long as one of its functions is waited for."""


def timed_in_thread(handlers: Handlers, place: int = 0) -> Make:
    """Return a maker of stand-ins for an async function that runs another one in a thread.

    That one is its parameter number `place`. A call that ends before its function has begun, since
    it was cancelled, takes as long as it waited.
    """

    def watch(function: Callable[..., Any]) -> _Watched | None:
        with faults.guarded("measure"):
            frame = handlers.in_progress()
            if frame is not None:
                return _Watched(frame, function)
        return None

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        if place >= cast(FunctionType, method).__code__.co_argcount:
            return _taking_any(method, live, watch, place)
        place_of = {"function": f"{OURS}{place}"}
        return shaped(method, _RUN, place_of, hide=hide_frame, live=live, watch=watch)

    return make


def _taking_any(
    method: Callable[..., Any],
    live: Live,
    watch: Callable[[Callable[..., Any]], _Watched | None],
    place: int,
) -> Callable[..., Any]:
    """Return the stand-in for a function that takes any arguments, as wrappers of others do."""

    async def call(*args: Any, **kwargs: Any) -> Any:
        watched = watch(args[place]) if live and len(args) > place else None
        if watched is not None:
            args = (*args[:place], watched.run, *args[place + 1 :])
        try:
            return await method(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            if watched is not None:
                watched.answered()

    return call


class _Waits:
    """The times in which nothing of a call runs, since its functions wait for a thread or the loop.

    Its methods that are called around a function never raise.
    """

    __slots__ = ("_frame", "_pending", "_running", "_since")

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._pending = self._running = 0
        self._since: float | None = None

    @classmethod
    def of(cls, frame: Frame) -> _Waits:
        """Return the times of a call of which one more function is to run."""
        with _lock:
            found = _waits.setdefault(id(frame), cls(frame))
            found._pending += 1
            if found._pending == 1:
                found._since = clock()
            return found

    def begun(self) -> None:
        """Note that a function begins, in its thread."""
        with faults.guarded("measure"), _lock:
            if not self._running:
                self._take_off()
            self._running += 1

    def ended(self) -> None:
        """Note that a function has ended, in its thread."""
        with faults.guarded("measure"), _lock:
            self._running -= 1
            if not self._running:
                self._since = clock()

    def answered(self, *, has_ended: bool) -> None:
        """Note that the event loop has heard of a function's end, or waits for it no longer."""
        with faults.guarded("measure"), _lock:
            self._pending -= 1
            if has_ended and not self._running:
                self._take_off()
                self._since = clock()
            if not self._pending:
                self._since = None
                _waits.pop(id(self._frame), None)

    def _take_off(self) -> None:
        if self._since is not None:
            now = clock()
            self._frame[STARTED] = min(now, self._frame[STARTED] + now - self._since)
            self._since = None


class _Watched:
    """A function that is to run in a thread, during the call of a frame."""

    __slots__ = ("_function", "_has_ended", "_waits")

    def __init__(self, frame: Frame, function: Callable[..., Any]) -> None:
        self._function = function
        self._has_ended = False
        self._waits = _Waits.of(frame)

    def run(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, in the thread."""
        self._waits.begun()
        try:
            return self._function(*args, **kwargs)
        except BaseException as error:
            hide_frame(error)
            raise
        finally:
            self._has_ended = True
            self._waits.ended()

    def answered(self) -> None:
        """Note that the caller has its result, or waits for it no longer."""
        self._waits.answered(has_ended=self._has_ended)
