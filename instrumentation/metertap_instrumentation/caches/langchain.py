"""LangChain: every lookup in a cache of model answers, whatever its backend.

Each backend has its own `lookup` and `alookup`, so they are wrapped in every subclass of
`BaseCache`, including those that are defined later. The default `alookup` calls `lookup` in a
thread, that of `InMemoryCache` calls it directly, and backends are built on redis or redisvl:
whatever is asked inside a lookup is part of it. None is a miss.

Not seen: a cache that is no `BaseCache`; evictions.
"""

from __future__ import annotations

from typing import Any

from metertap.caching.adapter import counts
from metertap.caching.meters import ObjectMeters
from metertap.patching.subclasses import SubclassesPatchSet
from metertap.patching.targets import stand_in
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

meters = ObjectMeters("langchain", supports=frozenset())


def _answered(cache: Any, _asked: None, answer: Any) -> Any:
    meter = meters.of(cache)
    (meter.miss if answer is None else meter.hit)()
    return answer


lookup = counts("langchain", _answered)
"""`cache.lookup(prompt, llm_string)`."""
alookup = counts("langchain", _answered, awaited=True)
"""`await cache.alookup(prompt, llm_string)`; the layer is found where it runs, in another task."""


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.langchain"],
    [
        SubclassesPatchSet(
            "langchain_core.caches",
            "BaseCache",
            {"lookup": lookup, "alookup": alookup},
            target=stand_in,
        )
    ],
)
