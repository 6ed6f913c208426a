"""Which commands are lookups, and what their answers say."""

from __future__ import annotations

from typing import Any

from metertap.caching.meters import layer
from metertap_instrumentation.caches.redis.meters import meter_of

_ONE = ("GET", "HGET", "GETEX", "GETDEL")
_MANY = ("MGET", "HMGET")
_LOOKUPS: dict[Any, bool] = {
    form: command in _MANY
    for command in (*_ONE, *_MANY)
    for form in (command, command.lower(), command.encode(), command.lower().encode())
}
"""Whether a lookup answers with a list; other commands are not in here."""

_layer = layer.get


def lookup(args: Any) -> bool | None:
    """Whether a command that is to be counted here answers with a list; None for others."""
    try:
        many = _LOOKUPS.get(args[0])
    except (IndexError, TypeError):  # the library says what is wrong with it
        return None
    return many if _layer() is None else None


def count(client: Any, asked: list[bool | None], answers: Any) -> None:
    """Count lookups: `asked` as `lookup` says, `answers` to all commands."""
    if not any(many is not None for many in asked) or len(asked) != len(answers):
        return
    meter = meter_of(client)
    for many, answer in zip(asked, answers, strict=True):
        if many is None or isinstance(answer, Exception):
            continue
        if many and not isinstance(answer, list):  # of several nodes, or made into something else
            continue
        for value in answer if many else (answer,):
            if value is None:
                meter.miss()
            else:
                meter.hit()
