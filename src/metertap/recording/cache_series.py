"""The series of one cache name: counted lookups, and statistics that are read.

Several cache objects may have one name, at once or one after the other. The counts of an object
stay when it is gone, since a counter never goes back.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from metertap import faults, locks

if TYPE_CHECKING:
    from metertap.recording.figures import CacheFigures

EVICTIONS = "evictions"
REJECTIONS = "rejections"
BOTH = frozenset({EVICTIONS, REJECTIONS})


class Count:
    """A number that threads increase without a lock: the position of an iterator written in C."""

    __slots__ = ("add", "left")

    _MOST = 2**62

    def __init__(self) -> None:
        self.left = repeat(None, self._MOST)
        """The iterator that counts. Taking an item in a `for` costs a fifth of calling `add`."""
        self.add: Callable[[], None] = self.left.__next__

    @property
    def value(self) -> int:
        """The number of calls of `add`."""
        return self._MOST - length_hint(self.left)


class Named(Protocol):
    """The part of a tool's series that a cache needs: its name."""

    name: str


class Lookups(dict[Any, Callable[[], None]]):
    """Counters of one cache's lookups, by the series of the calling tool; None outside of tools."""

    __slots__ = ("_counts", "plus")

    def __init__(self) -> None:
        self._counts: dict[Named | None, Count] = {}
        self.plus: dict[Named | None, int] = {}
        """Lookups of cache objects of this name that are gone."""

    def __missing__(self, tool: Named | None) -> Callable[[], None]:
        # setdefault is atomic: two threads that come first together get the same counter.
        count = self._counts.setdefault(tool, Count())
        self[tool] = count.add
        return count.add

    def outside_tools(self) -> Iterator[None]:
        """Return an iterator: each item taken from it counts a lookup outside of tools."""
        count = self._counts.setdefault(None, Count())
        self[None] = count.add
        return count.left

    def move_to(self, other: Lookups) -> None:
        """Add these lookups, of one cache object, to those of its name."""
        for tool, count in list(self._counts.items()):
            other.plus[tool] = other.plus.get(tool, 0) + count.value

    def add_to(self, totals: dict[str | None, int]) -> None:
        """Add lookups by the tool's name; tools of equal names and other sources are one here."""
        for tool, count in list(self._counts.items()) if self._counts else ():
            name = None if tool is None else tool.name
            totals[name] = totals.get(name, 0) + count.value
        for tool, value in list(self.plus.items()) if self.plus else ():
            name = None if tool is None else tool.name
            totals[name] = totals.get(name, 0) + value


class Statistics(NamedTuple):
    """The counts that a cache keeps itself since it was made or cleared. None is unknown."""

    hits: int
    misses: int
    evictions: int | None = None
    rejections: int | None = None
    entries: int | None = None


Counts = tuple[int, int, int, int]
"""Hits, misses, evictions and rejections."""
_ZERO: Counts = (0, 0, 0, 0)


class Reading:
    """The statistics of one cache object, turned into counters that never go back.

    A cleared cache counts from zero again: the counts of the last look before that are kept. Counts
    from times when nothing was measured are left out. `read` returns None once the object is gone.
    """

    __slots__ = ("__weakref__", "_counts", "_entries", "_is_paused", "read")

    def __init__(self, read: Callable[[], Statistics | None]) -> None:
        self.read = read
        self._counts = (_ZERO, _ZERO)  # what to add to the cache's counts, and the last counts
        self._entries: int | None = None
        self._is_paused = False

    def now(self) -> tuple[Counts, int | None, bool]:
        """Return the four counts so far, the entries, and whether the cache exists."""
        if self._is_paused:
            return self._total(), self._entries, True
        found = self._asked()
        if found is None:
            return self._total(), None, False
        self.take(found)
        self._entries = found.entries
        return self._total(), found.entries, True

    def take(self, found: Statistics) -> None:
        """Take in the cache's own counts, as also at its end."""
        raw = _counts(found)
        before, last = self._counts
        if raw != last and any(map(operator.lt, raw, last)):  # cleared
            before = _sum(before, last)
        self._counts = before, raw

    def cleared(self) -> None:
        """Keep the counts so far: the cache is about to count from zero again."""
        self._counts = self._total(), _ZERO

    def pause(self) -> None:
        """Stop counting until `resume`; keep the counts so far."""
        self.now()
        self._is_paused = True

    def forget(self) -> None:
        """Set a paused reading's counts to zero."""
        self._counts = _negative(self._counts[1]), self._counts[1]

    def resume(self) -> None:
        """Count again, without the lookups made during the pause."""
        self._count_from(self._total())

    def start_over(self) -> None:
        """Count from zero from now on."""
        self._count_from(_ZERO)

    def _count_from(self, total: Counts) -> None:
        found = self._asked()
        last = self._counts[1] if found is None else _counts(found)
        self._counts = _sum(total, _negative(last)), last
        self._is_paused = False

    def _asked(self) -> Statistics | None:
        try:  # not `guarded`: it is called for each of perhaps a thousand caches at each look
            return self.read()
        except Exception as error:
            faults.fault("cache.statistics", error)
            return None

    def _total(self) -> Counts:
        return _sum(*self._counts)


