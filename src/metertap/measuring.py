"""Measuring the calls of one function: what `@metertap.tool` and the patches of handlers share.

The four functions that do it are written out, twice two alike: a helper that they shared would
cost as much again as everything else in them. What happens in each, in this order: find the
series; leave the call alone if something else counts it already; take a tick; become the current
call; run the function between two readings of the clock; append the difference.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import Token
from types import CoroutineType
from typing import Any

from metertap import calls, guard
from metertap._process import is_enabled, recorder
from metertap.calls import Frame, clock, current
from metertap.patching import WrapperFunction
from metertap.recording import ToolSeries

_get = current.get
_set = current.set
_reset = current.reset


class ToolSlot:
    """Where the calls of one function go: its series, while there is one and measuring is on."""

    __slots__ = ("__weakref__", "counted_by", "name", "series", "source")

    def __init__(self, name: str, source: str, counted_by: str) -> None:
        self.name = name
        self.source = source
        self.counted_by = counted_by
        self.series: ToolSeries | None = None
        recorder().keep(self)

    def forget(self) -> None:
        """The series is not the one any more: after a fork, a reset or with other settings."""
        self.series = None

    def find(self) -> ToolSeries | None:
        """The series to record to; None where nothing is recorded."""
        with guard.guarded("measure"):
            if is_enabled():
                self.series = recorder().tool_by_hand(self.name, self.source)
        return self.series

    def is_counted(self) -> bool:
        """Whether something else counts this call, which is told then."""
        with guard.guarded("measure"):
            if calls.counted_already(self.name, self.counted_by):
                recorder().left_out(self.name)
                return True
        return False


def plain(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """`function`, measured."""
    name, counted_by = slot.name, slot.counted_by

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        series = slot.series or slot.find()
        if series is None:
            return function(*args, **kwargs)
        parent = _get()
        if parent is not None:
            if slot.is_counted():
                return function(*args, **kwargs)
            parent = calls.in_progress()
        try:
            series.tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, name, counted_by, parent, None]
        token = _set(frame)
        started = clock()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            _failed(frame, token, clock() - started, error)
            raise
        ended = clock()
        series.append(ended - started)
        series.ended = ended
        frame[0] = None
        _reset(token)
        if type(result) is CoroutineType:
            _warn_of_coroutine(name)
        return result

    return call


def coroutine(function: Callable[..., Any], slot: ToolSlot) -> Callable[..., Any]:
    """`function`, which is async, measured."""
    name, counted_by = slot.name, slot.counted_by

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        series = slot.series or slot.find()
        if series is None:
            return await function(*args, **kwargs)
        parent = _get()
        if parent is not None:
            if slot.is_counted():
                return await function(*args, **kwargs)
            parent = calls.in_progress()
        try:
            series.tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, name, counted_by, parent, None]
        token = _set(frame)
        started = clock()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            _failed(frame, token, clock() - started, error)
            raise
        ended = clock()
        series.append(ended - started)
        series.ended = ended
        frame[0] = None
        try:
            _reset(token)
        except ValueError:  # driven from another context
            pass
        return result

    return call


def plain_wrapper(slot: ToolSlot) -> WrapperFunction:
    """What wrapt calls instead of a function."""
    name, counted_by = slot.name, slot.counted_by

    def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        series = slot.series or slot.find()
        if series is None:
            return wrapped(*args, **kwargs)
        parent = _get()
        if parent is not None:
            if slot.is_counted():
                return wrapped(*args, **kwargs)
            parent = calls.in_progress()
        try:
            series.tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, name, counted_by, parent, None]
        token = _set(frame)
        started = clock()
        try:
            result = wrapped(*args, **kwargs)
        except BaseException as error:
            _failed(frame, token, clock() - started, error)
            raise
        ended = clock()
        series.append(ended - started)
        series.ended = ended
        frame[0] = None
        _reset(token)
        if type(result) is CoroutineType:
            _warn_of_coroutine(name)
        return result

    return call


def coroutine_wrapper(slot: ToolSlot) -> WrapperFunction:
    """What wrapt calls instead of an async function."""
    name, counted_by = slot.name, slot.counted_by

    async def call(wrapped: Any, _instance: Any, args: Any, kwargs: Any) -> Any:
        series = slot.series or slot.find()
        if series is None:
            return await wrapped(*args, **kwargs)
        parent = _get()
        if parent is not None:
            if slot.is_counted():
                return await wrapped(*args, **kwargs)
            parent = calls.in_progress()
        try:
            series.tick()
        except StopIteration:
            series.due()
        frame: Frame = [series, name, counted_by, parent, None]
        token = _set(frame)
        started = clock()
        try:
            result = await wrapped(*args, **kwargs)
        except BaseException as error:
            _failed(frame, token, clock() - started, error)
            raise
        ended = clock()
        series.append(ended - started)
        series.ended = ended
        frame[0] = None
        try:
            _reset(token)
        except ValueError:  # driven from another context
            pass
        return result

    return call


def _failed(frame: Frame, token: Token[Any], seconds: float, error: BaseException) -> None:
    calls.hide_frame(error)
    series: ToolSeries = frame[calls.SERIES]
    frame[calls.SERIES] = None
    calls.reset(token)
    with guard.guarded("measure"):
        calls.end(series, seconds, error)


def _warn_of_coroutine(name: str) -> None:
    guard.warn_once(
        f"tool {name}",
        "tool %s is not async and returns a coroutine: only the making of that is "
        "measured; decorate the async function itself",
        name,
    )
