"""What stands for the function of a line: one wrapper for each kind of function.

What happens in each is what `metertap.measuring.functions` does, but that the series is found anew
for each call, and that a plain function may return what is not over yet.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from metertap import faults
from metertap.measuring import generators
from metertap.measuring.blocks import Measured
from metertap.measuring.calls import OWNER, Call, Frame, clock, current
from metertap.measuring.functions import ToolSlot
from metertap.patching.patch_set import WrapperFunction
from metertap.patching.tracebacks import hide_frame
from metertap.state import recorder
from metertap_instrumentation.tools.configured.calls import Calls
from metertap_instrumentation.tools.configured.names import Function

_get = current.get
_set = current.set


def wrapper(own: Calls, function: Function) -> WrapperFunction:
    """What wrapt calls instead of `function`."""
    made = {
        "plain": _plain,
        "coroutine": _coroutine,
        "generator": _generator,
        "async generator": _async_generator,
    }[function.kind](own)
    named: WrapperFunction = generators.named_as(function.callable, made)  # coroutines show it
    return named


def _plain(own: Calls) -> WrapperFunction:
    begin, ended, raised, slot_of = own.begin, own.ended, own.raised, own.slot_of
    judges = own.judges_results

    def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        slot = slot_of(instance, args, kwargs)
        frame: Frame | None = None
        parent = _get()
        if parent is not None and (parent[0] or parent[2]):
            frame = begin(slot)
        elif series := slot.series or slot.find():  # what that does, for less
            tick = series.tick
            try:
                tick()
            except StopIteration:
                series.due()
            frame = [series, slot, None, False, False]
            _set(frame)
        started = clock()
        try:
            result = wrapped(*args, **kwargs) if kwargs else wrapped(*args)
        except BaseException as error:
            seconds = clock() - started
            hide_frame(error)
            if frame is not None:
                raised(frame, seconds, error)
            raise
        now = clock()
        if frame is None:
            return result
        if type(result) in _LATER:
            return _later(own, frame, now - started, result)
        if judges or frame[3] or frame[4]:
            ended(frame, now - started, result)
        else:
            series = frame[0]
            append = series.append
            append(now - started)
            series.ended = now
            frame[0] = None
        if slot.is_new:
            own.look_at(slot, result)
        return result

    return call


def _coroutine(own: Calls) -> WrapperFunction:
    begin, ended, raised, slot_of = own.begin, own.ended, own.raised, own.slot_of

    async def call(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        frame = begin(slot_of(instance, args, kwargs))
        started = clock()
        try:
            result = await (wrapped(*args, **kwargs) if kwargs else wrapped(*args))
        except BaseException as error:
            seconds = clock() - started
            hide_frame(error)
            if frame is not None:
                raised(frame, seconds, error)
            raise
        if frame is not None:
            ended(frame, clock() - started, result)
        return result

    return call


def _generator(own: Calls) -> WrapperFunction:
    return generators.generator_wrapper(_steps_of(own))


def _async_generator(own: Calls) -> WrapperFunction:
    return generators.async_generator_wrapper(_steps_of(own))


def _steps_of(own: Calls) -> generators.Begin:
    return lambda instance, args, kwargs: _Steps(own, own.slot_of(instance, args, kwargs))


class _Steps(Measured):
    """A generator's call. Its making may have taken some seconds, which are `spent`."""

    __slots__ = ("_slot", "_spent")

    def __init__(self, own: Calls, slot: ToolSlot, spent: float = 0.0) -> None:
        super().__init__(
            slot.name,
            slot.source,
            slot.counted_by,
            in_steps=True,
            judge=lambda error: own.judged(slot, error),
        )
        self._slot = slot
        self._spent = spent

    def __enter__(self) -> None:
        with faults.guarded("measure"):
            slot = self._slot
            series = None if slot.is_counted() else slot.series or slot.find()
            if series is not None:
                call = Call(recorder(), slot.name, slot.source, slot.counted_by)
                call.start(series, as_current=False, spent=self._spent)
                self._calls.append(call)


# What a plain function returns may be run later: in another context, or never. Its call is counted
# then, by what is returned for it.


def _later(own: Calls, frame: Frame, spent: float, made: Any) -> Any:
    """What to return for a coroutine or generator that was `made`."""
    if type(made) is GeneratorType and made.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        own.ended(frame, spent, made)  # it can be awaited, and no generator of ours can
        return made
    if sys.getrefcount(made) > _ALONE:
        own.ended(frame, spent, made)  # the program keeps it: it may run it, or give it out again
        return made
    own.given_up(frame)
    later = _LATER[type(made)](own, frame[OWNER], _Unrun(made), spent)
    return generators.named_as(made, later)


def _references(made: object) -> int:
    return sys.getrefcount(made)


def _alone() -> int:
    """References to what a call has returned, counted in `_later`, if nothing else has one."""
    made = object()
    return _references(made)


_ALONE = _alone()


class _Unrun:
    """What was made, until it is run. Whoever gives up what stands for it gives up both."""

    __slots__ = ("_made",)

    def __init__(self, made: Any) -> None:
        self._made = made

    def take(self) -> Any:
        """It is run now."""
        made, self._made = self._made, None
        return made

    def __del__(self) -> None:
        if type(self._made) is CoroutineType:
            self._made.close()  # or it would say that it was never awaited


async def _coroutine_later(own: Calls, slot: ToolSlot, unrun: _Unrun, spent: float) -> Any:
    frame = own.begin(slot)
    started = clock() - spent
    try:
        result = await unrun.take()
    except BaseException as error:
        seconds = clock() - started
        hide_frame(error)
        if frame is not None:
            own.raised(frame, seconds, error)
        raise
    if frame is not None:
        own.ended(frame, clock() - started, result)
    return result


def _generator_later(own: Calls, slot: ToolSlot, unrun: _Unrun, spent: float) -> Any:
    return generators.steps(unrun.take, _Steps(own, slot, spent))


def _async_generator_later(own: Calls, slot: ToolSlot, unrun: _Unrun, spent: float) -> Any:
    return generators.async_steps(unrun.take, _Steps(own, slot, spent))


_LATER: dict[type, Callable[[Calls, ToolSlot, _Unrun, float], Any]] = {
    CoroutineType: _coroutine_later,
    GeneratorType: _generator_later,
    AsyncGeneratorType: _async_generator_later,
}
