"""async-lru: `alru_cache` on coroutine functions and methods, those of the application.

A cache counts its own hits and misses, so these are read and a lookup costs nothing. Patched is
`_LRUCacheWrapper.__init__`, to note what is made: there ends every way of decorating; and
`cache_clear`, to read before the counts go: another event loop clears the cache, too. A caller that
joins a call in progress is a hit, as the library has it.

What a function counted is kept when it ends, which it tells by its finaliser. Not seen: evictions
and entries that expire, which are not counted (entries are).
"""

from __future__ import annotations

import sys
from typing import Any

from metertap.caching.adapter import after, stand_ins
from metertap.patching.patch_set import PatchSet
from metertap.patching.shell import around
from metertap_instrumentation.caches.discovery import FindingInstrumentation
from metertap_instrumentation.libraries import LIBRARIES

_MODULE = "async_lru"
_CLASS = "_LRUCacheWrapper"


class _Ends(PatchSet):
    """Patch set that also gives the library's class a finaliser, which costs lookups nothing."""

    def follow(self, module: Any) -> None:
        """Hear of functions that end, unless the class has a finaliser of its own."""
        cls = getattr(module, _CLASS)
        if not hasattr(cls, "__del__"):
            cls.__del__ = _end

    def uninstall(self) -> None:
        """Take the finaliser away, and undo the patches."""
        cls = getattr(sys.modules.get(_MODULE), _CLASS, None)
        if cls is not None and vars(cls).get("__del__") is _end:
            del cls.__del__
        super().uninstall()


def _end(cache: Any) -> None:
    INSTRUMENTATION.ended(cache)


init = after("async_lru", lambda made, *_call: INSTRUMENTATION.made(made))
"""Notes each coroutine function that is decorated."""
clear = around("async_lru", lambda cache: INSTRUMENTATION.clearing(cache))
"""Reads the counts that are about to go."""


INSTRUMENTATION: FindingInstrumentation = FindingInstrumentation(
    LIBRARIES["caches.async_lru"],
    [_Ends(_MODULE, stand_ins(_CLASS, __init__=init, cache_clear=clear))],
    module=_MODULE,
    class_name=_CLASS,
)
