"""Driving a generator as one measured call, from its first step to its last.

`yield from` would not do, and async generators lack it: between two steps the call must not be the
current one, or the code that consumes the items would be inside it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from types import FunctionType
from typing import Any, Protocol

from metertap.measuring.calls import SERIES, STARTED, Frame, clock, current, give_up, leave
from metertap.patching.targets import WrapperFunction
from metertap.patching.tracebacks import hide_frame


class Stepping(Protocol):
    """Counting of one generator's call. None of these methods ever raises."""

    def start(self) -> Frame | None:
        """Begin the call without making it current; None if it is not to be measured."""

    def raised(self, frame: Frame | None, error: BaseException) -> None:
        """End the call of `frame`, which raised `error`; hide the driver's frame in that."""


Begin = Callable[[Any, Any, Any], Stepping]
"""A function that returns how to count a call, given wrapt's instance, args and kwargs."""

_set = current.set
_reset = current.reset
_get_hooks, _set_hooks = sys.get_asyncgen_hooks, sys.set_asyncgen_hooks


def generator_wrapper(function: Any, begin: Begin) -> WrapperFunction:
    """Return wrapt's wrapper for the generator function `function`."""
    return wrapper(driver_of(function, steps), begin)


def async_generator_wrapper(function: Any, begin: Begin) -> WrapperFunction:
    """Return wrapt's wrapper for the async generator function `function`."""
    return wrapper(driver_of(function, async_steps), begin)


def driver_of(function: Any, drive: Any) -> Any:
    """Return `drive`, one of the two functions below, with the names of `function`.

    A generator takes its function's names. Setting them on each generator would cost a call.
    """
    driver = FunctionType(drive.__code__, drive.__globals__, argdefs=drive.__defaults__)
    return named_as(function, driver)


def wrapper(driver: Any, begin: Begin) -> WrapperFunction:
    """Return wrapt's wrapper for the generator function that `driver` was made for."""

    def make(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        try:
            inner = wrapped(*args, **kwargs)  # now, so that wrong arguments raise at the call
        except BaseException as error:
            hide_frame(error)
            raise
        return driver(inner, begin(instance, args, kwargs))

    return make


def named_as(like: Any, made: Any) -> Any:
    """Give `made`, a generator or coroutine, the names of `like`, which programs may show."""
    for attribute in ("__name__", "__qualname__"):
        with contextlib.suppress(Exception):  # attributes of the program's object may raise
            if isinstance(shown := getattr(like, attribute, None), str):
                setattr(made, attribute, shown)
    return made


def steps(
    inner: Any, stepping: Stepping, make: Callable[[], Any] | None = None
) -> Generator[Any, Any, Any]:
    """Drive the generator `inner`, or the one that `make` returns, as one call."""
    frame = stepping.start()
    try:
        if make is not None:
            inner = make()
        step = inner.send
        value, waiting = None, frame
        while True:
            token = None if frame is None else _set(frame)
            try:
                item = step(value)
            except StopIteration as end:
                result = end.value
                break
            finally:
                value = None  # a kept exception would keep this frame, and itself
                if token is not None:
                    _reset(token)
            if waiting is not None:  # for the first item
                if series := waiting[SERIES]:
                    now = clock()
                    series.first_item(now - waiting[STARTED], now)
                waiting = None
            try:
                step, value = inner.send, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.throw, error
        if frame is not None:
            leave(frame)
    except BaseException as error:
        try:
            stepping.raised(frame, error)
        except BaseException:
            if frame is not None:
                give_up(frame)
            raise
        raise
    return result


async def async_steps(
    inner: Any, stepping: Stepping, make: Callable[[], Any] | None = None
) -> AsyncGenerator[Any, Any]:
    """Drive the async generator `inner`, or the one that `make` returns, as one call."""
    frame = stepping.start()
    try:
        if make is not None:
            inner = make()
        step: Callable[..., Awaitable[Any]] = _first_step
        value, waiting = inner, frame
        while True:
            token = None if frame is None else _set(frame)
            try:
                item = await step(value)
            except StopAsyncIteration:
                break
            finally:
                value = None
                if token is not None:
                    try:
                        _reset(token)
                    except ValueError:  # in another context: a generator closed elsewhere
                        pass
            if waiting is not None:  # for the first item
                if series := waiting[SERIES]:
                    now = clock()
                    series.first_item(now - waiting[STARTED], now)
                waiting = None
            try:
                step, value = inner.asend, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.athrow, error
        if frame is not None:
            leave(frame)
    except BaseException as error:
        try:
            stepping.raised(frame, error)
        except BaseException:
            if frame is not None:
                give_up(frame)
            raise
        raise


def _first_step(inner: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """Return the first step of `inner`, hidden from the event loop's hooks.

    A loop that ends closes all open generators at once. It knows the driver, which closes `inner`;
    if it knew both, it would close `inner` a second time while that is being closed.
    """
    begun, finalizer = _get_hooks()
    # With a finalizer set, Python does not close an abandoned generator itself. That must stay so.
    _set_hooks(None, None if finalizer is None else _leave_to_the_driver)
    try:
        return inner.asend(None)
    finally:
        _set_hooks(begun, finalizer)


def _leave_to_the_driver(_inner: object) -> None:
    """Do nothing with an abandoned generator: the loop's finalizer closes its driver."""
