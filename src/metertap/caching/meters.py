"""Parts of every cache adapter: meters for cache objects, statistics that are read, and names.

An adapter in `metertap_instrumentation.caches` says what is wrapped and what a miss looks like.
This module finds the meter of a cache object, and the object's name.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

from metertap import faults, locks, state
from metertap.caching.cache_meter import CacheMeter
from metertap.caching.names import Names
from metertap.recording.cache_series import BOTH, CacheSeries, Reading, Statistics
from metertap.state import is_enabled, recorder

FORK_WAITS_SECONDS = 1.0
"""The longest, in seconds, that a fork waits for a search for caches."""
NAMES = Names()
"""Names of caches, given by programs or found."""


class ObjectMeter(CacheMeter):
    """Counts the lookups of one cache object, whose name is found when figures are read."""

    __slots__ = (
        "_named",
        "_past",
        "_series",
        "cache",
        "class_name",
        "natural_name",
        "parts",
        "supports",
    )

    def __init__(
        self, cache: Any, system: str, natural_name: str | None, supports: frozenset[str]
    ) -> None:
        self.cache = weakref.ref(cache)
        self.class_name = NAMES.unbound(cache)
        self.natural_name = natural_name
        self.supports = supports
        self.parts: dict[int, weakref.ref[Any]] = {}
        # The series to count on, after the first lookup. In a dictionary, because `setdefault`
        # gives the same series to all threads that come first together.
        self._series: dict[None, CacheSeries] = {}
        self._named: CacheSeries | None = None  # has that as a part, once the cache has a name
        # The series before measuring began anew, and the named one that has it as a part.
        self._past: tuple[CacheSeries, CacheSeries] | None = None
        super().__init__("", system)

    @property
    def name(self) -> str:
        """The name of the cache; empty until figures were read."""
        return self._name

    @property
    def system(self) -> str:
        """The name of the cache's library."""
        return self._system

    def forget(self) -> None:
        """Count on a new series from now on, whose name has to be found again."""
        super().forget()
        series, named = self._series.get(None), self._named
        self._series, self._name, self._named = {}, "", None
        if series is not None and named is not None:
            self._past = series, named

    @property
    def series(self) -> CacheSeries | None:
        """The series on which the next lookup counts; None before the first one."""
        return self._series.get(None)

    def settle(self, series: CacheSeries, name: str) -> None:
        """Show the counts of `series` under the cache's name."""
        if self._past is not None:  # or there would be a part for each new beginning
            (past, named), self._past = self._past, None
            named.absorb(past)
        found = recorder().cache_by_hand(name, self._system, self.supports)
        found.parts[series] = None
        if self.series is series:
            self._name, self._named = found.name, found
        if self.cache() is None:  # the cache ended during the search for its name
            found.absorb(series)

    def end(self) -> None:
        """Move the counts of a cache that is gone to the series of its name."""
        series = self.series
        if series is not None and self._name:
            recorder().cache_by_hand(self._name, self._system, self.supports).absorb(series)

    def _find(self) -> CacheSeries | None:
        if not is_enabled():
            return None
        series = self._series.get(None)
        if series is None:
            # First, since waking the pipeline takes long, and other threads make lookups meanwhile.
            recorder().wake()
            new = CacheSeries("", self._system, self.supports)
            series = self._series.setdefault(None, new)
            if series is new:
                UNNAMED.add(self, new)
        return series


class ObjectMeters:
    """The meters of one library's cache objects, by identity: caches may not be hashable."""

    def __init__(
        self,
        system: str,
        *,
        supports: frozenset[str] = BOTH,
        natural_name: Callable[[Any], object] = lambda _cache: None,
        meter: type[ObjectMeter] = ObjectMeter,
    ) -> None:
        """Begin without meters. `natural_name` returns the library's own name for a cache.

        A result that is no text, or empty, is no name.
        """
        self.system = system
        self._meter_class = meter
        self.supports = supports
        self._natural_name = natural_name
        self.known: dict[int, ObjectMeter] = {}
        """The meters, by the identities of caches and of their parts."""
        self.find = self.known.get

    def of(self, cache: Any) -> ObjectMeter:
        """Return the meter of `cache`; made on first use."""
        meter = self.known.get(id(cache))
        return meter if meter is not None else self._new(cache)

    def of_part(self, part: Any, find: Callable[[Any], ObjectMeter]) -> ObjectMeter:
        """Return the meter of the cache to which `part` (a shard, a client of a pool) belongs.

        `find` finds it: once, and again if that cache is gone.
        """
        identity = id(part)
        meter = self.known.get(identity)
        if meter is None:
            meter = find(part)
            if meter.cache() is not part:
                meter.parts[identity] = weakref.ref(part, lambda _: self._part_gone(identity))
                self.known[identity] = meter
        return meter

    def _new(self, cache: Any) -> ObjectMeter:
        natural = None
        with faults.guarded(f"{self.system}.name"):
            found = NAMES.given(cache) or self._natural_name(cache)
            natural = found if isinstance(found, str) and found else None
        meter = self._meter_class(cache, self.system, natural, self.supports)
        found = self.known.setdefault(id(cache), meter)
        if found is meter:
            end = weakref.finalize(cache, self._gone, id(cache))
            end.atexit = False
        return found

    def _gone(self, identity: int) -> None:
        meter = self.known.pop(identity, None)
        if meter is not None:
            with faults.guarded("caches.end"):
                for part in list(meter.parts):
                    self.known.pop(part, None)
                UNNAMED.name_now(meter)
                meter.end()

    def _part_gone(self, identity: int) -> None:
        with faults.guarded("caches.end"):
            meter = self.known.pop(identity, None)
            if meter is not None:
                meter.parts.pop(identity, None)


