"""The hot end of recording: a buffer that threads fill without a lock, emptied in batches.

A call takes a tick when it starts and appends its duration when it ends. Both are single calls of
C functions, which the interpreter lock makes whole: nothing is lost and nothing counted twice,
however many threads record. Every `CHUNK` ticks the one whose tick it is folds what has gathered;
so does whoever collects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from itertools import repeat
from operator import length_hint
from typing import Any, Protocol

from metertap import faults, locks
from metertap.catalogue import Metric
from metertap.recording.batch import Batch

CHUNK = 1024
"""Ticks between two folds: 32 kB of floats at most, and the fixed cost of a fold is small."""

# Held for the swap of an iterator alone. Reentrant: a finaliser may come by in between.
_swapping = locks.rlock()


class Host(Protocol):
    """What a buffer needs of the recorder that holds it."""

    lock: Any
    """Held while what has gathered is taken in."""
    folding: bool
    """Whether a buffer is at that."""
    in_order: bool
    """Whether samples may not wait."""
    window_size: int
    sampled_context: Callable[[], Any] | None
    """None while nothing traces."""

    def trace(self) -> tuple[int, Any] | None:
        """Time and context of a sample that is taken now, if that is under a sampled span."""

    def wake(self) -> None:
        """Something is about to be recorded."""

    def make_way(self, newcomer: Buffer) -> None:
        """`newcomer` is about to begin a series."""

    def hand_over(self, metric: Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Pass durations on to the instruments."""

    def record_operation(
        self, key: Hashable, metric: Metric, attributes: dict[str, str], seconds: float
    ) -> None:
        """Record one duration of `metric`."""


class Buffer(ABC):
    """What series of durations have in common. `append` takes seconds.

    `append` is the list's own where nothing stands against it. It is a method of ours for the very
    first sample (which a provider has to see at once, since a series starts when it is first
    measured), under tracing (for exemplars), and where samples may not wait (`Recorder.in_order`).
    """

    __slots__ = ("_is_new", "_items", "_recorder", "_ticked", "_ticking", "append", "ended", "tick")

    def __init__(self, recorder: Host) -> None:
        self._recorder = recorder
        self._items: list[Any] = []
        self._is_new = True
        self._ticked = 0
        self._ticking = repeat(None, 0)
        self.tick: Callable[[], None] = self._ticking.__next__
        self.append: Callable[[float], None]
        self.ended: float | None = None
        """When the last call ended, by `time.perf_counter`."""
        self.choose_append()

    def due(self) -> None:
        """To be called when `tick` raises StopIteration. Never raises itself."""
        with _swapping:
            # Others take ticks meanwhile, without the lock: asked first, it may be empty then.
            if next(self._ticking, self) is self:
                ticking = repeat(None, CHUNK)
                next(ticking)
                self._ticked += CHUNK
                self._ticking = ticking
                self.tick = ticking.__next__
        self._recorder.wake()
        # Somebody who holds the lock may be at a long copy; then the next chunk is twice as long.
        lock = self._recorder.lock
        if self._items and lock.acquire(blocking=False):
            try:
                self.fold()
            finally:
                lock.release()

    def fold(self) -> None:
        """Take in what has gathered. With the recorder's lock held; never raises."""
        items = self._items
        count = len(items)
        # A finaliser may run in the middle of a fold, and come here in the same thread.
        if count and not self._recorder.folding:
            self._recorder.folding = True
            try:
                batch = items[:count]
                del items[:count]
                with faults.guarded("fold"):
                    self._take(batch)
            finally:
                self._recorder.folding = False

    def choose_append(self) -> None:
        """Make `append` the cheapest that will do."""
        if self._is_new or self._recorder.in_order:
            self.append = self._append_now
        elif self._recorder.sampled_context is not None:
            self.append = self._append_traced
        else:
            self.append = self._items.append

    def put(self, item: object, *, begins: bool = False) -> None:
        """Append what is more than a duration that went well; at once if a series `begins` so."""
        self._items.append(item)
        if begins or self._recorder.in_order:
            self._fold_now()

    @property
    def ticks(self) -> int:
        """Ticks taken so far."""
        with _swapping:
            return self._ticked - length_hint(self._ticking)

    @property
    def position(self) -> tuple[int, int]:
        """Something else after each tick. Costs less than their number."""
        left = length_hint(self._ticking)  # first: a new iterator is put there last
        return self._ticked, left

    @property
    def waiting(self) -> int:
        """Samples that were not folded yet."""
        return len(self._items)

    @abstractmethod
    def _take(self, batch: Sequence[Any]) -> None:
        """Count `batch` and hand it to the instruments."""

    def begin_again(self) -> None:
        """The next sample has to come at once: there is a reader that saw none yet."""
        self._is_new = True
        self.choose_append()

    @abstractmethod
    def _has_begun(self) -> bool:
        """Whether the instruments have seen a duration that went well."""

    @abstractmethod
    def _traced(self, seconds: float, time_ns: int, context: Any) -> object:
        """What stands in the buffer for a sample taken under a sampled span."""

    def _append_now(self, seconds: float) -> None:
        self._append_traced(seconds)
        self._fold_now()

    def _append_traced(self, seconds: float) -> None:
        sampled = self._recorder.trace()
        self._items.append(seconds if sampled is None else self._traced(seconds, *sampled))

    def _fold_now(self) -> None:
        recorder = self._recorder
        if self._is_new:
            recorder.wake()
        with recorder.lock:
            recorder.make_way(self)
            self.fold()
            if self._is_new and self._has_begun():
                self._is_new = False
                self.choose_append()
