"""Caches that count themselves: the application's are found and read, at no cost to a lookup.

Caches that are made while this is installed are noted by the patches of an adapter. Those that were
made before are looked for among the interpreter's objects when somebody first looks at the figures,
and again, at most once a minute, when modules were imported since: these may make caches with a
decorator that they got before it was patched. What a cache has counted before counts, too.

Not seen: caches in objects that `gc.freeze()` set aside before the first look; what a cache counted
after it was read last, if it ends or is cleared then.
"""

from __future__ import annotations

import gc
import sys
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from metertap import faults, locks
from metertap.caching.meters import UNNAMED, read_statistics
from metertap.patching.patch_set import PatchSet
from metertap.recording.cache_series import Statistics
from metertap.state import recorder
from metertap_instrumentation.caches.applications import (
    is_applications,
    is_surely_applications,
    name_of,
)
from metertap_instrumentation.instrumentation import Instrumentation
from metertap_instrumentation.libraries import Library, Version

RESCAN_SECONDS = 60.0


class FindingInstrumentation(Instrumentation):
    """Finds the caches of one class (`module`:`class_name`) that have a `cache_info()`."""

    def __init__(
        self,
        library: Library,
        patch_sets: Callable[[Version], Sequence[PatchSet]],
        *,
        module: str,
        class_name: str,
    ) -> None:
        super().__init__(library, patch_sets)
        self.is_on = False
        self._module = module
        self._class_name = class_name
        self._made: dict[int, weakref.ref[Any]] = {}
        self._readers: dict[int, weakref.ref[_Reader]] = {}

    def install(self) -> None:
        """Patch, and find what costs nothing to find."""
        super().install()
        if self.version is None or self.problem is not None:
            return
        for reader in self._alive():
            reader.skip()
        self.is_on = True
        LOOK.add(self)
        self._look_in_modules()

    def uninstall(self) -> None:
        """Undo. What was found is read for the last time."""
        if self.is_on and (self._made or self._readers):
            with faults.guarded(f"{self.name}.last"):
                recorder().cache_figures()
        self.is_on = False
        LOOK.remove(self)
        self._made.clear()
        super().uninstall()

    def made(self, cache: Any) -> None:
        """`cache` was just made."""
        if self.is_on:
            with faults.guarded(self.name):
                identity = id(cache)
                self._made[identity] = weakref.ref(cache, lambda _: self._made.pop(identity, None))
                if is_surely_applications(cache):
                    recorder().activity()

    def kinds(self) -> list[type]:
        """The class and all that inherit it, if it is imported."""
        kind = getattr(sys.modules.get(self._module), self._class_name, None)
        found: list[type] = [kind] if isinstance(kind, type) else []
        for kind in found:  # grows meanwhile
            inheriting: list[type] = type.__subclasses__(kind)
            found += [one for one in inheriting if one not in found]
        return found

    def take_made(self) -> list[Any]:
        """What was made since this was asked last."""
        made = [self._made.pop(identity, None) for identity in list(self._made)]
        return [cache for reference in made if reference and (cache := reference()) is not None]

    def found(self, cache: Any) -> None:
        """Read `cache` from now on, if it is the application's and is not read already."""
        if self._reader(cache) is None and is_applications(cache):
            reader = _Reader(cache, self)
            self._readers[id(cache)] = weakref.ref(reader)
            read_statistics(cache, self.name, reader, natural_name=name_of(cache))

    def forget_ended(self) -> None:
        """Drop what is not read any more: its cache is gone, or everything was reset."""
        for identity, reference in list(self._readers.items()):
            if reference() is None:
                self._readers.pop(identity, None)

    def _reader(self, cache: Any) -> _Reader | None:
        reference = self._readers.get(id(cache))
        reader = reference() if reference is not None else None
        return reader if reader is not None and reader.cache() is cache else None

    def _alive(self) -> Iterator[_Reader]:
        for reference in list(self._readers.values()):
            reader = reference()
            if reader is not None:
                yield reader

    def _look_in_modules(self) -> None:
        # Endpoints wait for the first cache that is seen: in a program without tools nobody would
        # ever look. The search that finds all of them takes too long for `instrument()`.
        kinds = frozenset(self.kinds())
        for module in list(sys.modules.values()) if kinds else ():
            namespace = getattr(module, "__dict__", None)
            if type(namespace) is dict:
                for value in list(namespace.values()):
                    if type(value) in kinds and is_surely_applications(value):
                        self.found(value)
        UNNAMED.look()


class _Reader:
    """Reads one cache's own figures.

    It counts on where the cache was cleared, and leaves out what was looked up while nothing was
    measured. The series that it is read for holds it, and nothing else does.
    """

    __slots__ = ("__weakref__", "_last", "_of", "_read", "cache")

    def __init__(self, cache: Any, of: FindingInstrumentation) -> None:
        self.cache = weakref.ref(cache)
        self._of = of
        self._last: Any = (0, 0)
        self._read = Statistics(0, 0)

    def __call__(self, cache: Any) -> Statistics:
        if not self._of.is_on:
            return self._read
        info, last = cache.cache_info(), self._last
        if info != last:
            self._last = info
            cleared = info[0] < last[0] or info[1] < last[1]
            hits, misses = (0, 0) if cleared else (last[0], last[1])
            self._read = Statistics(
                self._read.hits + info.hits - hits,
                self._read.misses + info.misses - misses,
                entries=info.currsize,
            )
        return self._read

    def skip(self) -> None:
        """What was looked up since this was read last does not count."""
        cache = self.cache()
        if cache is not None:
            with faults.guarded("cache.statistics"):
                self._last = cache.cache_info()


class _Look:
    """Finds caches before anybody sees the figures: one search, whatever their libraries."""

    def __init__(self) -> None:
        # Reentrant: what a search sets free may look at the figures as it ends.
        self._lock = locks.rlock()
        self._on: list[FindingInstrumentation] = []
        self._searched: float | None = None
        self._modules = 0

    def add(self, instrumentation: FindingInstrumentation) -> None:
        """Look for this one's caches, too."""
        if instrumentation not in self._on:
            self._on.append(instrumentation)
        self._searched = None
        recorder().on_look(self.look)

    def remove(self, instrumentation: FindingInstrumentation) -> None:
        """Do not look for them any more."""
        if instrumentation in self._on:
            self._on.remove(instrumentation)

    def look(self) -> None:
        """Find what is new."""
        with self._lock:
            on = list(self._on)
            found = [(item, cache) for item in on for cache in item.take_made()]
            if on and self._is_due():
                found += _search(on)
            if not found:
                return
            for item in on:
                item.forget_ended()
            for item, cache in found:
                with faults.guarded(item.name):
                    item.found(cache)
        UNNAMED.look()  # in this look already: its own turn may be over

    def _is_due(self) -> bool:
        now, modules = time.monotonic(), len(sys.modules)
        if self._searched is not None and (
            modules <= self._modules or now - self._searched < RESCAN_SECONDS
        ):
            return False
        self._searched, self._modules = now, modules
        return True


def _search(on: Sequence[FindingInstrumentation]) -> list[tuple[FindingInstrumentation, Any]]:
    """All caches there are. An object refers to its class, and to ask who does makes no list of
    everything: it is several times as fast as that."""
    of = {kind: item for item in on for kind in item.kinds()}
    if not of:
        return []
    return [(of[type(cache)], cache) for cache in gc.get_referrers(*of) if type(cache) in of]


LOOK = _Look()
