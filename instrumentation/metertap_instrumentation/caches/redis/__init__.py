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

from collections.abc import Sequence

from metertap.patching.patch_set import PatchSet, Target
from metertap_instrumentation.caches.redis.commands import (
    async_execute_command,
    async_not_a_lookup,
    execute_command,
    not_a_lookup,
)
from metertap_instrumentation.caches.redis.meters import derive
from metertap_instrumentation.caches.redis.pipelines import async_execute, execute
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version


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


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.redis"], _patch_sets)
