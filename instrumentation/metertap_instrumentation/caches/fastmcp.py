"""fastmcp: the response cache of a server, by the statistics that it keeps itself.

`ResponseCachingMiddleware` is found when a server gets it, as an argument or by `add_middleware`.
Its store may ask other caches, so `StatisticsWrapper.get` marks that its lookup is counted already.
Servers keep session state and more in stores of the same kind, and read it in each call. Stores in
memory are built on cachetools without being caches: `MemoryCollection.get` hides that.

Lookups of all methods, `tools/call` as well as `tools/list`, are shown together, from when the
cache was found. They are read, so the tools that made them are unknown.

Not seen: a store in memory that a program itself uses as a cache; a middleware that no server got;
entries that are too large, or evicted.
"""

from __future__ import annotations

import contextlib
import re
import sys
import weakref
from typing import Any

from metertap import faults, state
from metertap.caching.adapter import after, stand_ins, within
from metertap.caching.layers import counting
from metertap.caching.meters import read_statistics
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import instances
from metertap.recording.cache_series import Reading, Statistics
from metertap.state import recorder
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_CACHING = "fastmcp.server.middleware.caching"

# By identity, since a middleware may claim to equal another one.
_known: dict[int, tuple[weakref.ref[Any], Reading]] = {}
_stores: dict[int, weakref.ref[Any]] = {}
"""Stores with statistics of a response cache."""
state.on_reset(_known.clear)  # after a reset, the recorder reads them no more


class _Servers(PatchSet):
    """The patch set of the servers' module, which also looks at existing servers."""

    def follow(self, module: Any) -> None:
        """Resume the counts of known servers, and find servers that were made before."""
        for _, reading in list(_known.values()):
            reading.resume()
        for server in instances(module.FastMCP):
            with faults.guarded("fastmcp"):
                _look_at(server)

    def uninstall(self) -> None:
        """Read the found caches for the last time, and undo the patches."""
        for _, reading in list(_known.values()):
            reading.pause()
        super().uninstall()


def _look_at(server: Any) -> None:
    caching = sys.modules.get(_CACHING)
    if caching is None:
        return
    for middleware in getattr(server, "middleware", ()):
        if isinstance(middleware, caching.ResponseCachingMiddleware):
            _found(middleware, server)


attached = after("fastmcp", lambda server, *_call: _look_at(server))
"""`FastMCP(middleware=[...])` and `server.add_middleware(...)`."""
get = within(lambda store, *_call: counting() if id(store) in _stores else contextlib.nullcontext())
"""Wraps a store's `get`: the statistics of a response cache include its lookups already."""


def _found(middleware: Any, server: Any) -> None:
    if id(middleware) in _known:
        return
    called = name(server)
    reading = read_statistics(middleware, "fastmcp", read, natural_name=called, from_now=True)
    _known[id(middleware)] = _forgotten_from(_known, middleware), reading
    _stores[id(middleware._stats)] = _forgotten_from(_stores, middleware._stats)
    recorder().activity()


def _forgotten_from(known: dict[int, Any], item: Any) -> weakref.ref[Any]:
    """Return a reference to `item` that removes it from `known` when it ends."""
    identity = id(item)
    return weakref.ref(item, lambda _: known.pop(identity, None))


def read(middleware: Any) -> Statistics:
    """Return the hits and misses of all methods together."""
    lookups = [method.get for _, method in middleware.statistics() if method is not None]
    return Statistics(sum(get.hit for get in lookups), sum(get.miss for get in lookups))


def name(server: Any) -> str | None:
    """Return the name that the program gave the server; fastmcp's own one is new each time."""
    found = server.name
    made_up = rf"{re.escape(type(server).__name__)}-[0-9a-f]{{4}}"
    if not isinstance(found, str) or not found or re.fullmatch(made_up, found):
        return None
    return f"{found}.responses"


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.fastmcp"],
    [
        _Servers(
            "fastmcp.server.server",
            stand_ins("FastMCP", __init__=attached, add_middleware=attached),
        ),
        PatchSet(
            "key_value.aio.wrappers.statistics.wrapper", stand_ins("StatisticsWrapper", get=get)
        ),
        PatchSet("key_value.aio.stores.memory.store", stand_ins("MemoryCollection", get=within())),
    ],
)
