"""Caches that count themselves: the application's are found and read, at no cost to a lookup.

Caches that are made while this is installed are noted by the patches of an adapter. Those that were
made before are looked for among the interpreter's objects when somebody first looks at the figures,
and again, at most once a minute, when modules were imported since: these may make caches with a
decorator that they got before it was patched. What a cache has counted before counts, too.

A forked child shows what it looked up itself: what its parent knew of is read at the fork, and what
the child finds by a search of its own begins then.

Not seen: caches in objects that `gc.freeze()` set aside before the first look; what a cache counted
after it was read last, if it is cleared or ends without telling (`clearing`, `ended`).
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from metertap import faults, locks, state
from metertap.caching.meters import FORK_WAITS_SECONDS, NAMES, UNNAMED, read_statistics
from metertap.recording.cache_series import Reading, Statistics
from metertap.state import recorder
from metertap_instrumentation.caches.applications import (
    is_applications,
    is_surely_applications,
    left_of,
    name_of,
    namespaces,
)
from metertap_instrumentation.instrumentation import Instrumentation, PatchSets
from metertap_instrumentation.libraries import Library

RESCAN_SECONDS = 60.0


class FindingInstrumentation(Instrumentation):
    """Finds the caches of one class (`module`:`class_name`) that have a `cache_info()`."""

    def __init__(
        self,
        library: Library,
        patch_sets: PatchSets,
        *,
        module: str,
        class_name: str,
    ) -> None:
        super().__init__(library, patch_sets)
        self.is_on = False
        self._module = module
        self._class_name = class_name
        self._made: dict[int, weakref.ref[Any]] = {}
        self._ended: deque[tuple[Any, str | None, Any]] = deque()
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
        """Undo the patches, and read for the last time what was found."""
        if self.is_on and (self._made or self._readers):
            with faults.guarded(f"{self.name}.last"):
                recorder().cache_figures()
        self.is_on = False
        LOOK.remove(self)
        self._made.clear()
        super().uninstall()

    def made(self, cache: Any) -> None:
        """Note `cache`, which was just made, to be found at the next look."""
        if self.is_on:
            with faults.guarded(self.name):
                identity = id(cache)
                self._made[identity] = weakref.ref(cache, lambda _: self._made.pop(identity, None))
                if is_surely_applications(cache):
                    recorder().activity()

    def kinds(self) -> list[type]:
        """Return the class and all that inherit it, if it is imported."""
        kind = getattr(sys.modules.get(self._module), self._class_name, None)
        found: list[type] = [kind] if isinstance(kind, type) else []
        for kind in found:  # grows meanwhile
            inheriting: list[type] = type.__subclasses__(kind)
            found += [one for one in inheriting if one not in found]
        return found

    def take_made(self) -> list[Any]:
        """Return the caches that were made since this was asked last."""
        made = [self._made.pop(identity, None) for identity in list(self._made)]
        return [cache for reference in made if reference and (cache := reference()) is not None]

    def found(self, cache: Any, *, from_now: bool = False) -> bool:
        """Read `cache` from now on, if it is the application's and is not read already.

        What it counted before counts, too, unless it is to begin `from_now`.
        """
        if self._reader(cache) is not None or not is_applications(cache):
            return False
        reader = _Reader(cache, self)
        if from_now:
            reader.skip()
        self._readers[id(cache)] = weakref.ref(reader)
        reading = read_statistics(cache, self.name, reader, natural_name=name_of(cache))
        reader.reading = weakref.ref(reading)
        return True

    def ended(self, cache: Any) -> None:
        """Keep what `cache` counted: it says that it ends, as only some can.

        This is part of a finaliser, which must not wait: what is new is looked at later.
        """
        if not self.is_on:
            return
        with faults.guarded(self.name):
            identity = id(cache)
            reference = self._readers.get(identity)
            reader = reference() if reference is not None else None
            if reader is not None and reader.cache() in (None, cache):
                reader.end(cache)
            elif not state.is_forked() or identity in self._made:
                info = cache.cache_info()
                if info.hits or info.misses:
                    self._ended.append((left_of(cache), NAMES.given(cache), info))

    def clearing(self, cache: Any) -> None:
        """Keep what `cache` counted: it is about to be cleared, as only some can tell."""
        if not self.is_on:
            return
        reader = self._reader(cache)
        if reader is None:
            with LOOK.lock:
                self.found(cache, from_now=state.is_forked() and id(cache) not in self._made)
            reader = self._reader(cache)
        if reader is not None:
            reader.end(cache)
            reader.begin()

    def count_ended(self) -> None:
        """Count what caches that ended before they were found had counted."""
        while self._ended:
            left, given, info = self._ended.popleft()
            if is_applications(left):
                reading = Reading(lambda: None)
                reading.take(Statistics(info.hits, info.misses))
                name = given or name_of(left) or self.name
                recorder().cache_by_hand(name, self.name, frozenset()).readings.append(reading)

    def forked(self) -> bool:
        """Begin from zero in a forked child. Say whether its parent had left anything to find."""
        left = bool(self._made)
        self._made.clear()
        self._ended.clear()
        return left

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
        found = False
        for namespace in namespaces() if kinds else ():
            for value in list(namespace.values()):
                if type(value) in kinds and is_surely_applications(value):
                    found = self.found(value, from_now=state.is_forked()) or found
        if found:
            recorder().activity()
        UNNAMED.look()


class _Reader:
    """Reads one cache's own figures.

    It counts on where the cache was cleared, and leaves out what was looked up while nothing was
    measured. The series that it is read for holds it, and nothing else does.
    """

    __slots__ = ("__weakref__", "_last", "_of", "_read", "cache", "reading")

    def __init__(self, cache: Any, of: FindingInstrumentation) -> None:
        self.cache = weakref.ref(cache)
        self._of = of
        self._last: Any = (0, 0)
        self._read = Statistics(0, 0)
        self.reading: weakref.ref[Reading]

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

    def end(self, cache: Any) -> None:
        """Read `cache` for the last time."""
        reading = self.reading()
        if reading is not None:
            reading.take(self(cache))

    def begin(self) -> None:
        """Expect the cache to count from zero."""
        self._last = (0, 0)

    def skip(self) -> None:
        """Leave out what was looked up since the cache was read last."""
        cache = self.cache()
        if cache is not None:
            with faults.guarded("cache.statistics"):
                self._last = cache.cache_info()


class _Look:
    """One search for all unpatched caches, made before figures are read."""

    def __init__(self) -> None:
        # Reentrant: what a search sets free may look at the figures as it ends.
        self.lock = locks.rlock()
        self._on: list[FindingInstrumentation] = []
        self._searched: float | None = None
        self._modules = 0
        self._found_at_fork = False

    def add(self, instrumentation: FindingInstrumentation) -> None:
        """Look for the caches of `instrumentation`, too."""
        if instrumentation not in self._on:
            self._on.append(instrumentation)
        self._searched = None
        recorder().on_look(self.look)

    def remove(self, instrumentation: FindingInstrumentation) -> None:
        """Look for the caches of `instrumentation` no more."""
        if instrumentation in self._on:
            self._on.remove(instrumentation)

    def look(self) -> None:
        """Find caches that are new, and name them."""
        with self.lock:
            if not self._find():
                return
        recorder().activity()
        UNNAMED.look()  # in this look already: its own turn may be over

    def _find(self, *, at_fork: bool = False) -> bool:
        on = list(self._on)
        found = [(item, cache, False) for item in on for cache in item.take_made()]
        if on and self._is_due(at_fork):
            found += [(item, cache, state.is_forked()) for item, cache in _search(on)]
        for item in on:
            with faults.guarded(item.name):
                item.count_ended()
                if found:
                    item.forget_ended()
        new = False
        for item, cache, from_now in found:
            with faults.guarded(item.name):
                new = item.found(cache, from_now=from_now) or new
        return new

    def before_fork(self) -> None:
        """Find everything, so that a child can tell what its parent looked up from its own.

        To look for caches takes as long as it does for the first view of the figures, and is done
        again only when modules were imported since.
        """
        if self._on and self.lock.acquire(timeout=FORK_WAITS_SECONDS):
            self._found_at_fork = self._find(at_fork=True)

    def forked_in_parent(self) -> None:
        """Let other threads of the parent look again."""
        with contextlib.suppress(RuntimeError):  # it was not waited for any longer
            self.lock.release()
        if self._found_at_fork:
            self._found_at_fork = False
            recorder().activity()

    def forked(self) -> None:
        """Begin from zero in a forked child: after this, what was found is read from here on."""
        for item in self._on:
            if item.forked():
                self._searched = None

    def _is_due(self, at_fork: bool) -> bool:
        now, modules = time.monotonic(), len(sys.modules)
        if self._searched is not None and (
            modules <= self._modules or (now - self._searched < RESCAN_SECONDS and not at_fork)
        ):
            return False
        self._searched, self._modules = now, modules
        return True


def _search(on: Sequence[FindingInstrumentation]) -> list[tuple[FindingInstrumentation, Any]]:
    """Find all caches that there are.

    An object refers to its class. To ask who refers to a class makes no list of all objects, and is
    several times as fast as that.
    """
    of = {kind: item for item in on for kind in item.kinds()}
    if not of:
        return []
    return [(of[type(cache)], cache) for cache in gc.get_referrers(*of) if type(cache) in of]


LOOK = _Look()
state.on_fork(before=LOOK.before_fork, parent=LOOK.forked_in_parent, child=LOOK.forked)
