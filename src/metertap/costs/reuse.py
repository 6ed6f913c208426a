"""The hit rates that an LRU cache of other sizes would have: a bounded sample of its keys.

A key that is looked up again is a hit in every LRU cache with room for the other keys that came in
between: its reuse distance. Most keys are not kept. Those whose salted hash is below a threshold
stand for all (SHARDS: Waldspurger et al., FAST 2015). The threshold falls whenever there are more
than `_MOST`, so memory is bounded. The salt is random and never leaves the process, so no hash
reveals a key. It is done only on request.
"""

from __future__ import annotations

import math
import os
import weakref
from bisect import bisect_left
from collections import defaultdict
from typing import Any

from metertap import faults, locks, state

_MOST = 1000
"""The most keys of a cache that are sampled (0.3 MB)."""
_SPACE = 2**24
_GROWTH = 1.02
"""The ratio of the bounds of a bucket of distances."""


class ReuseDistances:
    """Reuse distances of the keys of one cache, in the order of its lookups."""

    def __init__(self) -> None:
        self.lookups = 0
        # Reentrant: a finaliser or a signal handler may look something up while it is held.
        self._lock = locks.rlock()
        self._is_noting = False
        self._salt = int.from_bytes(os.urandom(8), "big")
        self._below = _SPACE
        self._last: dict[int, int] = {}
        self._times: list[int] = []
        self._found: dict[int, float] = defaultdict(float)
        self._sampled = 0.0

    def saw(self, key: Any) -> None:
        """Note a lookup of `key`, whether it hit or not."""
        mark = hash((self._salt, key))
        with self._lock:
            self.lookups += 1
            if mark % _SPACE >= self._below or self._is_noting:
                return
            self._is_noting = True
            try:
                self._note(mark, self.lookups)
            finally:
                self._is_noting = False

    def _note(self, mark: int, now: int) -> None:
        weight = _SPACE / self._below
        self._sampled += weight
        last = self._last.get(mark)
        if last is not None:
            at = bisect_left(self._times, last)
            distance = (len(self._times) - at - 1) * weight
            del self._times[at]
            self._found[round(math.log(distance + 1, _GROWTH))] += weight
        self._last[mark] = now
        self._times.append(now)
        if len(self._last) > _MOST:
            self._sample_fewer()

    def _sample_fewer(self) -> None:
        self._below = self._below * 7 // 8
        for mark in [mark for mark in self._last if mark % _SPACE >= self._below]:
            del self._times[bisect_left(self._times, self._last.pop(mark))]

    def size_for(self, rate: float) -> tuple[int | None, float]:
        """Return the fewest entries with which that share (0 to 1) of lookups would have hit.

        None if no size has it. The second value is the share of lookups of keys that came again.
        """
        with self._lock:
            found, lookups = sorted(self._found.items()), self._sampled
        hits, size = 0.0, None
        for bucket, count in found:
            hits += count
            if size is None and hits >= rate * lookups:
                size = math.ceil(_GROWTH**bucket)
        return size, hits / lookups if lookups else 0.0


_by_meter: weakref.WeakKeyDictionary[Any, ReuseDistances] = weakref.WeakKeyDictionary()


def is_looked_for() -> bool:
    """Return whether the program's settings ask for it."""
    return state.settings().cost_repeats


def saw(meter: Any, key: Any) -> None:
    """Note a lookup of `key` in the cache that `meter` counts. Never raises."""
    with faults.guarded("cache reuse"):
        found = _by_meter.get(meter)
        if found is None:
            found = _by_meter.setdefault(meter, ReuseDistances())
        found.saw(key)


def distances(name: str, system: str, lookups: int) -> ReuseDistances | None:
    """Return a cache's distances; None unless they cover nearly all of its lookups."""
    with faults.guarded("cache reuse"):
        for meter, found in list(_by_meter.items()):
            is_it = (meter.name, meter.system) == (name, system)
            if is_it and 0.95 * lookups <= found.lookups <= 1.05 * lookups:
                return found
    return None


state.on_reset(_by_meter.clear)
state.on_fork(child=_by_meter.clear)
