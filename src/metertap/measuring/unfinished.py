"""Calls of plain functions that return what is not over yet: a coroutine or a generator.

It may be run later, in another context, or never. The call is counted then, by what is returned in
place of it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Protocol

from metertap import faults
from metertap.measuring import calls, generators
from metertap.measuring.calls import NOTE, OWNER, Frame, clock

Later = Callable[[Frame, float, Any], Any]
"""Takes the frame of a call, when it started, and the coroutine or generator that it returned,
which may be run later. Gives what the caller gets for that, and ends the call. Never raises."""
UNFINISHED = frozenset(map(id, (CoroutineType, GeneratorType, AsyncGeneratorType)))
"""The ids of types of results that are not over when they are returned.

Not the types: to look for another one, Python would ask its metaclass, which is the program's.
"""
_bases: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_own: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_Enter = Callable[..., Frame | None]


class Ends(Protocol):
    """The ways in which a call ends. None of these methods ever raises."""

    def ended(self, frame: Frame, made: Any) -> None:
        """End the call of `frame`, which returned `made`, which is somebody else's to run."""

    def over(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, whose coroutine has returned `result`."""

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the caller's frame in that."""


def can_be_awaited(result: object) -> bool:
    """Return whether `await` takes `result`. Its metaclass, which may raise, is not asked."""
    return any("__await__" in _own(base) for base in _bases(type(result)))


def later(own: Ends, frame: Frame, started: float, made: Any) -> Any:
    """Return what stands for `made`, which the call of `frame` returned. Never raises.

    To be called as a method, by the function that has the only other reference to `made`.
    """
    try:
        if len(frame) <= NOTE:  # one of `functions`' short ones
            frame[NOTE:] = None, started, None, 0, None
        # One that can be awaited, as no generator of ours can; or the program keeps it, and may
        # run it, or give it out again.
        if (
            type(made) is GeneratorType and made.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE
        ) or sys.getrefcount(made) > _ALONE:
            own.ended(frame, made)
            return made
        spent, enter = clock() - started, frame[OWNER].enter
        calls.give_up(frame)
        return generators.named_as(made, _LATER[type(made)](own, enter, Unrun(made), spent))
    except Exception as fault:
        faults.fault("measure", fault)
        return made


def _references(made: object) -> int:
    return sys.getrefcount(made)


def _alone() -> int:
    """Count the references to what a call has returned, in `later`, if nothing else has one."""
    made = object()
    return _references(made)


_ALONE = _alone()


class Unrun:
    """What was made, until it is run. Whoever gives up what stands for it gives up both."""

    __slots__ = ("_made",)

    def __init__(self, made: Any) -> None:
        self._made = made

    def take(self) -> Any:
        """Return what was made, to be run now."""
        made, self._made = self._made, None
        return made

    def __del__(self) -> None:
        made = getattr(self, "_made", None)  # an interrupt may have come before it had that
        if type(made) is CoroutineType:
            made.close()  # or it would say that it was never awaited


class Steps:
    """A generator's call. Making the generator may have taken some seconds, which are `spent`."""

    def __init__(self, own: Ends, enter: _Enter, spent: float = 0.0) -> None:
        self._enter = enter
        self._spent = spent
        self.raised = own.raised

    def start(self) -> Frame | None:
        """Begin the call, without making it the current one."""
        return self._enter(spent=self._spent, as_current=False)


async def _coroutine_later(own: Ends, enter: _Enter, unrun: Unrun, spent: float) -> Any:
    frame = enter(spent=spent)
    try:
        result = await unrun.take()
    except BaseException as error:
        own.raised(frame, error)
        raise
    if frame is not None:
        own.over(frame, result)
    return result


def _generator_later(own: Ends, enter: _Enter, unrun: Unrun, spent: float) -> Any:
    return generators.steps(None, Steps(own, enter, spent), unrun.take)


def _async_generator_later(own: Ends, enter: _Enter, unrun: Unrun, spent: float) -> Any:
    return generators.async_steps(None, Steps(own, enter, spent), unrun.take)


_LATER: dict[type, Callable[[Ends, _Enter, Unrun, float], Any]] = {
    CoroutineType: _coroutine_later,
    GeneratorType: _generator_later,
    AsyncGeneratorType: _async_generator_later,
}
