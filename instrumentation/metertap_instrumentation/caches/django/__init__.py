"""Django's cache framework: `get`, `get_many`, `get_or_set` and their async halves, of any backend.

Each backend has a `get` of its own, so these methods are wrapped in `BaseCache` and in all of its
subclasses: the existing ones, and others when `CacheHandler.create_connection` first makes one, as
`caches["default"]` does. What a lookup asks meanwhile (`get_many` calls `get`, a class its parent,
a backend redis) is part of it. `has_key`, `in`, `incr` and `incr_version` call `get` if a backend
has nothing better: no lookups. `get_or_set` looks again after storing: only its first look counts.

Django's and diskcache's own `get` get a default that distinguishes a stored None from a miss,
unless a client of the program's class would get it from them. The program's own `get` may do
anything with its default, so it gets the caller's; what its parent finds decides, or else whether
it returns the default: then a stored None counts as a miss.

A cache's name is its alias in `CACHES`: Django makes one backend for each thread and alias, all
with one name. Not seen: evictions; a backend class that is used without `caches` and was defined
after `instrument()` (methods that it inherits from Django's are seen); a `get` of a mixin that does
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
