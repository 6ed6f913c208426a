"""Wrappers for the functions of configured lines, which count calls.

A line's `caller_errors` and `failed` decide how a call ended. A plain function may return a
coroutine or generator: its call is counted when that is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from metertap import faults
from metertap.measuring import calls, functions, generators
from metertap.measuring.calls import OWNER, SERIES, STARTED, Frame, clock
from metertap.measuring.slots import Slot
from metertap.measuring.unfinished import UNFINISHED, Steps, later
from metertap.measuring.wrappers import coroutine_wrapper, plain_wrapper
from metertap.outcomes import CANCELLED, TOOL_ERROR, Ending
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live, Make, Replacement, Target, stand_in
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.lines import is_a
from metertap_instrumentation.tools.configured.names import (
    SOURCE,
    Function,
    SlotOf,
    Slots,
    is_unknown,
)

_BEGIN = """
{kind} call({parameters}):
    _frame = None
    if _live:
        try:
            _frame = _begin({arguments})
        except _Exception as _error:
            _faults.fault("measure", _error)
    try:
        _result = {call}
    except BaseException as _error:
        _raised(_frame, _error)
        raise
    if _frame is not None:
        try:
"""
_ASK_LATER = f"""
            if _id(_type(_result)) in _UNFINISHED and _frame[{SERIES}]:
                return _later(_frame, _frame[{STARTED}], _result)
"""
_END = """
            _ended(_frame, _result)
        except _Exception as _error:
            _faults.fault("measure", _error)
    return _result
"""

Test = Callable[[Any], bool]
"""Returns whether a result is a handled failure."""


def test_of(failed: tuple[str, str] | None) -> Test | None:
    """Return the test that a line's `failed` describes."""
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
    """The calls of one line: a `wrappers.Measure`. None of its methods ever raises."""

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

    def begin_of(self, function: Function) -> Callable[..., Frame | None]:
        """Return a function that begins a call of `function`, given all arguments with `self`."""
        slot_of, kept, is_bound = self.slot_of, self._slots.kept, function.is_bound
        position = self._slots.position

        def begin(*args: Any, **kwargs: Any) -> Frame | None:
            if is_bound and args:
                return slot_of(args[0], args[1:], kwargs).enter()
            return slot_of(None, args, kwargs).enter()

        if position is None:
            return begin
        position += is_bound

        def begin_by_position(*args: Any, **kwargs: Any) -> Frame | None:
            try:
                slot = kept[args[position]]
            except Exception:  # a new name, one given by keyword, or no name
                return begin(*args, **kwargs)
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

    over = ended
    later = later

    def _has_failed(self, result: Any) -> bool:
        assert self._failed is not None
        try:
            return self._failed(result)
        except Exception as error:  # raised by the program's own object
            faults.warn_once(
                f"failed {self.target}",
                "configured tool %s: %s in reading its result; the call went well (told once)",
                self.target,
                type(error).__qualname__,
            )
            return False

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`; hide the wrapper's frame in that."""
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
    """Return the ending of a call by its name: an unknown one is the caller's fault."""
    if is_unknown(slot) and failure.outcome != CANCELLED:
        return failure.of_caller()
    return failure


def target(attribute: str, own: Calls, function: Function, one_tool: str | None) -> Target:
    """Return the target of a line: a plain function is replaced by one, others by wrapt's.

    `one_tool` is the tool of all calls, if only exceptions are failures.
    """
    if function.kind == "generator":
        return Target(attribute, generators.generator_wrapper(function.callable, _steps_of(own)))
    if function.kind == "async generator":
        steps = _steps_of(own)
        return Target(attribute, generators.async_generator_wrapper(function.callable, steps))
    is_async = function.kind == "coroutine"
    wrapper = (
        coroutine_wrapper(own, function.callable) if is_async else plain_wrapper(own, own.later)
    )
    replacement: Replacement | None
    if one_tool is not None:
        replacement = functions.replacement(
            one_tool, SOURCE, own.target, own.later, lambda name, *_rest: own.new_slot(name)
        )
    else:
        replacement = stand_in(attribute, _measuring(own, function)).replacement
    return Target(attribute, wrapper, replacement=replacement)


def _measuring(own: Calls, function: Function) -> Make:
    """Return a maker of functions, sync or async, that count calls as a line says."""
    source = _BEGIN + ("" if function.kind == "coroutine" else _ASK_LATER) + _END
    begin = own.begin_of(function)

    def make(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
        return shaped(
            method,
            source,
            of_program=True,
            live=live,
            begin=begin,
            ended=own.ended,
            raised=own.raised,
            later=own.later,
            faults=faults,
            Exception=Exception,
            UNFINISHED=UNFINISHED,
            id=id,
            type=type,
        )

    return make


def _steps_of(own: Calls) -> generators.Begin:
    return lambda instance, args, kwargs: Steps(own, own.slot_of(instance, args, kwargs).enter)
