"""Django's cache framework: `get`, `get_many`, `get_or_set` and their async halves, of any backend.

Each backend has a `get` of its own, so these are wrapped in `BaseCache` and in every class derived
from it: those that exist, and others when `CacheHandler.create_connection` first makes one, which
is how `caches["default"]` gets them. What a lookup asks meanwhile (`get_many` asks `get`, a class
its parent, a backend its redis) is part of it. `has_key`, `in`, `incr` and `incr_version` ask `get`
where a backend has nothing better: no lookups. `get_or_set` looks again once it has stored: its
first look counts.

Django's and diskcache's own `get` are given a default that tells a miss from a stored None, if no
client of the program's class gets it from them. The program's own may do anything with its default,
so it is given the program's; what its parent finds decides, or else whether it answers with the
default: then a stored None is a miss.

A cache is called by its alias in `CACHES`: Django makes one backend a thread and alias, all of one
name. Not seen: evictions; a backend class that is made without `caches` and was defined after
`instrument()` (what it takes from Django's own is seen); a `get` that comes from a mixin and does
not call its parent's.
"""

from __future__ import annotations

from metertap.caching.adapter import stand_ins
from metertap.patching.patch_set import PatchSet
from metertap_instrumentation.caches.django.backends import (
    BACKENDS,
    MODULE,
    Backend,
    create_connection,
)
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_KINDS = ("db", "dummy", "filebased", "locmem", "memcached", "redis")
_HANDLER = stand_ins("CacheHandler", create_connection=create_connection)
INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.django"],
    [
        BACKENDS,
        PatchSet("django.core.cache", _HANDLER),
        *(Backend(f"{MODULE}.{kind}", []) for kind in _KINDS),
        Backend("diskcache.djangocache", []),
    ],
)
