"""Functions that measure calls of another function, plain or async, at the least cost.

They do what `ToolSlot.enter` and `calls.leave` do, inlined for a call that is inside no other: take
a tick; become the current call; run the function between two readings of the clock; append the
difference. Only this module inlines all of that, with the parameters of the measured function
(`parameters`). `python -m benchmarks.instructions` counts the instructions.

An interrupt (Ctrl-C, a signal handler that raises) may come after each function call: after the
tick, before the call has begun; after the frame was made current, when no code would end it.
Catching it costs nothing where none comes.

Two oddities are for speed. A slot's function is read before it is called, since Python would find
it late when called as a method. And the None that a tick returns is used as the parent of the
frame.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from metertap.measuring.calls import clock, current
from metertap.measuring.slots import ToolSlot
from metertap.measuring.unfinished import UNFINISHED, Later
from metertap.patching.parameters import shaped
from metertap.patching.targets import StandIn

_BEGIN = """
{kind} call({parameters}):
    _parent = _get()
    _series = _slot.series
    if _series is None or (
        _parent is not None and (_parent[0] is not None or _parent[2] is not None)
    ):
        _frame, _started = _slot.enter_or_pass()
    else:
        _tick = _series.tick
        try:
            _frame = [_series, _slot, _tick(), False, False]
            _set(_frame)
            _started = _clock()
        except BaseException as _refused:
            _frame, _started = _slot.begins(_series, _parent, _refused)
    try:
        _result = {call}
        _ended = _clock()
"""
_ASK_LATER = """
        if _id(_type(_result)) in _UNFINISHED and _frame[0]:
            return _later(_frame, _started, _result)
"""
_TELL = """
        if _frame[3]:
            if _slot.is_new and _id(_type(_result)) in _UNFINISHED and _frame[0]:
                return _slot.later(_frame, _started, _result)
            _slot.told(_frame, _started, _ended, _result)
            return _result
"""
_RECORD = """
        _series = _frame[0]
        _frame[0] = None
        if _series:
            _append = _series.append
            _append(_ended - _started)
            _series.ended = _ended
"""
_LOOKED_UP = """
            if _frame[3]:
                _series.looked_up(True, _frame[4], _ended - _started)
"""
_END = """
        return _result
    except BaseException as _error:
        try:
            _slot.failed(_frame, _series, _started, _error)
        except BaseException:
            _slot.gave_up(_frame)
            raise
        raise
"""
_PLAIN = _BEGIN + _TELL + _RECORD + _END
_PLAIN_OR_LATER = _BEGIN + _ASK_LATER + _TELL + _RECORD + _END
_COROUTINE = _BEGIN + _RECORD + _LOOKED_UP + _END


def plain(
    function: Callable[..., Any], slot: ToolSlot, later: Later | None = None
) -> Callable[..., Any]:
    """Return a function that calls `function` and counts its calls on `slot`.

    `later` is called for results that are still to be run, such as coroutines.
    """
    source = _PLAIN if later is None else _PLAIN_OR_LATER
    return _measuring(function, source, slot, later=later, id=id, type=type, UNFINISHED=UNFINISHED)


def coroutine(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """Return an async function that calls `function` and counts its calls on `slot`."""
    slot.is_new = False  # its result is final
    return _measuring(function, _COROUTINE, slot)


def _measuring(
    function: Callable[..., Any], source: str, slot: ToolSlot, **names: Any
) -> Callable[..., Any]:
    made = shaped(
        function,
        source,
        of_program=True,
        slot=slot,
        get=current.get,
        set=current.set,
        clock=clock,
        **names,
    )
    return functools.wraps(function)(made)


def replacement(
    name: str,
    source: str,
    counted_by: object,
    later: Later | None = None,
    new_slot: Callable[[str, str, object], ToolSlot] = ToolSlot,
) -> Callable[[Callable[..., Any]], StandIn]:
    """Return what a patch makes of a function that is one tool: its replacement, and the undo."""

    def stand_in(function: Callable[..., Any]) -> StandIn:
        slot = new_slot(name, source, counted_by)
        if inspect.iscoroutinefunction(function):
            return coroutine(function, slot), slot.close
        return plain(function, slot, later), slot.close

    return stand_in
