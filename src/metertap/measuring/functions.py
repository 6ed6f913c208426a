"""Measuring the calls of one function: what `@metertap.tool` and the patches of handlers share.

The four functions that do it are written out, twice two alike: a helper that they shared would
cost as much again as everything else in them. What happens in each, in this order: find the
series; leave the call alone if something else counts it already; take a tick; become the current
call; run the function between two readings of the clock; append the difference.

Two things look odd and are there for speed. What stands in a slot is read before it is called:
looked up as a method it would be found late. And without keyword arguments none are passed on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import CoroutineType
from typing import Any

from metertap import faults
from metertap.measuring import calls
from metertap.measuring.calls import Frame, clock, current
from metertap.outcomes import Ending
from metertap.patching.patch_set import StandIn, WrapperFunction
from metertap.patching.tracebacks import hide_frame
from metertap.recording import ToolSeries
from metertap.state import is_enabled, recorder

_get = current.get
_set = current.set


class ToolSlot:
    """Where the calls of one function go: its series, while there is one and measuring is on."""

    __slots__ = (
        "__weakref__",
        "_is_off",
        "counted_by",
        "is_closed",
        "is_new",
        "name",
        "series",
        "source",
    )

    def __init__(self, name: str, source: str, counted_by: str) -> None:
        self.name = name
        self.source = source
        self.counted_by = counted_by
        self.is_new = True
        self.is_closed = False
        self._is_off = False
        self.series: ToolSeries | None = None
        recorder().keep(self)

    def forget(self) -> None:
        """The series is not the one any more: after a fork, a reset or with other settings."""
        self.series = None
        self._is_off = False

    def find(self) -> ToolSeries | None:
        """The series to record to; None where nothing is recorded."""
        if self._is_off or self.is_closed:
            return None
        with faults.guarded("measure"):
            if is_enabled():
                self.series = recorder().tool_by_hand(self.name, self.source)
            else:
                self._is_off = True
                if is_enabled():  # asked again: who switched it on may have told us before that
                    self._is_off = False
        return self.series

    def close(self) -> None:
        """Nothing is recorded from now on, for good."""
        self.is_closed = True
        self.series = None

    def is_counted(self) -> bool:
        """Whether something else counts this call, which is told then."""
        with faults.guarded("measure"):
            if calls.counted_already(self.name, self.counted_by):
                recorder().left_out(self.name)
                return True
        return False

    def look_at(self, result: object) -> None:
        """Tell of a function that looks plain and is not, by its first result."""
        self.is_new = False
        if type(result) is CoroutineType:
            faults.warn_once(
                f"tool {self.name}",
                "tool %s is not async and returns a coroutine: only the making of that is "
                "measured; decorate the async function itself",
                self.name,
            )


def kind_of(function: Any) -> str:
    """How calls of `function` are measured: by what they return."""
    called = getattr(function, "__func__", function)  # of a class method or static method
    if not inspect.isroutine(called) and not isinstance(called, functools.partial):
        called = getattr(type(called), "__call__", called)  # noqa: B004  # an object that is called
    if inspect.isasyncgenfunction(called):
        return "async generator"
    if inspect.isgeneratorfunction(called):
        while isinstance(called, functools.partial):
            called = called.func
        # One that is awaited (`types.coroutine`) is left alone: none of ours could be.
        awaited = called.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE
        return "plain" if awaited else "generator"
    return "coroutine" if inspect.iscoroutinefunction(called) else "plain"


def plain(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """`function`, measured."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        series = slot.series or slot.find()
        parent = _get()
        if parent is not None:
            parent = calls.in_progress() if parent[0] or parent[2] else None
        if series is None or (parent is not None and parent[1] is not slot and slot.is_counted()):
            try:
                return function(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, slot, parent, False, False]
        _set(frame)
        started = clock()
        try:
            result = function(*args, **kwargs) if kwargs else function(*args)
        except BaseException as error:
            _failed(frame, clock() - started, error)
            raise
        ended = clock()
        append = series.append
        append(ended - started)
        series.ended = ended
        frame[0] = None
        if frame[3] or frame[4]:
            series.looked_up(frame[3], frame[4], ended - started)
        if slot.is_new:
            slot.look_at(result)
        return result

    return call


def coroutine(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """`function`, which is async, measured."""

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        series = slot.series or slot.find()
        parent = _get()
        if parent is not None:
            parent = calls.in_progress() if parent[0] or parent[2] else None
        if series is None or (parent is not None and parent[1] is not slot and slot.is_counted()):
            try:
                return await function(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, slot, parent, False, False]
        _set(frame)
        started = clock()
        try:
            result = await (function(*args, **kwargs) if kwargs else function(*args))
        except BaseException as error:
            _failed(frame, clock() - started, error)
            raise
        ended = clock()
        append = series.append
        append(ended - started)
        series.ended = ended
        frame[0] = None
        if frame[3] or frame[4]:
            series.looked_up(frame[3], frame[4], ended - started)
        return result

    return call


def replacement(name: str, source: str, counted_by: str) -> Callable[[Callable[..., Any]], StandIn]:
    """For a patch of a function that is one tool: what stands in for it, measured."""

    def stand_in(function: Callable[..., Any]) -> StandIn:
        slot = ToolSlot(name, source, counted_by)
        measured = coroutine if inspect.iscoroutinefunction(function) else plain
        return measured(function, slot), slot.close

    return stand_in


def plain_wrapper(slot: ToolSlot) -> WrapperFunction:
    """What wrapt calls instead of a function."""

    def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        series = slot.series or slot.find()
        parent = _get()
        if parent is not None:
            parent = calls.in_progress() if parent[0] or parent[2] else None
        if series is None or (parent is not None and parent[1] is not slot and slot.is_counted()):
            try:
                return wrapped(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, slot, parent, False, False]
        _set(frame)
        started = clock()
        try:
            result = wrapped(*args, **kwargs) if kwargs else wrapped(*args)
        except BaseException as error:
            _failed(frame, clock() - started, error)
            raise
        ended = clock()
        append = series.append
        append(ended - started)
        series.ended = ended
        frame[0] = None
        if frame[3] or frame[4]:
            series.looked_up(frame[3], frame[4], ended - started)
        if slot.is_new:
            slot.look_at(result)
        return result

    return call


def coroutine_wrapper(slot: ToolSlot) -> WrapperFunction:
    """What wrapt calls instead of an async function."""

    async def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        series = slot.series or slot.find()
        parent = _get()
        if parent is not None:
            parent = calls.in_progress() if parent[0] or parent[2] else None
        if series is None or (parent is not None and parent[1] is not slot and slot.is_counted()):
            try:
                return await wrapped(*args, **kwargs)
            except BaseException as error:
                hide_frame(error)
                raise
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, slot, parent, False, False]
        _set(frame)
        started = clock()
        try:
            result = await (wrapped(*args, **kwargs) if kwargs else wrapped(*args))
        except BaseException as error:
            _failed(frame, clock() - started, error)
            raise
        ended = clock()
        append = series.append
        append(ended - started)
        series.ended = ended
        frame[0] = None
        if frame[3] or frame[4]:
            series.looked_up(frame[3], frame[4], ended - started)
        return result

    return call


def _failed(frame: Frame, seconds: float, error: BaseException) -> None:
    hide_frame(error)
    series: ToolSeries = frame[calls.SERIES]
    frame[calls.SERIES] = None
    with faults.guarded("measure"):
        calls.end(series, seconds, Ending.by(error))
