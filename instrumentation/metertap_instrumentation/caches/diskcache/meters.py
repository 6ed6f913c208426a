"""The cache to which a lookup belongs: the shards of a `FanoutCache` are one cache."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import PurePath
from typing import Any

from metertap import faults
from metertap.caching.adapter import after
from metertap.caching.meters import ObjectMeter, ObjectMeters
from metertap.caching.qualified_names import KEEPERS
from metertap.patching.patch_set import PatchSet
from metertap.patching.subclasses import instances
from metertap.recording.cache_series import EVICTIONS

_wholes: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()
"""The `FanoutCache` of each shard."""
_KEPT_INSIDE = ("cache", "deque", "index")
"""Folders in which a `FanoutCache` keeps others, under names that the program gave them."""


def _directory(cache: Any) -> str | None:
    """Return the end of a cache's path that distinguishes it from others: `shop/prices`.

    A name has to be the same after a restart, in whatever order caches are opened.
    """
    path = PurePath(os.path.abspath(cache.directory))
    if path.name.startswith("diskcache-") and os.path.samefile(path.parent, tempfile.gettempdir()):
        return None
    kept = [path.name]
    for folder in path.parents:
        if os.path.expanduser("~") == str(folder):
            kept.insert(0, "~")  # without the user's name
            break
        kept.insert(0, folder.name)
        if folder.name not in _KEPT_INSIDE:
            break
    return "/".join(part for part in kept if part) or None


meters = ObjectMeters("diskcache", supports=frozenset({EVICTIONS}), natural_name=_directory)
KEEPERS.add("diskcache")  # an index has its cache in `_cache`


def meter_of(cache: Any) -> ObjectMeter:
    """Return the meter of `cache`: that of the whole, if it is a shard."""
    return meters.of_part(cache, _find_meter)


def _find_meter(cache: Any) -> ObjectMeter:
    reference = _wholes.get(cache)
    whole = None if reference is None else reference()
    return meters.of(cache if whole is None else whole)


class FanoutPatchSet(PatchSet):
    """The patch set of `FanoutCache`'s module, which also learns the shards of each one."""

    def follow(self, module: Any) -> None:
        """Learn the shards of caches that were made before."""
        for found in instances(module.FanoutCache):
            with faults.guarded("diskcache"):
                _remember(found)


def _remember(fanout: Any) -> None:
    whole = weakref.ref(fanout)
    for shard in fanout._shards:
        _wholes[shard] = whole


made = after("diskcache", lambda fanout, *_call: _remember(fanout))
"""`FanoutCache(directory)`."""
