"""Wrappers for the functions of configured lines, and the start and end of their calls.

A line's `caller_errors` and `failed` say how a call ended. A plain function may return what is not
over yet: a coroutine or generator, whose call is counted when it is run.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from metertap import faults
from metertap.measuring import calls, functions, generators
from metertap.measuring.calls import NOTE, OWNER, SERIES, STARTED, Frame, clock
from metertap.measuring.functions import UNFINISHED
from metertap.measuring.slots import Slot
from metertap.measuring.wrappers import coroutine_wrapper, plain_wrapper
from metertap.outcomes import CANCELLED, TOOL_ERROR, Ending
from metertap.patching.targets import Live, Replacement, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.lines import is_a
from metertap_instrumentation.tools.configured.names import (
    SOURCE,
    Function,
    SlotOf,
    Slots,
    is_unknown,
)

_Begin = Callable[[Any, Any], Frame | None]
Test = Callable[[Any], bool]
"""A test whether a result is a failure that was handled."""


def test_of(failed: tuple[str, str] | None) -> Test | None:
    """Return what a line's `failed` says of a result."""
    if failed is None:
        return None
    word, name = failed
    if word == "key":
        return lambda result: issubclass(type(result), Mapping) and bool(result.get(name))
    if word == "attr":
        return lambda result: bool(getattr(result, name, False))
    meant = {"none": None, "false": False}[word]
    return lambda result: result is meant


