"""Caches that count themselves: the application's are found and read, at no cost to lookups.

Caches that are made while this is installed are noted by an adapter's patches. Earlier ones are
searched for among the interpreter's objects at the first look at the figures, and again, at most
once a minute, if modules were imported since: these may make caches with a decorator from before
its patch.

Counting begins with `instrument()`. Earlier counts of a cache in a module or class are left out,
unless the instrumentation `is_late`. A cache that only the search finds (in a function, in an
instance) is read from its own beginning, since it is unknown whether its lookups were before or
after.

A forked child shows its own lookups: caches that its parent knew are read at the fork, and those
that the child finds itself count from then on.

Not seen: caches in objects that `gc.freeze()` set aside before the first look; lookups since the
last look, if a cache is cleared or ends without a report (`clearing`, `ended`).
"""

from __future__ import annotations

import contextlib
import gc
import sys
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Any

from metertap import faults, locks, state
from metertap.caching.meters import FORK_WAITS_SECONDS, NAMES, UNNAMED, read_statistics
from metertap.recording.cache_series import Reading, Statistics
from metertap.state import recorder
from metertap.unmocked import unmocked
from metertap_instrumentation.caches import applications
from metertap_instrumentation.instrumentation import Instrumentation, PatchSets
from metertap_instrumentation.libraries import Library

RESCAN_SECONDS = 60.0


class FindingInstrumentation(Instrumentation):
    """Finder of the caches of one class (`module`:`class_name`), which have a `cache_info()`."""

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
        """Readings from before a reset, whose lookups must not be counted again."""
        state.on_reset(self._forget)

    def install(self) -> None:
        """Patch the library, and find the caches in modules, which takes little time."""
        super().install()
        if self.version is None or self.problem is not None:
            return
        for _, reading in (*self._readings.values(), *self._forgotten.values()):
            reading.resume()
        self.is_on = True
        LOOK.add(self)
        self._look_in_modules()

    def uninstall(self) -> None:
        """Read the caches for the last time, and undo the patches."""
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
        """Note `cache`, which was just made, for the next look."""
        if self.is_on:
            with faults.guarded(self.name):
                identity = id(cache)
                self._made[identity] = weakref.ref(cache, lambda _: self._made.pop(identity, None))
                if applications.is_surely_applications(cache):
                    recorder().activity()

    def kinds(self) -> list[type]:
        """Return the class and all of its subclasses, if it is imported."""
        kind = getattr(sys.modules.get(self._module), self._class_name, None)
        found: list[type] = [kind] if isinstance(kind, type) else []
        for kind in found:  # grows meanwhile
            inheriting: list[type] = type.__subclasses__(kind)
            found += [one for one in inheriting if one not in found]
        return found

    def take_made(self) -> list[Any]:
        """Return the caches that were made since the last call."""
        made = [self._made.pop(identity, None) for identity in list(self._made)]
        return [cache for reference in made if reference and (cache := reference()) is not None]

    def found(self, cache: Any, *, from_now: bool = False) -> bool:
        """Read `cache` from now on, if it is the application's and is not read yet.

        Its earlier counts are included, unless it begins `from_now`.
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
        """Keep the counts of `cache`, which reports its end, as only some kinds can.

        It is called in a finaliser, which must not wait: new caches are looked at later.
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
        """Keep the counts of `cache`, which reports that it is about to be cleared."""
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
        """Count the lookups of caches that ended before they were found."""
        while self._ended:
            left, given, info = self._ended.popleft()
            if applications.is_applications(left):
                reading = Reading(lambda: None)
                reading.take(Statistics(info.hits, info.misses))
                name = given or applications.name_of(left) or self.name
                recorder().cache_by_hand(name, self.name, frozenset()).readings[reading] = None

    def forked(self) -> bool:
        """Begin from zero in a forked child. Return whether its parent had left any to find."""
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
        """Have every cache found again, which then counts from zero."""
        for _, reading in self._readings.values():
            reading.forget()
        self._forgotten, self._readings = {**self._forgotten, **self._readings}, {}

    def _reading(self, cache: Any) -> Reading | None:
        found = self._readings.get(id(cache))
        return found[1] if found is not None and found[0]() is cache else None

    def _look_in_modules(self) -> None:
        # Endpoints wait for the first cache to appear, so in a program without tools nobody would
        # look; and counting begins now. The search for all caches would take too long here.
        kinds = frozenset(self.kinds())
        found = False
        for namespace in applications.namespaces() if kinds else ():
            for cache in applications.defined_in(namespace, kinds):
                if applications.is_surely_applications(cache):
                    found = self.found(cache, from_now=not self.is_late) or found
        if found and not self.is_late:  # else a look, or a fork, is in progress
            recorder().activity()
        UNNAMED.look()


def _statistics(cache: Any) -> Statistics:
    info = cache.cache_info()
    return Statistics(info.hits, info.misses, entries=info.currsize)


class _Look:
    """A search for all caches of unpatched times, made before figures are read."""

    def __init__(self) -> None:
        # Reentrant: objects that a search frees may look at the figures as they end.
        self.lock = locks.rlock()
        self._on: list[FindingInstrumentation] = []
        self._searched: float | None = None
        self._modules = 0
        self._found_at_fork = False

    def add(self, instrumentation: FindingInstrumentation) -> None:
        """Search for the caches of `instrumentation` as well."""
        if instrumentation not in self._on:
            self._on.append(instrumentation)
        self._searched = None
        recorder().on_look(self.look)

    def remove(self, instrumentation: FindingInstrumentation) -> None:
        """Do not search for the caches of `instrumentation` any more."""
        if instrumentation in self._on:
            self._on.remove(instrumentation)

    def look(self) -> None:
        """Find new caches, and name them."""
        with self.lock:
            if not self._find():
                return
        recorder().activity()
        UNNAMED.look()  # now, since its own turn in this look may be over

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
        """Find all caches, so that a child can tell its parent's lookups from its own.

        The search takes as long as the first view of the figures, and is repeated only if modules
        were imported since.
        """
        if self._on and self.lock.acquire(timeout=FORK_WAITS_SECONDS):
            self._found_at_fork = self._find(at_fork=True)

    def forked_in_parent(self) -> None:
        """Let other threads of the parent look again."""
        with contextlib.suppress(RuntimeError):  # the wait was given up
            self.lock.release()
        if self._found_at_fork:
            self._found_at_fork = False
            recorder().activity()

    def forked(self) -> None:
        """Begin from zero in a forked child, which reads its parent's caches from here on."""
        for item in self._on:
            if item.forked():
                self._searched = None

    def _is_due(self, at_fork: bool) -> bool:
        now, modules = unmocked.monotonic(), len(sys.modules)
        if self._searched is not None and (
            modules <= self._modules or (now - self._searched < RESCAN_SECONDS and not at_fork)
        ):
            return False
        self._searched, self._modules = now, modules
        return True


def _search(on: Sequence[FindingInstrumentation]) -> list[tuple[FindingInstrumentation, Any]]:
    """Return every cache that exists in this process.

    An object refers to its class. Asking for the referrers of a class makes no list of all objects,
    and is several times as fast as that.
    """
    of = {kind: item for item in on for kind in item.kinds()}
    if not of:
        return []
    return [(of[type(cache)], cache) for cache in gc.get_referrers(*of) if type(cache) in of]


LOOK = _Look()
state.on_fork(before=LOOK.before_fork, parent=LOOK.forked_in_parent, child=LOOK.forked)