class CacheSeries:
    """The series of one cache name and system. `hits` and `misses` count without a lock.

    `entries` returns the number of the cache's entries; None if it is unknown. `parts` are series
    of cache objects that were found to have this name.
    """

    def __init__(self, name: str, system: str, supports: frozenset[str] | None = None) -> None:
        self.name = name
        self.system = system
        self.supports = BOTH if supports is None else supports
        self.hits = Lookups()
        self.misses = Lookups()
        self.evictions = 0
        self.rejections = 0
        self.entries: Callable[[], int | None] | None = None
        # In dictionaries: a program may have thousands of caches of a name, which end in any order.
        self.parts: dict[CacheSeries, None] = {}
        self.readings: dict[Reading, None] = {}
        self._kept = _ZERO  # counts of read caches that are gone
        self._ended: list[CacheSeries] = []  # parts that are still to be absorbed
        # Reentrant: a signal handler or a finaliser may ask for figures while it is held.
        self._lock = locks.rlock()
        self._is_counting = False

    def figures(self) -> CacheFigures:
        """Return a copy of the counts, for views.

        Not to be called with the recorder's lock held: a cache may hold its own lock while it
        records.
        """
        from metertap.recording.figures import CacheFigures  # imported when figures are read

        hits: dict[str | None, int] = {None: 0}
        misses: dict[str | None, int] = {None: 0}
        with self._lock:  # for views at the same time; and a part must not move while it is counted
            is_within, self._is_counting = self._is_counting, True
            try:
                if not is_within:
                    self._absorb_ended()
                read, entries = self._read()
                evictions, rejections = read[2], read[3]
                for part in (self, *self.parts):
                    if part.hits or part.hits.plus:
                        part.hits.add_to(hits)
                    if part.misses or part.misses.plus:
                        part.misses.add_to(misses)
                    evictions += part.evictions
                    rejections += part.rejections
                    held = part._held() if part.entries is not None else None
                    if held is not None:
                        entries = held + (entries or 0)
            finally:
                self._is_counting = is_within
        is_read = bool(self.readings) or any(self._kept)
        by_tool = {
            tool: (hits.get(tool, 0), misses.get(tool, 0))
            for tool in {**hits, **misses}
            if tool is not None
        }
        return CacheFigures(
            name=self.name,
            system=self.system,
            hits=sum(hits.values()) + read[0],
            misses=sum(misses.values()) + read[1],
            evictions=evictions if EVICTIONS in self.supports else None,
            rejections=rejections if REJECTIONS in self.supports else None,
            by_tool=None if is_read and not by_tool else by_tool,
            entries=entries,
            is_read=is_read,
            objects=len(self.parts) + len(self.readings),
        )

    def absorb(self, part: CacheSeries) -> None:
        """Take over the counts of `part`, whose cache is gone.

        A finaliser calls this, maybe inside `figures` in the same thread: then `figures` does it.
        """
        self._ended.append(part)
        taken: list[bool] = []
        try:
            taken.extend(map(self._lock.acquire, locks.AT_ONCE))
            if True in taken and not self._is_counting:
                self._absorb_ended()
        finally:
            if True in taken:
                self._lock.release()

    def _absorb_ended(self) -> None:
        while self._ended:
            try:
                part = self._ended.pop()
            except IndexError:  # a finaliser in this thread has taken the rest
                return
            if part in self.parts:
                del self.parts[part]
                part.hits.move_to(self.hits)
                part.misses.move_to(self.misses)
                self.evictions += part.evictions
                self.rejections += part.rejections

    def forked(self) -> CacheSeries:
        """Return the series for a forked child, which counts the same cache objects from zero."""
        series = CacheSeries(self.name, self.system, self.supports)
        series.entries = self.entries
        series.readings = self.readings
        for reading in list(series.readings):  # a finaliser may ask for figures
            reading.start_over()
        return series

    def _read(self) -> tuple[Counts, int | None]:
        total, entries = self._kept, None
        for reading in list(self.readings):
            counts, held, alive = reading.now()
            total = _sum(total, counts)
            if not alive:
                self.readings.pop(reading, None)
                self._kept = _sum(self._kept, counts)
            elif held is not None:
                entries = held + (entries or 0)
        return total, entries

    def _held(self) -> int | None:
        if self.entries is not None:
            with faults.guarded("cache.entries"):
                return self.entries()
        return None


def _counts(found: Statistics) -> Counts:
    return found.hits, found.misses, found.evictions or 0, found.rejections or 0


def _negative(counts: Counts) -> Counts:
    return -counts[0], -counts[1], -counts[2], -counts[3]


def _sum(one: Counts, other: Counts) -> Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
