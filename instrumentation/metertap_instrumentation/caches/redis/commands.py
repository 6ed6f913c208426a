"""Commands that are executed one by one, and what asks without looking anything up."""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.caching.meters import counting
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.redis.lookups import count, lookup


def execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """One command; a pipeline that only queues it answers with itself."""
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise
    many = lookup(args)
    if many is not None and result is not instance:
        with faults.guarded("redis"):
            count(instance, [many], [result])
    return result


def async_execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """One command, later."""
    many = lookup(args)
    if many is None:
        return wrapped(*args, **kwargs)
    return _execute_command(wrapped, instance, args, kwargs, many)


async def _execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any, many: bool) -> Any:
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise
    with faults.guarded("redis"):
        count(instance, [many], [result])
    return result


# What a coroutine that nobody awaits is called in Python's warning.
_execute_command.__qualname__ = "Redis.execute_command"


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`lock.locked()` gets the lock's own key."""
    try:
        with counting():
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise


async def async_not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await lock.locked()` does so, too."""
    try:
        with counting():
            return await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise
