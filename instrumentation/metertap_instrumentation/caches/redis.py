"""redis-py, also its asyncio half: what clients, pipelines and cluster clients look up.

All commands of a client go through `execute_command`, so that is wrapped, and of its commands
GET, HGET, GETEX and GETDEL are one lookup, MGET and HMGET one for each key; None is a miss. A
pipeline queues commands: `execute` is wrapped, which has all results, and what answers at once
after a WATCH. What raises, alone or in a pipeline, is neither hit nor miss. A lock that looks
whether it is held makes no lookup.

Clients that share a connection pool are one cache, however many are made: the pool is what counts,
unless `metertap.name_cache` named the client. It is called by its `client_name`, by what the pool
or a client of it is bound to, or `redis.db0`.

Not seen: evictions, for the server counts them for all its clients together; the command as one
text (`execute_command("GET key")`); a subclass that overrides `execute_command` without calling it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from metertap import calls, guard
from metertap.cache_names import KEEPERS
from metertap.caches import NAMES, ObjectMeter, ObjectMeters, counting, layer
from metertap.patching import PatchSet, Target
from metertap_instrumentation.instrumentation import Instrumentation, Version

_ONE = ("GET", "HGET", "GETEX", "GETDEL")
_MANY = ("MGET", "HMGET")
_LOOKUPS: dict[Any, bool] = {
    form: command in _MANY
    for command in (*_ONE, *_MANY)
    for form in (command, command.lower(), command.encode(), command.lower().encode())
}
"""Whether a lookup answers with a list; other commands are not in here."""

_layer = layer.get
_parents: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""The client that a pipeline, or a client of one connection, comes from."""


class Meter(ObjectMeter):
    """Of a connection pool: it is called by what one of its clients is bound to."""

    __slots__ = ("client",)

    def __init__(self, cache: Any, *settings: Any) -> None:
        super().__init__(cache, *settings)
        self.client: Callable[[], Any] = lambda: None
        self.class_name = "redis.cluster"
        if not hasattr(cache, "nodes_manager"):
            self.class_name = f"redis.db{int(_settings(cache).get('db') or 0)}"

    def settle(self, name: str) -> None:
        """Prefer a client's name to the library's own."""
        given = self.natural_name or NAMES.given(self.cache())
        if given is None and _is_the_librarys(name):
            client = self.client()
            (name,) = NAMES.of([(client, None)]) if client is not None else (name,)
            name = self.class_name if _is_the_librarys(name) else name
        super().settle(name)


def _natural_name(cache: Any) -> str | None:
    name = _settings(cache).get("client_name")
    return name if isinstance(name, str) and name else None


meters = ObjectMeters("redis", supports=frozenset(), natural_name=_natural_name, meter=Meter)
KEEPERS.add("redis")  # a pool in a client: the program did not choose that name


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    return [
        PatchSet(
            "redis.client",
            [
                Target("Redis.execute_command", execute_command),
                Target("Redis.pipeline", derive),
                Target("Redis.client", derive),
                Target("Pipeline.immediate_execute_command", execute_command),
                Target("Pipeline.execute", execute),
            ],
        ),
        PatchSet(
            "redis.asyncio.client",
            [
                Target("Redis.execute_command", async_execute_command),
                Target("Redis.pipeline", derive),
                Target("Redis.client", derive),
                Target("Pipeline.immediate_execute_command", async_execute_command),
                Target("Pipeline.execute", async_execute),
            ],
        ),
        PatchSet(
            "redis.cluster",
            [
                Target("RedisCluster.execute_command", execute_command),
                Target("RedisCluster.pipeline", derive),
                Target("ClusterPipeline.execute_command", execute_command),
                Target("ClusterPipeline.execute", execute),
            ],
        ),
        PatchSet(
            "redis.asyncio.cluster",
            [
                Target("RedisCluster.execute_command", async_execute_command),
                Target("RedisCluster.pipeline", derive),
                Target("ClusterPipeline.execute_command", execute_command),
                Target("ClusterPipeline.execute", async_execute),
            ],
        ),
        PatchSet(
            "redis.lock",
            [Target("Lock.locked", not_a_lookup), Target("Lock.owned", not_a_lookup)],
        ),
        PatchSet(
            "redis.asyncio.lock",
            [Target("Lock.locked", async_not_a_lookup), Target("Lock.owned", async_not_a_lookup)],
        ),
    ]


