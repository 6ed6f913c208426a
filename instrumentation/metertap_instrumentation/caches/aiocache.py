"""aiocache: `get` and `multi_get` of every backend, `@cached` and `@multi_cached` included.

Both are wrapped in `BaseCache`, from which all backends have them; what a backend asks meanwhile
(redis) is part of that lookup. `multi_get` counts each key. aiocache cannot distinguish a stored
None from a missing entry, so that is a miss here, too. `@cached_stampede` looks again when it has
its lock: its first miss is put off, so that one call of the function is one lookup. With
`AIOCACHE_DISABLE=1` nothing is looked up.

A cache's name is its alias in `aiocache.caches`, if it has one.

Not seen: evictions (entries expire by a timer or in the server); a backend that overrides `get`
without calling it. With plugins, which must not see a default of ours, a default is distinguished
from a stored value by identity, and so it is if `BaseCache.get` is not aiocache's own code.
`OptimisticLock` reads the server without `get`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from metertap import faults
from metertap.caching.adapter import (
    NOTHING,
    Ask,
    Asked,
    counts,
    is_own,
    stand_ins,
    with_default,
    within,
)
from metertap.caching.layers import layer, leave_layer, setting
from metertap.caching.meters import ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.patching.patch_set import PatchSet
from metertap.patching.targets import Live
from metertap.patching.tracebacks import hide_frame
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import LIBRARIES

_layer, _set_layer = layer.get, layer.set
_IN_MEMORY = "aiocache.backends.memory"
"""The module of caches that ask no others, unless plugins of the program do."""
KEEPERS.add("aiocache")  # its decorators: the decorated function has the better name


def _alias(cache: Any) -> str | None:
    caches = sys.modules["aiocache.factory"].caches._caches
    return next((alias for alias, found in list(caches.items()) if found is cache), None)


meters = ObjectMeters("aiocache", supports=frozenset(), natural_name=_alias)
_find = meters.find


def _asks(*, known: bool) -> Ask:
    """Return the `Ask` of a lookup of one key; only aiocache's own method gets a default of ours.

    A default of None needs no other: aiocache itself cannot distinguish a stored None.
    """

    def ask(cache: Any, args: Any, kwargs: Any) -> Asked | None:
        if _layer():
            return None
        return with_default(args, kwargs, ours=known and not cache.plugins, unless_none=True)

    return ask


def _answered(cache: Any, defaults: tuple[Any, Any], value: Any) -> Any:
    default, given = defaults
    try:  # the program gets its own default in any case
        # Switched off, it returns None, whatever the default is.
        if value is not None or (given is None and os.environ.get("AIOCACHE_DISABLE") != "1"):
            if _in_stampede() is None:
                meter = _find(id(cache)) or meters.of(cache)
                (meter.miss if value is given else meter.hit)()
            else:
                _looked_up(cache, value is not given)
    except Exception as fault:
        faults.fault("aiocache", fault)
    return default if value is NOTHING else value


def _answered_many(cache: Any, _asked: None, values: Any) -> Any:
    for value in values:  # None is a missing entry
        _looked_up(cache, value is not None)
    return values


def get(method: Callable[..., Any], live: Live) -> Callable[..., Any]:
    """Count `await cache.get(key, default)`; a call with only a key has a faster coroutine."""
    general = counts("aiocache", _answered, ask=_asks(known=is_own(method, "aiocache")))
    otherwise = general(method, live)

    async def call(*args: Any, **kwargs: Any) -> Any:  # as aiocache's own decorators do
        try:
            if kwargs or len(args) != 2 or not live or _layer() or _in_stampede() is not None:
                return await otherwise(*args, **kwargs)
            self: Any = args[0]
            if type(self).__module__ == _IN_MEMORY and not self.plugins:
                value = await method(*args)
            else:
                mark, token = ["aiocache"], None
                try:
                    token = _set_layer(mark)
                    value = await method(*args)
                finally:
                    mark.clear()
                    if token:
                        leave_layer(token)
        except BaseException as error:
            hide_frame(error)
            raise
        try:
            if value is not None or os.environ.get("AIOCACHE_DISABLE") != "1":
                meter = _find(id(self))
                if meter is None:
                    meter = meters.of(self)
                if value is None:
                    meter.miss()
                else:
                    meter.hit()
        except Exception as fault:
            faults.fault("aiocache", fault)
        return value

    return call


multi_get = counts("aiocache", _answered_many)
"""`await cache.multi_get(keys)`."""


class _PutOff(setting):
    """The first miss of a call of `@cached_stampede`, which is settled by the second look."""

    __slots__ = ("cache", "missed", "settled")

    def __init__(self, cache: Any) -> None:
        super().__init__(_put_off, self)
        self.cache = cache
        self.missed = self.settled = False

    def __exit__(self, *raised: object) -> None:
        super().__exit__(*raised)
        with faults.guarded("aiocache"):
            if self.missed and not self.settled:  # it never got its lock
                meters.of(self.cache).miss()


_put_off: ContextVar[_PutOff | None] = ContextVar("metertap_aiocache_put_off", default=None)
_in_stampede = _put_off.get
stampede = within(lambda decorator, *_call: _PutOff(getattr(decorator, "cache", None)))
"""Puts off the first miss of each call of a function under `@cached_stampede`."""


def _looked_up(cache: Any, found: bool) -> None:
    put_off = _in_stampede()
    if put_off is not None and put_off.cache is cache and not put_off.settled:
        if not found and not put_off.missed:
            put_off.missed = True
            return
        put_off.settled = True
    meter = _find(id(cache)) or meters.of(cache)
    (meter.hit if found else meter.miss)()


INSTRUMENTATION = Instrumentation(
    LIBRARIES["caches.aiocache"],
    [
        PatchSet("aiocache.base", stand_ins("BaseCache", get=get, multi_get=multi_get)),
        PatchSet("aiocache.decorators", stand_ins("cached_stampede", decorator=stampede)),
    ],
)
