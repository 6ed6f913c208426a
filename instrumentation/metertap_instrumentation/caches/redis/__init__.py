"""redis-py, sync and asyncio: lookups of clients, pipelines and cluster clients.

All commands of a client pass `execute_command`, which is wrapped. GET, HGET, GETEX and GETDEL are
one lookup, MGET and HMGET one for each key; None is a miss. A pipeline queues commands: `execute`,
which has all results, is wrapped, and so is the immediate execution after a WATCH. A command that
raises, alone or in a pipeline, is neither hit nor miss. A lock that checks whether it is held makes
no lookup.

Clients that share a connection pool are one cache, however many there are: the pool counts, unless
`metertap.name_cache` named the client. Its name is the `client_name`, that of the variable that
holds the pool or one of its clients, or `redis.db0`.

Not seen: evictions, since the server counts them for all its clients together; a command as one
text (`execute_command("GET key")`); a subclass that overrides `execute_command` without calling it.
"""

from __future__ import annotations

from metertap.caching.adapter import stand_ins, within
from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.caches.redis.lookups import execute, execute_command
from metertap_instrumentation.caches.redis.meters import derive
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_SINGLE = [
    *stand_ins("Redis", execute_command=execute_command, pipeline=derive, client=derive),
    *stand_ins("Pipeline", execute=execute, immediate_execute_command=execute_command),
]
_CLUSTER = [
    *stand_ins("RedisCluster", execute_command=execute_command, pipeline=derive),
    *stand_ins("ClusterPipeline", execute=execute, execute_command=execute_command),
]
_LOCK = stand_ins("Lock", locked=within(), owned=within())
INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.redis"],
    [
        PatchSet(f"redis.{half}{module}", targets)
        for half in ("", "asyncio.")
        for module, targets in (("client", _SINGLE), ("cluster", _CLUSTER), ("lock", _LOCK))
    ],
)
