"""The hot end of recording: buffers that threads fill without a lock, emptied in batches.

A call takes a tick when it starts and appends its duration when it ends. Both are single calls of C
functions, which the interpreter lock makes atomic: however many threads record, no call is lost or
counted twice. Every `CHUNK` ticks, the call that takes the last one folds: it takes in what the
list holds. Readers fold before they collect. A batch then goes to the instruments in force
(`Delivery`).

An interrupt (Ctrl-C, a signal handler that raises) may come wherever Python calls a function or
returns from one that is written in C. So changes that belong together stand in lines without a
call: each receiver of a batch changes its own state there, and notes in the batch that it has it.
The next fold repeats what was interrupted, and passes over receivers that have the batch already.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from itertools import islice, repeat
from operator import length_hint
from typing import Any, Protocol

from metertap import faults, locks
from metertap.catalogue import Metric
from metertap.recording.batch import Batch

CHUNK = 1024
"""Ticks between two folds: a list has 32 kB of floats at most, and a fold costs little of that."""

# Held only while an iterator is replaced. Reentrant: a finaliser may record meanwhile.
_swapping = locks.rlock()

_LEVELS_OF_A_FOLD = 60
_LEVELS_OF_IMPORTS = 200
"""The depth of function calls in a fold, and in one that begins a series, which may import."""


def _has_room(levels: int) -> bool:
    """Return whether functions may still call each other to that depth.

    A tool may be at the recursion limit, and about to fail there. A fold begun there would fail
    half done and lose all waiting calls; a later fold has room.
    """
    try:
        return _goes_down(levels)
    except RecursionError:
        return False


def _goes_down(levels: int) -> bool:
    return levels == 0 or _goes_down(levels - 1)


class Buffer(ABC):
    """The common part of series of durations. `append` takes seconds.

    `append` is the list's own method whenever possible. It is a slower one for the very first
    sample (which a provider must see at once, since a series starts with its first measurement),
    under tracing (for exemplars), and where samples may not wait (`Recorder.in_order`).
    """

    __slots__ = (
        "_era",
        "_is_new",
        "_items",
        "_recorder",
        "_settled",
        "_taken",
        "_ticked",
        "_ticking",
        "append",
        "ended",
        "tick",
    )

    def __init__(self, recorder: Delivery) -> None:
        self._recorder = recorder
        self._era = recorder.era
        self._items: list[Any] = []
        self._taken: Batch | None = None  # the batch that is, or was, being folded
        self._settled = 0  # items that were folded, and ticks that were taken back
        self._is_new = True
        self._ticked = 0
        self._ticking = repeat(None, 0)
        self.tick: Callable[[], None] = self._ticking.__next__
        self.append: Callable[[float], None]
        self.ended: float | None = None
        """When the last call ended, by `time.perf_counter`."""
        self.choose_append()

    def due(self) -> None:
        """Handle the StopIteration of `tick`: fold, and begin the next chunk of ticks.

        An interrupt passes, and then no tick is taken.
        """
        ticks: list[None] = []
        try:
            with _swapping:
                # Other threads take ticks without the lock, and one may have begun the chunk
                # already.
                ticks.extend(islice(self._ticking, 1))
                if not ticks:
                    ticking = repeat(None, CHUNK)
                    next(ticking)
                    self._ticked += CHUNK
                    self._ticking = ticking
                    self.tick = ticking.__next__
                    ticks = [None]
            self._fold_if_free()
        except BaseException:
            if ticks:
                self.left()
            raise

    def _fold_if_free(self) -> None:
        with faults.guarded("record"):
            if not _has_room(_LEVELS_OF_IMPORTS if self._is_new else _LEVELS_OF_A_FOLD):
                return
            self._recorder.wake()
            # The thread that holds the lock may copy for long; then the next chunk becomes longer.
            if self.waiting:
                locks.tried(self._recorder.lock, self.fold)

    def fold(self) -> None:
        """Take in the items of the list. With the recorder's lock held; never raises a fault."""
        # A finaliser may run during a fold, and come here in the same thread.
        if self._recorder.folding or not self.waiting:
            return
        self._recorder.folding = True
        try:
            if self._taken is not None:  # an interrupt has ended the fold of that batch
                self._finish(self._taken)
            items = self._items
            count = len(items)
            if count:
                batch = Batch(items[:count])
                self._taken = batch
                del items[:count]
                self._finish(batch)
        finally:
            self._recorder.folding = False

    def _finish(self, batch: Batch) -> None:
        """Hand a batch to each receiver that has not taken it."""
        count = len(batch)
        # A series that was forgotten is in no figures, and instruments must not get it either.
        if self._era is self._recorder.era:
            with faults.guarded("fold"):
                self._take(batch)
                for listen in self._recorder.fold_listeners:
                    if listen not in batch.taken_by:
                        listen(self, batch.durations)
                        batch.taken_by[listen] = count
        self._settled += count
        self._taken = None

    def choose_append(self) -> None:
        """Set `append` to the cheapest function that is correct now."""
        recorder = self._recorder
        if self._is_new or recorder.in_order or recorder.sampled_context is not None:
            self.append = self._append_late
        else:
            self.append = self._items.append

    def put(self, item: object, *, begins: bool) -> None:
        """Append an item that is more than a duration; fold at once if a series `begins` with it.

        An interrupt passes. The item has been appended if the interrupt came inside `fold_now`, and
        not otherwise.
        """
        items = self._items
        items += [item]
        if begins or self._recorder.in_order:
            self.fold_now()

    def left(self) -> None:
        """Take back the tick of a call that counts elsewhere, or not at all. Never raises."""
        self._settled += 1

    @property
    def ticks(self) -> int:
        """The number of calls that have begun so far."""
        with _swapping:
            return self._ticked - length_hint(self._ticking)

    @property
    def position(self) -> tuple[int, int]:
        """A value that changes with each tick, and costs less than their number."""
        left = length_hint(self._ticking)  # first: a new iterator is set last
        return self._ticked, left

    @property
    def waiting(self) -> int:
        """Items that were not folded yet, or not completely."""
        taken = self._taken
        return len(self._items) + (0 if taken is None else len(taken))

    @abstractmethod
    def _take(self, batch: Batch) -> None:
        """Count the items of `batch` and hand them to the instruments, if neither was done yet."""

    def begin_again(self) -> None:
        """Fold the next sample at once, for a reader that has seen none yet."""
        self._is_new = True
        self.choose_append()

    @abstractmethod
    def _has_begun(self) -> bool:
        """Return whether the instruments have got the duration of a successful call."""

    @abstractmethod
    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        """Return the item for a duration with the time and the context that `sampled` has."""

    def _append_late(self, seconds: float) -> None:
        """Append a duration where `list.append` is not enough. No guard is around this."""
        item: object = seconds
        with faults.guarded("record"):
            sampled = self._recorder.trace()
            if sampled is not None:
                item = self.traced(seconds, sampled)
        items = self._items
        items += [item]
        if self._is_new or self._recorder.in_order:
            self.fold_now()

    def fold_now(self) -> None:
        """Fold at once, for readers that must see the item that was just appended."""
        with faults.guarded("record"):
            recorder = self._recorder
            if not _has_room(_LEVELS_OF_IMPORTS if self._is_new else _LEVELS_OF_A_FOLD):
                return
            if self._is_new:
                recorder.wake()
            # If the lock is not free in a moment, the item waits for the next fold.
            locks.tried(recorder.lock, self._begin, locks.PATIENCE)

    def _begin(self) -> None:
        self._recorder.make_way(self)
        self.fold()
        if self._is_new and self._has_begun():
            self._is_new = False
            self.choose_append()


