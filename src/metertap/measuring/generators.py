"""Driving a generator as one measured call, from its first step to its last.

Not by `yield from`, which async generators lack besides: between two steps the call must not be
the current one, or it would be so for whoever consumes the items.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import Token
from typing import Any, Protocol

from metertap import faults
from metertap.measuring.calls import SERIES, STARTED, Frame, clock, current
from metertap.patching.patch_set import WrapperFunction
from metertap.patching.tracebacks import hide_frame


class Stepping(Protocol):
    """How one generator's call is counted. None of these ever raises."""

    def start(self) -> Frame | None:
        """Begin the call, without making it the current one; None if it is not to be measured."""

    def ended(self, frame: Frame, result: Any) -> None:
        """End the call of `frame`, which returned `result`."""

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`, and hide the driver's frame in that."""


Begin = Callable[[Any, Any, Any], Stepping]
"""Says how a call is to be counted, by wrapt's instance, args and kwargs."""


def generator_wrapper(begin: Begin) -> WrapperFunction:
    """Return what wrapt is to call instead of a generator function."""

    def make(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        inner = _made(wrapped, args, kwargs)
        return named_as(wrapped, steps(lambda: inner, begin(instance, args, kwargs)))

    return make


def async_generator_wrapper(begin: Begin) -> WrapperFunction:
    """Return what wrapt is to call instead of an async generator function."""

    def make(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        inner = _made(wrapped, args, kwargs)
        return named_as(wrapped, async_steps(lambda: inner, begin(instance, args, kwargs)))

    return make


def _made(wrapped: Any, args: Any, kwargs: Any) -> Any:
    """Make the generator, before its first step, so that wrong arguments raise at the call."""
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise


def named_as(like: Any, made: Any) -> Any:
    """Give `made`, a generator or coroutine, the names of `like`: it shows its function's."""
    for attribute in ("__name__", "__qualname__"):
        if isinstance(shown := getattr(like, attribute, None), str):
            setattr(made, attribute, shown)
    return made


def steps(
    make: Callable[[], Generator[Any, Any, Any]], stepping: Stepping
) -> Generator[Any, Any, Any]:
    """Drive the generator that `make` gives as one call."""
    frame = stepping.start()
    try:
        inner = make()
        step, value, is_first = inner.send, None, frame is not None
        while True:
            token = _enter_step(frame)
            try:
                item = step(value)
            except StopIteration as end:
                result = end.value
                break
            finally:
                value = None  # an exception kept here would keep this frame, and itself
                _leave_step(token)
            if is_first:
                is_first = False
                _first_item(frame)
            try:
                step, value = inner.send, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.throw, error
    except BaseException as error:
        stepping.raised(frame, error)
        raise
    if frame is not None:
        stepping.ended(frame, result)
    return result


async def async_steps(
    make: Callable[[], AsyncGenerator[Any, Any]], stepping: Stepping
) -> AsyncGenerator[Any, Any]:
    """Drive the async generator that `make` gives as one call."""
    frame = stepping.start()
    try:
        inner = make()
        step, value, is_first = inner.asend, None, frame is not None
        while True:
            token = _enter_step(frame)
            try:
                item = await step(value)
            except StopAsyncIteration:
                break
            finally:
                value = None
                _leave_step(token)
            if is_first:
                is_first = False
                _first_item(frame)
            try:
                step, value = inner.asend, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.athrow, error
    except BaseException as error:
        stepping.raised(frame, error)
        raise
    if frame is not None:
        stepping.ended(frame, None)


def _enter_step(frame: Frame | None) -> Token[Frame | None] | None:
    """Make the call of `frame` the current one; what `_leave_step` needs to undo that."""
    return None if frame is None else current.set(frame)


def _leave_step(token: Token[Frame | None] | None) -> None:
    if token is not None:
        try:
            current.reset(token)
        except ValueError:  # left in another context: a generator closed elsewhere
            pass


def _first_item(frame: Frame | None) -> None:
    """Record how long the call of `frame` took until its first item."""
    if frame is not None and frame[SERIES]:
        with faults.guarded("measure"):
            frame[SERIES].first_item(clock() - frame[STARTED])