INSTRUMENTATION = Instrumentation(
    name="redis",
    distribution="redis",
    supported=((5, 0), (9,)),
    patch_sets=_patch_sets,
)


def execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """One command; a pipeline that only queues it answers with itself."""
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise
    many = _lookup(args)
    if many is not None and result is not instance:
        with guard.guarded("redis"):
            _count(instance, [many], [result])
    return result


def async_execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """One command, later."""
    many = _lookup(args)
    if many is None:
        return wrapped(*args, **kwargs)
    return _execute_command(wrapped, instance, args, kwargs, many)


async def _execute_command(wrapped: Any, instance: Any, args: Any, kwargs: Any, many: bool) -> Any:
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise
    with guard.guarded("redis"):
        _count(instance, [many], [result])
    return result


def execute(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """All commands of a pipeline; in a cluster, some of them one by one once more."""
    queued = _queued(instance)
    try:
        with counting():
            results = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise
    with guard.guarded("redis"):
        _count(instance, queued, results)
    return results


async def async_execute(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """All commands of a pipeline, later."""
    queued = _queued(instance)
    try:
        with counting():
            results = await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise
    with guard.guarded("redis"):
        _count(instance, queued, results)
    return results


def derive(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`client.pipeline()`: its lookups are the client's."""
    try:
        derived = wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise
    with guard.guarded("redis"):
        _parents[derived] = _parents.get(instance) or weakref.ref(instance)
    return derived


def not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`lock.locked()` gets the lock's own key."""
    try:
        with counting():
            return wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise


async def async_not_a_lookup(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    """`await lock.locked()` does so, too."""
    try:
        with counting():
            return await wrapped(*args, **kwargs)
    except BaseException as error:
        with guard.guarded("redis"):
            calls.hide_frame(error)
        raise


# What a coroutine that nobody awaits is called in Python's warning.
_execute_command.__qualname__ = "Redis.execute_command"
async_execute.__qualname__ = "Pipeline.execute"


def _lookup(args: Any) -> bool | None:
    """Whether a command that is to be counted here answers with a list; None for others."""
    try:
        many = _LOOKUPS.get(args[0])
    except (IndexError, TypeError):  # the library says what is wrong with it
        return None
    return many if _layer() is None else None


def _queued(pipeline: Any) -> list[bool | None]:
    """What a pipeline is about to do: `_lookup` of each command. It forgets them when done."""
    with guard.guarded("redis"):
        if isinstance(stack := getattr(pipeline, "command_stack", None), list) and stack:
            return [_lookup(getattr(item, "args", None) or item[0]) for item in stack]
        holder = getattr(pipeline, "_execution_strategy", pipeline)  # of a cluster since 6.2
        for name in ("_command_queue", "_command_stack"):
            if stack := getattr(holder, name, None):
                return [_lookup(item.args) for item in stack]
    return []


def _count(client: Any, asked: list[bool | None], answers: Any) -> None:
    """Count lookups: `asked` as `_lookup` says, `answers` to all commands."""
    if not any(many is not None for many in asked) or len(asked) != len(answers):
        return
    meter = _meter(client)
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


def _meter(client: Any) -> Meter:
    parent = _parents.get(client)
    known = parent() if parent is not None else None
    client = client if known is None else known
    owner = client
    if NAMES.given(client) is None:
        owner = getattr(client, "connection_pool", client)  # a cluster client has a pool per node
    meter = cast(Meter, meters.of(owner))
    if meter.client() is None:
        meter.client = weakref.ref(client)
    return meter


def _settings(cache: Any) -> dict[str, Any]:
    holder = getattr(cache, "nodes_manager", cache)
    found = getattr(holder, "connection_kwargs", None)
    return found if isinstance(found, dict) else {}


def _is_the_librarys(name: str) -> bool:
    return name.partition(".")[0] == "redis"
