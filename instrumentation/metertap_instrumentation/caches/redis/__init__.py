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

from metertap.caching.adapter import within
from metertap.patching.patch_set import PatchSet, Target, stand_in
from metertap_instrumentation.caches.redis.lookups import execute, execute_command
from metertap_instrumentation.caches.redis.meters import derive
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES, Version


def _clients(client: str, pipeline: str, *more: Target) -> list[Target]:
    return [
        stand_in(f"{client}.execute_command", execute_command),
        stand_in(f"{client}.pipeline", derive),
        stand_in(f"{pipeline}.execute", execute),
        *more,
    ]


def _patch_sets(_version: Version) -> Sequence[PatchSet]:
    single = [
        stand_in("Redis.client", derive),
        stand_in("Pipeline.immediate_execute_command", execute_command),
    ]
    queueing = stand_in("ClusterPipeline.execute_command", execute_command)
    looks = [stand_in("Lock.locked", within()), stand_in("Lock.owned", within())]
    return [
        PatchSet("redis.client", _clients("Redis", "Pipeline", *single)),
        PatchSet("redis.asyncio.client", _clients("Redis", "Pipeline", *single)),
        PatchSet("redis.cluster", _clients("RedisCluster", "ClusterPipeline", queueing)),
        PatchSet("redis.asyncio.cluster", _clients("RedisCluster", "ClusterPipeline", queueing)),
        PatchSet("redis.lock", looks),
        PatchSet("redis.asyncio.lock", looks),
    ]


INSTRUMENTATION = Instrumentation(LIBRARIES["caches.redis"], _patch_sets)