class Calls:
    """The calls of one line, as what measures a wrapper. None of the methods ever raises."""

    def __init__(
        self,
        target: str,
        slot_of: SlotOf,
        slots: Slots,
        caller_errors: tuple[str, ...],
        failed: Test | None,
    ) -> None:
        self.slot_of = slot_of
        self.new_slot = slots.new
        self._slots = slots
        self._failed = failed
        self._caller_errors = caller_errors
        self.target = target

    def begin(self, instance: Any, args: Any, kwargs: Any) -> Frame | None:
        """Begin a call; None if it is not to be measured."""
        return self.slot_of(instance, args, kwargs).enter()

    def begin_of(self, function: Function) -> Callable[[Any, Any], Frame | None]:
        """Return what begins a call of `function` by all its arguments, `self` among them."""
        slot_of, kept, is_bound = self.slot_of, self._slots.kept, function.is_bound
        position = self._slots.position

        def begin(args: Any, kwargs: Any) -> Frame | None:
            if is_bound and args:
                return slot_of(args[0], args[1:], kwargs).enter()
            return slot_of(None, args, kwargs).enter()

        if position is None:
            return begin
        position += is_bound

        def begin_by_position(args: Any, kwargs: Any) -> Frame | None:
            try:
                slot = kept[args[position]]
            except Exception:  # a new one, or given by keyword, or no name
                return begin(args, kwargs)
            return slot.enter()

        return begin_by_position

    def ended(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, which returned `result`."""
        now = clock()
        slot: Slot = frame[OWNER]
        ending = None
        if self._failed is not None and self._has_failed(result):
            ending = _of_slot(slot, Ending(TOOL_ERROR, TOOL_ERROR))
        calls.leave(frame, ending, now)
        if slot.is_new:
            slot.look_at(result)

    def _has_failed(self, result: Any) -> bool:
        assert self._failed is not None
        try:
            return self._failed(result)
        except Exception as error:  # of the program's own object, which was asked
            faults.warn_once(
                f"failed {self.target}",
                "configured tool %s: %s in reading its result; the call went well (told once)",
                self.target,
                type(error).__qualname__,
            )
            return False

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the wrapper's frame in that."""
        now = clock()
        hide_frame(error)
        if frame is not None:
            ending = Ending.by(error)
            with faults.guarded("measure"):
                if any(is_a(error, name) for name in self._caller_errors):
                    ending = ending.of_caller()
                else:
                    ending = _of_slot(frame[OWNER], ending)
            calls.leave(frame, ending, now)


def _of_slot(slot: Slot, failure: Ending) -> Ending:
    """Return the ending of a call by its name: one that is unknown is the caller's fault."""
    if is_unknown(slot) and failure.outcome != CANCELLED:
        return failure.of_caller()
    return failure


def target(attribute: str, own: Calls, function: Function, one_tool: str | None) -> Target:
    """Patch the function of a line: a plain one by a plain one, and others by wrapt.

    `one_tool` is the tool of all its calls, if nothing but an exception makes one of them fail.
    """
    if function.kind == "generator":
        return Target(attribute, generators.generator_wrapper(function.callable, _steps_of(own)))
    if function.kind == "async generator":
        steps = _steps_of(own)
        return Target(attribute, generators.async_generator_wrapper(function.callable, steps))
    is_async = function.kind == "coroutine"
    wrapper = coroutine_wrapper(own) if is_async else plain_wrapper(own, _later(own))
    replacement: Replacement | None
    if one_tool is not None:
        replacement = functions.replacement(
            one_tool, SOURCE, own.target, _later(own), lambda name, *_rest: own.new_slot(name)
        )
    else:
        make, begin = _coroutine if is_async else _plain, own.begin_of(function)
        made = stand_in(attribute, lambda method, live: make(own, begin, method, live))
        replacement = made.replacement
    # A coroutine shows the name of its function.
    wrapper = generators.named_as(function.callable, wrapper)
    return Target(attribute, wrapper, replacement=replacement)


def _plain(own: Calls, begin: _Begin, method: Callable[..., Any], live: Live) -> Any:
    ended, raised, later = own.ended, own.raised, _later(own)

    def call(*args: Any, **kwargs: Any) -> Any:
        frame = None
        if live:
            try:
                frame = begin(args, kwargs)
            except Exception as fault:
                faults.fault("measure", fault)
        try:
            result = method(*args, **kwargs) if kwargs else method(*args)
        except BaseException as error:
            raised(frame, error)
            raise
        if frame is not None:
            try:
                if type(result) in UNFINISHED and frame[SERIES]:
                    return later(frame, frame[STARTED], result)
                ended(frame, result)
            except Exception as fault:
                faults.fault("measure", fault)
        return result

    return call


def _coroutine(own: Calls, begin: _Begin, method: Callable[..., Any], live: Live) -> Any:
    ended, raised = own.ended, own.raised

    async def call(*args: Any, **kwargs: Any) -> Any:
        frame = None
        if live:
            try:
                frame = begin(args, kwargs)
            except Exception as fault:
                faults.fault("measure", fault)
        try:
            result = await (method(*args, **kwargs) if kwargs else method(*args))
        except BaseException as error:
            raised(frame, error)
            raise
        if frame is not None:
            try:
                ended(frame, result)
            except Exception as fault:
                faults.fault("measure", fault)
        return result

    return call


def _steps_of(own: Calls) -> generators.Begin:
    return lambda instance, args, kwargs: _Steps(own, own.slot_of(instance, args, kwargs))


class _Steps:
    """A generator's call. Making the generator may have taken some seconds, which are `spent`."""

    def __init__(self, own: Calls, slot: Slot, spent: float = 0.0) -> None:
        self._slot = slot
        self._spent = spent
        self.raised = own.raised

    def start(self) -> Frame | None:
        """Begin the call, without making it the current one."""
        return self._slot.enter(spent=self._spent, as_current=False)

    def ended(self, frame: Frame, _result: Any) -> None:
        """End the call of `frame`."""
        calls.leave(frame)


# What a plain function returns may be run later: in another context, or never. Its call is counted
# then, by what is returned for it.


def _later(own: Calls) -> functions.Later:
    """Return what makes a stand-in for a coroutine or generator that a call of a line returned."""

    def later(frame: Frame, started: float, made: Any) -> Any:
        try:
            if len(frame) <= NOTE:  # one of `functions`' short ones
                frame[NOTE:] = None, started, None, 0, None
            # One that can be awaited, as no generator of ours can; or the program keeps it, and may
            # run it, or give it out again.
            if (
                type(made) is GeneratorType
                and made.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE
            ) or sys.getrefcount(made) > _ALONE:
                own.ended(frame, made)
                return made
            spent, slot = clock() - started, frame[OWNER]
            calls.give_up(frame)
            made_later = _LATER[type(made)](own, slot, _Unrun(made), spent)
            return generators.named_as(made, made_later)
        except Exception as fault:
            faults.fault("measure", fault)
            return made

    return later


def _references(made: object) -> int:
    return sys.getrefcount(made)


def _alone() -> int:
    """Count the references to what a call has returned, in `_later`, if nothing else has one."""
    made = object()
    return _references(made)


_ALONE = _alone()


class _Unrun:
    """What was made, until it is run. Whoever gives up what stands for it gives up both."""

    __slots__ = ("_made",)

    def __init__(self, made: Any) -> None:
        self._made = made

    def take(self) -> Any:
        """Return what was made, to be run now."""
        made, self._made = self._made, None
        return made

    def __del__(self) -> None:
        if type(self._made) is CoroutineType:
            self._made.close()  # or it would say that it was never awaited


async def _coroutine_later(own: Calls, slot: Slot, unrun: _Unrun, spent: float) -> Any:
    frame = slot.enter(spent=spent)
    try:
        result = await unrun.take()
    except BaseException as error:
        own.raised(frame, error)
        raise
    if frame is not None:
        own.ended(frame, result)
    return result


def _generator_later(own: Calls, slot: Slot, unrun: _Unrun, spent: float) -> Any:
    return generators.steps(unrun.take, _Steps(own, slot, spent))


def _async_generator_later(own: Calls, slot: Slot, unrun: _Unrun, spent: float) -> Any:
    return generators.async_steps(unrun.take, _Steps(own, slot, spent))


_LATER: dict[type, Callable[[Calls, Slot, _Unrun, float], Any]] = {
    CoroutineType: _coroutine_later,
    GeneratorType: _generator_later,
    AsyncGeneratorType: _async_generator_later,
}
