"""Driving a generator as one measured call, from its first step to its last.

Not by `yield from`, which async generators lack besides: between two steps the call must not be
the current one, or it would be so for whoever consumes the items.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from metertap.measuring.blocks import Measured
from metertap.patching.patch_set import WrapperFunction
from metertap.patching.tracebacks import hide_frame

Begin = Callable[[Any, tuple[Any, ...], dict[str, Any]], Measured]
"""The block to measure a call in, by wrapt's instance, args and kwargs. It is not entered yet."""


def generator_wrapper(begin: Begin) -> WrapperFunction:
    """What wrapt calls instead of a generator function."""

    def make(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        inner = _made(wrapped, args, kwargs)
        return named_as(wrapped, steps(lambda: inner, begin(instance, args, kwargs)))

    return make


def async_generator_wrapper(begin: Begin) -> WrapperFunction:
    """What wrapt calls instead of an async generator function."""

    def make(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        inner = _made(wrapped, args, kwargs)
        return named_as(wrapped, async_steps(lambda: inner, begin(instance, args, kwargs)))

    return make


def _made(wrapped: Any, args: Any, kwargs: Any) -> Any:
    """The generator, which has not begun. Now: arguments that do not fit are told of at once."""
    try:
        return wrapped(*args, **kwargs)
    except BaseException as error:
        hide_frame(error)
        raise


def named_as(like: Any, made: Any) -> Any:
    """`made`, a generator or coroutine, named as `like` is: they show their function's name."""
    for attribute in ("__name__", "__qualname__"):
        if isinstance(shown := getattr(like, attribute, None), str):
            setattr(made, attribute, shown)
    return made


def steps(
    make: Callable[[], Generator[Any, Any, Any]], measured: Measured
) -> Generator[Any, Any, Any]:
    """What `make` gives, driven inside `measured`."""
    with measured:
        as_current = measured.as_current()
        inner = make()
        step, value = inner.send, None
        while True:
            try:
                with as_current:
                    item = step(value)
            except StopIteration as end:
                return end.value
            finally:
                value = None  # an exception kept here would keep this frame, and itself
            measured.yielded()
            try:
                step, value = inner.send, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.throw, error


async def async_steps(
    make: Callable[[], AsyncGenerator[Any, Any]], measured: Measured
) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    with measured:
        as_current = measured.as_current()
        inner = make()
        step, value = inner.asend, None
        while True:
            try:
                with as_current:
                    item = await step(value)
            except StopAsyncIteration:
                return
            finally:
                value = None
            measured.yielded()
            try:
                step, value = inner.asend, (yield item)
            except BaseException as error:
                hide_frame(error)
                step, value = inner.athrow, error
