"""Calls of plain functions that return a coroutine or a generator, which is still to be run.

That may happen later, in another context, or never. A stand-in for the returned object counts the
call when it is run.
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
"""Returns the stand-in that a caller gets for a returned coroutine or generator, and ends the call.

Its arguments are the call's frame, its start, and the returned object. Never raises."""
UNFINISHED = frozenset(map(id, (CoroutineType, GeneratorType, AsyncGeneratorType)))
"""The ids of the types of results that are still to be run.

Not the types: comparing another type with them could call its metaclass, which is the program's.
"""
_bases: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
_own: Callable[[type], Mapping[str, Any]] = type.__dict__["__dict__"].__get__
_Enter = Callable[..., Frame | None]


class Ends(Protocol):
    """The ways to end a call. None of these methods ever raises."""

    def ended(self, frame: Frame, made: Any) -> None:
        """End the call of `frame`, which returned `made`; other code runs that."""

    def over(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, whose coroutine has returned `result`."""

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the caller's frame in that."""


def can_be_awaited(result: object) -> bool:
    """Return whether `await` accepts `result`, without calling its metaclass, which may raise."""
    return any("__await__" in _own(base) for base in _bases(type(result)))


def _is_compiled(made: object) -> bool:
    """Return whether `made` is a coroutine of compiled code, without calling its metaclass."""
    names = {name for base in _bases(type(made)) for name in _own(base)}
    return names.issuperset(("__await__", "cr_frame", "close"))


def later(own: Ends, frame: Frame, started: float, made: Any) -> Any:
    """Return the stand-in for `made`, which the call of `frame` returned. Never raises.

    A function must call it that has the only other reference to `made`: references are counted.
    """
    try:
        if len(frame) <= NOTE:  # a short frame of `functions`
            frame[NOTE:] = None, started, None, 0, None
        # No stand-in for an object that can be awaited, since no generator of ours can be; nor for
        # one that the program keeps, and may run or return again.
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
    """Count the references to a returned object, in `later`, if no other code has any."""
    made = object()
    return _references(made)


_ALONE = _alone()


class Unrun:
    """A coroutine or generator until it is run. If its stand-in is dropped, it is closed."""

    __slots__ = ("_made",)

    def __init__(self, made: Any) -> None:
        self._made = made

    def take(self) -> Any:
        """Return the object, which is run now."""
        made, self._made = self._made, None
        return made

    def __del__(self) -> None:
        made = getattr(self, "_made", None)  # an interrupt may have come before it was set
        # Or Python would warn that it was never awaited. Coroutines of compiled code have a type
        # of their own, which has the same methods.
        if made is not None and (type(made) is CoroutineType or _is_compiled(made)):
            made.close()


class Steps:
    """A generator's call. Making the generator may have taken some time, which is `spent`."""

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
