"""The commands that are lookups, alone or in a pipeline, and the meaning of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.caching.adapter import Asked, counts
from metertap.caching.layers import layer
from metertap.caching.meters import ObjectMeter
from metertap.patching.parameters import shaped
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.caches.redis.meters import meter_of, meters

_ONE = ("GET", "HGET", "GETEX", "GETDEL")
_MANY = ("MGET", "HMGET")
_OF_TEXT: dict[Any, bool] = {
    form: command in _MANY for command in (*_ONE, *_MANY) for form in (command, command.lower())
}
"""Whether a lookup returns a list; commands that are no lookups are left out."""
# Separate, since `python -b` warns of comparisons of bytes and text.
_OF_BYTES: dict[Any, bool] = {form.encode(): is_many for form, is_many in _OF_TEXT.items()}

_layer = layer.get
_find = meters.find


def lookup(args: Any) -> bool | None:
    """Return whether a command is a lookup that returns a list; None for no lookup."""
    try:
        command = args[0]
        return (_OF_BYTES if type(command) is bytes else _OF_TEXT).get(command)
    except (IndexError, TypeError):  # the library reports what is wrong with it
        return None


def _answered(client: Any, args: Any, answer: Any) -> None:
    """Count what a command looked up."""
    try:
        if answer is client:  # a pipeline that only queues the command returns itself
            return
        many = lookup(args)
        if many is None or _layer():
            return
        meter = _find(id(client))
        if meter is None:
            meter = meter_of(client)
        if many:
            _count_many(meter, answer)
        elif answer is None:
            meter.miss()
        else:
            meter.hit()
    except Exception as fault:
        faults.fault("redis", fault)


_COMMAND = """
{kind} call({parameters}):
    try:
        _answer = {call}
    except BaseException as _error:
        _hide(_error)
        raise
    if _live:
        _answered({first}, {args}, _answer)
    return _answer
"""


def execute_command(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count one command; whatever it asks inside is no lookup."""
    return shaped(method, _COMMAND, answered=_answered, hide=hide_frame, live=live)


def _queued(pipeline: Any, args: Any, kwargs: Any) -> Asked | None:
    """Return `lookup` of each command that a pipeline is about to execute, and then forget."""
    if _layer():
        return None
    queued: list[bool | None] = []
    if isinstance(stack := getattr(pipeline, "command_stack", None), list) and stack:
        queued = [lookup(getattr(item, "args", None) or item[0]) for item in stack]
    else:
        holder = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster, since 6.2
        for name in ("_command_queue", "_command_stack"):
            if stack := getattr(holder, name, None):
                queued = [lookup(item.args) for item in stack]
                break
    return queued, args, kwargs


def _executed(pipeline: Any, queued: list[bool | None], answers: Any) -> Any:
    if any(many is not None for many in queued) and len(queued) == len(answers):
        meter = meter_of(pipeline)
        for many, answer in zip(queued, answers, strict=True):
            if many is not None and not isinstance(answer, Exception):
                _count_many(meter, answer if many else [answer])
    return answers


def _count_many(meter: ObjectMeter, answer: Any) -> None:
    """Count each value of an answer that is a list."""
    if isinstance(answer, list):  # not answers of several nodes, or converted ones
        for value in answer:
            (meter.miss if value is None else meter.hit)()


execute = counts("redis", _executed, ask=_queued)
"""All commands of a pipeline; a cluster executes some of them again, one by one."""
