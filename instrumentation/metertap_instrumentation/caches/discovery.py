"""Caches that count themselves: the application's are found and read, at no cost to a lookup.

Caches that are made while this is installed are noted by the patches of an adapter. Those that were
made before are looked for among the interpreter's objects when somebody first looks at the figures,
and again, at most once a minute, when modules were imported since: these may make caches with a
decorator that they got before it was patched.

Counting begins with `instrument()`. What a cache of a module or of a class counted before is left
out, unless it is to count (`is_late`). One that only the search finds (in a function, in an
instance) is read from its own beginning, since nothing tells whether it was made, or asked, before
or after.

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
from collections.abc import Sequence
from typing import Any

from metertap import faults, locks, state
from metertap.caching.meters import FORK_WAITS_SECONDS, NAMES, UNNAMED, read_statistics
from metertap.recording.cache_series import Reading, Statistics
from metertap.state import recorder
from metertap_instrumentation.caches import applications
from metertap_instrumentation.instrumentation import Instrumentation, PatchSets
from metertap_instrumentation.libraries import Library

RESCAN_SECONDS = 60.0


class FindingInstrumentation(Instrumentation):
    """Finds the caches of one class (`module`:`class_name`) that have a `cache_info()`."""

    def __init__(
        self, library: Library, patch_sets: PatchSets, *, module: str, class_name: str
    ) -> None:
        super().__init__(library, patch_sets)
        self.is_on = False
        self._module = module
        self._class_name = class_name
        self._made: dict[int, weakref.ref[Any]] = {}
        self._ended: deque[tuple[Any, str | None, Any]] = deque()
        self._readings: dict[int, tuple[weakref.ref[Any], Reading]] = {}
        self._forgotten: dict[int, tuple[weakref.ref[Any], Reading]] = {}
        """Readings from before a reset, so that their earlier lookups are not counted again."""
        state.on_reset(self._forget)

    def install(self) -> None:
        """Patch the library, and find the caches in modules, which costs little."""
        super().install()
        if self.version is None or self.problem is not None:
            return
        for _, reading in (*self._readings.values(), *self._forgotten.values()):
            reading.resume()
        self.is_on = True
        LOOK.add(self)
        self._look_in_modules()

    def uninstall(self) -> None:
        """Read the found caches for the last time, and undo the patches."""
        if self.is_on and (self._made or self._readings):
            with faults.guarded(f"{self.name}.last"):
                recorder().cache_figures()
        self.is_on = False
        for _, reading in list(self._readings.values()):
            reading.pause()
        LOOK.remove(self)
        self._made.clear()
        super().uninstall()

    def made(self, cache: Any) -> None:
        """Note `cache`, which was just made, to be found at the next look."""
        if self.is_on:
            with faults.guarded(self.name):
                identity = id(cache)
                self._made[identity] = weakref.ref(cache, lambda _: self._made.pop(identity, None))
                if applications.is_surely_applications(cache):
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
        if self._reading(cache) is not None or not applications.is_applications(cache):
            return False
        before = self._forgotten.pop(id(cache), None)
        reading = read_statistics(
            cache,
            self.name,
            _statistics,
            natural_name=applications.name_of(cache),
            reading=before[1] if before is not None and before[0]() is cache else None,
            from_now=from_now,
        )
        self._readings[id(cache)] = weakref.ref(cache), reading
        return True

    def ended(self, cache: Any) -> None:
        """Keep what `cache` counted: it says that it ends, as only some can.

        This is part of a finaliser, which must not wait: what is new is looked at later.
        """
        if not self.is_on:
            return
        with faults.guarded(self.name):
            identity = id(cache)
            found = self._readings.get(identity)
            if found is not None and found[0]() in (None, cache):
                found[1].take(_statistics(cache))
            elif not state.is_forked() or identity in self._made:
                info = cache.cache_info()
                if info.hits or info.misses:
                    self._ended.append((applications.left_of(cache), NAMES.given(cache), info))

    def clearing(self, cache: Any) -> None:
        """Keep what `cache` counted: it is about to be cleared, as only some can tell."""
        if not self.is_on:
            return
        reading = self._reading(cache)
        if reading is None:
            with LOOK.lock:
                self.found(cache, from_now=state.is_forked() and id(cache) not in self._made)
            reading = self._reading(cache)
        if reading is not None:
            reading.now()
            reading.cleared()

    def count_ended(self) -> None:
        """Count what caches that ended before they were found had counted."""
        while self._ended:
            left, given, info = self._ended.popleft()
            if applications.is_applications(left):
                reading = Reading(lambda: None)
                reading.take(Statistics(info.hits, info.misses))
                name = given or applications.name_of(left) or self.name
                recorder().cache_by_hand(name, self.name, frozenset()).readings.append(reading)

    def forked(self) -> bool:
        """Begin from zero in a forked child. Say whether its parent had left anything to find."""
        left = bool(self._made)
        self._made.clear()
        self._ended.clear()
        return left

    def forget_ended(self) -> None:
        """Drop the readings of caches that are gone."""
        for readings in (self._readings, self._forgotten):
            for identity, (reference, _) in list(readings.items()):
                if reference() is None:
                    readings.pop(identity, None)

    def _forget(self) -> None:
        """Let every cache be found again, which counts from zero then."""
        for _, reading in self._readings.values():
            reading.forget()
        self._forgotten, self._readings = {**self._forgotten, **self._readings}, {}

    def _reading(self, cache: Any) -> Reading | None:
        found = self._readings.get(id(cache))
        return found[1] if found is not None and found[0]() is cache else None

    def _look_in_modules(self) -> None:
        # Endpoints wait for the first cache that is seen: in a program without tools nobody would
        # ever look; and counting begins now. The search that finds all caches takes too long here.
        kinds = frozenset(self.kinds())
        found = False
        for namespace in applications.namespaces() if kinds else ():
            for cache in applications.defined_in(namespace, kinds):
                if applications.is_surely_applications(cache):
                    found = self.found(cache, from_now=not self.is_late) or found
        if found and not self.is_late:  # else somebody looks, or the process is about to fork
            recorder().activity()
        UNNAMED.look()


def _statistics(cache: Any) -> Statistics:
    info = cache.cache_info()
    return Statistics(info.hits, info.misses, entries=info.currsize)


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
        """Begin from zero in a forked child, which reads the caches of its parent from here on."""
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
    """Find every cache that exists in this process.

    An object refers to its class. To ask who refers to a class makes no list of all objects, and is
    several times as fast as that.
    """
    of = {kind: item for item in on for kind in item.kinds()}
    if not of:
        return []
    return [(of[type(cache)], cache) for cache in gc.get_referrers(*of) if type(cache) in of]


LOOK = _Look()
state.on_fork(before=LOOK.before_fork, parent=LOOK.forked_in_parent, child=LOOK.forked)