def was_put(error: BaseException) -> bool:
    """Return whether the end of a call had been appended before `error` was raised.

    Callers of `append`, `ToolSeries.end` or `Route.keep` ask; the traceback of `error` tells.
    """
    traceback = faults.traceback_of(error)
    called = None if traceback is None else traceback.tb_next
    if called is None or called.tb_frame.f_code.co_name not in _PUT_LATE:
        return True  # `list.append` had returned by then
    while called is not None and called.tb_frame.f_code not in PUT_ALREADY:
        called = called.tb_next
    return called is not None


_PUT_LATE = {Buffer._append_late.__name__, "end", "_keep_late"}
PUT_ALREADY = {Buffer.fold_now.__code__}
"""The code of functions that run after an item has been appended."""


class Instruments(Protocol):
    """The instruments of one meter provider to which durations are recorded."""

    in_order: bool
    """Whether each sample must come at once, in the order of calls and from the thread of each."""
    is_full: bool
    """Whether one more series would make it so: waiting samples have to come before that."""

    def record(self, metric: Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations. `attributes` is the same object each time for the same series."""


class Delivery(ABC):
    """The way from buffers to instruments, and the lock of that way."""

    window_size: int
    """The number of latencies that a series keeps for percentiles."""
    folding: bool
    """Whether a fold is in progress."""
    era: object
    """An object that is replaced whenever everything is forgotten.

    A slot compares it before it looks a series up and after it has stored the series, so that it
    keeps none that was forgotten meanwhile. Later, `Slot.forget` tells it. The end of a call whose
    series was forgotten is handed to no instrument.
    """

    def __init__(self) -> None:
        self._instruments: Sequence[Instruments] = ()
        self.in_order = False
        """Whether samples are handed over one by one, without waiting for a chunk."""
        self.sampled_context: Callable[[], Any] | None = None
        """Returns the context of the sampled span, if there is one; None while nothing traces."""
        # Reentrant: a finaliser may run, and record, while this thread holds the lock.
        self.lock = locks.rlock()
        self.fold_listeners: tuple[Callable[[Buffer, Sequence[Any]], None], ...] = ()
        """Functions that get each batch that was folded, with the lock held."""
        self.before_fold: tuple[Callable[[], None], ...] = ()
        """Functions that record what they hold back until samples are handed over."""

    @abstractmethod
    def operation(self, key: Hashable, metric: Metric, attributes: dict[str, Any]) -> Any:
        """Return the data point of `metric` with these attributes, identified by `key`."""

    @abstractmethod
    def wake(self) -> None:
        """Note that a record is about to begin."""

    @property
    def instruments(self) -> Sequence[Instruments]:
        """The instruments to which folded durations are recorded."""
        return self._instruments

    @instruments.setter
    def instruments(self, instruments: Sequence[Instruments]) -> None:
        self.switch(instruments)

    def switch(
        self, instruments: Sequence[Instruments], begin: Callable[[], None] | None = None
    ) -> None:
        """Record to `instruments` from now on; the ones before get what was recorded until now.

        `begin` continues the counts of the old instruments on the new ones. It is called when the
        old ones have got everything and the new ones nothing. Other threads go on recording
        meanwhile.
        """
        with self.lock:
            self.fold()
            if begin is not None:
                begin()
            self._instruments = instruments
            self.in_order = any(item.in_order for item in instruments)
            self.begin_again()

    def trace_with(self, sampled_context: Callable[[], Any]) -> None:
        """Take the sampled span of each sample from now on, since the program traces."""
        with self.lock:
            self.sampled_context = sampled_context
            self._choose_appends()

    def trace(self) -> tuple[int, Any] | None:
        """Return time and context of a sample that is taken now, if it is under a sampled span."""
        if self.sampled_context is not None:
            with faults.guarded("trace"):
                context = self.sampled_context()
                return None if context is None else (time.time_ns(), context)
        return None

    def begin_again(self) -> None:
        """Hand over each series' next value at once, for a reader that was added."""
        with self.lock:
            for series in self._buffers():
                series.begin_again()

    def make_way(self, newcomer: Buffer) -> None:
        """Fold all other series before `newcomer` begins one, if the SDK's series limit is near.

        With the lock held.
        """
        if not self.in_order and any(item.is_full for item in self._instruments):
            self.fold(but=newcomer)

    def fold(self, but: Buffer | None = None) -> None:
        """Hand all waiting items to the instruments. Never raises."""
        for record in self.before_fold:
            with faults.guarded("fold"):
                record()
        for series in self._buffers():
            if series.waiting and series is not but:
                with self.lock:
                    series.fold()

    def hand_over(self, metric: Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Pass durations on to the instruments. With the lock held."""
        count = len(batch)
        for instruments in self._instruments:
            if instruments in batch.taken_by:
                continue
            with faults.guarded("instruments"):
                instruments.record(metric, batch, attributes)
                batch.taken_by[instruments] = count
                if instruments.in_order and not self.in_order:  # it has just found out
                    self.in_order = True
                    self._choose_appends()

    @abstractmethod
    def _buffers(self) -> list[Buffer]:
        """List all buffers."""

    def _choose_appends(self) -> None:
        for series in self._buffers():
            series.choose_append()
