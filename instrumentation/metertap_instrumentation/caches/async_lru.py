"""async-lru: `alru_cache` on coroutine functions and methods, those of the application.

A cache counts its hits and misses itself, so these are read, and a lookup costs nothing. Two
methods are patched: `_LRUCacheWrapper.__init__`, in which every way of decorating ends, to note new
caches; and `cache_clear`, to read the counts before they are cleared, as another event loop does,
too. A caller that joins a call in progress is a hit, as in the library.

A function's counts are kept when it ends, which its finaliser tells. Not seen: evictions and
expired entries, which the library does not count (entries are counted).
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
    """A patch set that also gives the library's class a finaliser, at no cost to lookups."""

    def follow(self, module: Any) -> None:
        """Have the end of functions reported, unless the class has a finaliser of its own."""
        cls = getattr(module, _CLASS)
        if not hasattr(cls, "__del__"):
            cls.__del__ = _end

    def uninstall(self) -> None:
        """Remove the finaliser, and undo the patches."""
        cls = getattr(sys.modules.get(_MODULE), _CLASS, None)
        if cls is not None and vars(cls).get("__del__") is _end:
            del cls.__del__
        super().uninstall()


def _end(cache: Any) -> None:
    INSTRUMENTATION.ended(cache)


init = after("async_lru", lambda made, *_call: INSTRUMENTATION.made(made))
"""Notes each decorated coroutine function."""
clear = around("async_lru", lambda cache: INSTRUMENTATION.clearing(cache))
"""Reads the counts that are about to be cleared."""


INSTRUMENTATION: FindingInstrumentation = FindingInstrumentation(
    LIBRARIES["caches.async_lru"],
    [_Ends(_MODULE, stand_ins(_CLASS, __init__=init, cache_clear=clear))],
    module=_MODULE,
    class_name=_CLASS,
)
