"""Commands that a pipeline executes all together."""

from __future__ import annotations

from typing import Any

from metertap import faults
from metertap.caching.meters import counting
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.redis.lookups import count, lookup


def execute(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """All commands of a pipeline; in a cluster, some of them one by one once more."""
    queued = _queued(instance)
    try:
        with counting():
            results = wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise
    with faults.guarded("redis"):
        count(instance, queued, results)
    return results


async def async_execute(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """All commands of a pipeline, later."""
    queued = _queued(instance)
    try:
        with counting():
            results = await wrapped(*args, **kwargs)
    except BaseException as error:
        with faults.guarded("redis"):
            hide_frame(error)
        raise
    with faults.guarded("redis"):
        count(instance, queued, results)
    return results


# What a coroutine that nobody awaits is called in Python's warning.
async_execute.__qualname__ = "Pipeline.execute"


def _queued(pipeline: Any) -> list[bool | None]:
    """What a pipeline is about to do: `lookup` of each command. It forgets them when done."""
    with faults.guarded("redis"):
        if isinstance(stack := getattr(pipeline, "command_stack", None), list) and stack:
            return [lookup(getattr(item, "args", None) or item[0]) for item in stack]
        holder = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster since 6.2
        for name in ("_command_queue", "_command_stack"):
            if stack := getattr(holder, name, None):
                return [lookup(item.args) for item in stack]
    return []