class _Unnamed:
    """Meters and readings without names, which are found together in one search."""

    def __init__(self) -> None:
        self._lock = locks.rlock()
        # Changed without the lock, so that lookups do not wait for a search.
        self._meters: dict[CacheSeries, ObjectMeter] = {}
        self._readings: list[tuple[weakref.ref[Any], str, str | None, frozenset[str], Reading]] = []

    def add(self, meter: ObjectMeter, series: CacheSeries) -> None:
        """Name `meter`, which begins to count on `series`, at the next look."""
        self._meters[series] = meter
        recorder().on_look(self.look)
        recorder().activity()

    def read(
        self,
        cache: Any,
        system: str,
        natural_name: str | None,
        supports: frozenset[str],
        reading: Reading,
    ) -> None:
        """Name `cache`, whose statistics `reading` reads, at the next look."""
        with self._lock:
            self._readings.append((weakref.ref(cache), system, natural_name, supports, reading))
        recorder().on_look(self.look)

    def look(self) -> None:
        """Name every meter and reading that has no name yet."""
        with self._lock:
            if not (self._meters or self._readings):
                return
            meters = self._take()
            readings, self._readings = self._readings, []
            wanted = [(meter.cache(), meter.natural_name) for meter, _ in meters]
            wanted += [(cache(), natural) for cache, _, natural, _, _ in readings]
            names = NAMES.of(wanted)
            for (meter, series), name, (cache, _) in zip(meters, names, wanted, strict=False):
                if cache is None:  # it has ended, so no variable refers to it
                    name = meter.natural_name or meter.class_name
                meter.settle(series, name)
            for (cache_of, system, natural, supports, reading), name in zip(
                readings, names[len(meters) :], strict=True
            ):
                if cache_of() is None:
                    name = natural or system
                recorder().cache_by_hand(name, system, supports).readings[reading] = None

    def _take(self) -> list[tuple[ObjectMeter, CacheSeries]]:
        taken = [(self._meters.pop(series, None), series) for series in list(self._meters)]
        # A cache that ends meanwhile, in this thread, has been named.
        return [(meter, series) for meter, series in taken if meter is not None]

    def name_now(self, meter: ObjectMeter) -> None:
        """Name `meter`, whose cache ends before the first look, without a search."""
        # A finaliser must not wait: the thread with the lock may wait for a lock that this one has.
        taken: list[bool] = []
        try:
            taken.extend(map(self._lock.acquire, locks.AT_ONCE))
            if True in taken:
                series = meter.series
                if series is not None and self._meters.pop(series, None) is not None:
                    meter.settle(series, meter.natural_name or meter.class_name)
        finally:
            if True in taken:
                self._lock.release()

    def before_fork(self) -> None:
        """Wait for a look in progress, which is moving readings to their series."""
        self._lock.acquire(timeout=FORK_WAITS_SECONDS)

    def forked_in_parent(self) -> None:
        """Let other threads of the parent look again."""
        with contextlib.suppress(RuntimeError):  # the wait was given up
            self._lock.release()

    def forked(self) -> None:
        """Begin from zero in a forked child, which must not show its parent's lookups."""
        self._meters = {}
        for *_, reading in self._readings:
            reading.start_over()

    def reset(self) -> None:
        """Forget series that wait for a name: the recorder has forgotten everything."""
        with self._lock:
            self._readings = []
            for series in list(self._meters):
                meter = self._meters.get(series)
                if meter is not None and meter.series is not series:  # else it began after that
                    self._meters.pop(series, None)


UNNAMED = _Unnamed()
state.on_reset(UNNAMED.reset)
state.on_fork(before=UNNAMED.before_fork, parent=UNNAMED.forked_in_parent, child=UNNAMED.forked)


def read_statistics(
    cache: Any,
    system: str,
    read: Callable[[Any], Statistics],
    *,
    natural_name: str | None = None,
    supports: frozenset[str] = frozenset(),
    reading: Reading | None = None,
    from_now: bool = False,
) -> Reading:
    """Show `cache` by the statistics that it keeps itself. It is held weakly.

    With `from_now`, earlier counts of the cache are left out. A `reading` that the recorder has
    forgotten may be given, whose counts are left out, too.
    """
    reference = weakref.ref(cache)

    def now() -> Statistics | None:
        alive = reference()
        return None if alive is None else read(alive)

    reading = reading or Reading(now)
    if from_now:
        reading.start_over()
    UNNAMED.read(cache, system, natural_name, supports, reading)
    return reading


def name_cache(cache: object, name: str) -> None:
    """Call `cache` by `name` in every view. To be called before the cache is first used."""
    with faults.guarded("name_cache"):
        try:
            NAMES.give(cache, name)
        except TypeError as error:  # the caller's mistake
            faults.warn_once("name_cache", "name_cache: %s", faults.shown(error, str))
