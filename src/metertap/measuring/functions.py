"""Functions that measure the calls of another, at the least cost: one plain, one async.

Both do what `ToolSlot.enter` and `calls.leave` do, written out for the call that is not inside
another: take a tick; become the current call; run the function between two readings of the clock;
append the difference. On CPython 3.11 that is 87 of the interpreter's instructions
(`python -m benchmarks.instructions`), about half of what `enter` and `leave` would take. No other
place writes it out.

An interrupt (Ctrl-C, a signal handler that raises) may come after each call of a function: after
the tick, and the call has not begun; after the frame was made current, and nobody would end it. To
catch it costs nothing where none comes.

Three things look odd and are there for speed. What stands in a slot is read before it is called:
looked up as a method it would be found late. What a tick gives is None, which is the parent of such
a frame. And without keyword arguments none are passed on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from metertap.measuring.calls import clock, current
from metertap.measuring.slots import ToolSlot
from metertap.measuring.unfinished import UNFINISHED, Later
from metertap.patching.targets import StandIn

_get, _set = current.get, current.set


def plain(
    function: Callable[..., Any], slot: ToolSlot, later: Later | None = None
) -> Callable[..., Any]:
    """Return a function that calls `function` and counts its calls on `slot`.

    `later` is asked for what to do with results that are not over yet.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        parent = _get()
        series = slot.series
        if series is None or (
            parent is not None and (parent[0] is not None or parent[2] is not None)
        ):
            frame, started = slot.enter_or_pass()
        else:
            tick = series.tick
            try:
                frame = [series, slot, tick(), False, False]
                _set(frame)
                started = clock()
            except BaseException as refused:
                frame, started = slot.begins(series, parent, refused)
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
            ended = clock()
            if later is not None and id(type(result)) in UNFINISHED and frame[0]:
                return later(frame, started, result)
            if frame[3]:
                if slot.is_new and id(type(result)) in UNFINISHED and frame[0]:
                    return slot.later(frame, started, result)
                slot.told(frame, started, ended, result)
                return result
            series = frame[0]
            frame[0] = None
            if series:
                append = series.append
                append(ended - started)
                series.ended = ended
            return result
        except BaseException as error:
            try:
                slot.failed(frame, series, started, error)
            except BaseException:
                slot.gave_up(frame)
                raise
            raise

    return call


def coroutine(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """Return an async function that calls `function` and counts its calls on `slot`."""
    slot.is_new = False  # what it returns is over

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        parent = _get()
        series = slot.series
        if series is None or (
            parent is not None and (parent[0] is not None or parent[2] is not None)
        ):
            frame, started = slot.enter_or_pass()
        else:
            tick = series.tick
            try:
                frame = [series, slot, tick(), False, False]
                _set(frame)
                started = clock()
            except BaseException as refused:
                frame, started = slot.begins(series, parent, refused)
        try:
            result = await (function(*args, **kwargs) if kwargs else function(*args))
            ended = clock()
            series = frame[0]
            frame[0] = None
            if series:
                append = series.append
                append(ended - started)
                series.ended = ended
                if frame[3]:
                    series.looked_up(True, frame[4], ended - started)
            return result
        except BaseException as error:
            try:
                slot.failed(frame, series, started, error)
            except BaseException:
                slot.gave_up(frame)
                raise
            raise

    return call


def replacement(
    name: str,
    source: str,
    counted_by: object,
    later: Later | None = None,
    new_slot: Callable[[str, str, object], ToolSlot] = ToolSlot,
) -> Callable[[Callable[..., Any]], StandIn]:
    """Return what a patch makes of a function that is one tool: its stand-in, and an undo."""

    def stand_in(function: Callable[..., Any]) -> StandIn:
        slot = new_slot(name, source, counted_by)
        if inspect.iscoroutinefunction(function):
            return coroutine(function, slot), slot.close
        return plain(function, slot, later), slot.close

    return stand_in
