"""The hot end of recording: buffers that threads fill without a lock, emptied in batches.

A call takes a tick when it starts and appends its duration when it ends. Both are single calls of
C functions, which the interpreter lock makes whole: nothing is lost and nothing counted twice,
however many threads record. Every `CHUNK` ticks the one whose tick it is folds what has gathered;
so does whoever collects. A batch goes on to the instruments of the pipeline in force (`Delivery`).

An interrupt (Ctrl-C, a signal handler that raises) may come wherever Python calls a function or
returns from one that is written in C. So what must not come apart stands in lines without a call:
those who take a batch change their own state there, and note in the batch that they have it. What
was interrupted is done again by the next fold, and who has the batch already passes it over.
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
"""Ticks between two folds: 32 kB of floats at most, and the fixed cost of a fold is small."""

# Held for the swap of an iterator alone. Reentrant: a finaliser may come by in between.
_swapping = locks.rlock()

_LEVELS_OF_A_FOLD = 60
_LEVELS_OF_IMPORTS = 200
"""How deep functions call each other in a fold, and where it begins a series, which may import
what measures."""


def _has_room(levels: int) -> bool:
    """Return whether functions may still call each other that deep.

    A tool may have come to the limit of that, and end by it. A fold that is begun there would fail
    half done, and lose all calls that wait; later there is room.
    """
    try:
        return _goes_down(levels)
    except RecursionError:
        return False


def _goes_down(levels: int) -> bool:
    return levels == 0 or _goes_down(levels - 1)


class Buffer(ABC):
    """The common part of series of durations. `append` takes seconds.

    `append` is the list's own where nothing stands against it. It is a method of ours for the very
    first sample (which a provider has to see at once, since a series starts when it is first
    measured), under tracing (for exemplars), and where samples may not wait (`Recorder.in_order`).
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
        self._taken: Batch | None = None  # what a fold is about, or was when it was interrupted
        self._settled = 0  # items that were taken in, and ticks that were taken back
        self._is_new = True
        self._ticked = 0
        self._ticking = repeat(None, 0)
        self.tick: Callable[[], None] = self._ticking.__next__
        self.append: Callable[[float], None]
        self.ended: float | None = None
        """When the last call ended, by `time.perf_counter`."""
        self.choose_append()

    def due(self) -> None:
        """Handle the StopIteration of `tick`: fold, and start the next round.

        What an interrupt raises passes, and no tick is taken then.
        """
        ticks: list[None] = []
        try:
            with _swapping:
                # Others take ticks meanwhile, without the lock; and they may have swapped already.
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
            # Who holds the lock may be at a long copy; then the next chunk is twice as long.
            if self.waiting:
                locks.tried(self._recorder.lock, self.fold)

    def fold(self) -> None:
        """Take in what has gathered. With the recorder's lock held; no fault of ours passes."""
        # A finaliser may run in the middle of a fold, and come here in the same thread.
        if self._recorder.folding or not self.waiting:
            return
        self._recorder.folding = True
        try:
            if self._taken is not None:  # an interrupt has ended its fold
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
        """Hand a batch to whoever has not taken it."""
        count = len(batch)
        # Of a series that was forgotten: it is in no figures, and must be in none.
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
        """Make `append` the cheapest that will do."""
        recorder = self._recorder
        if self._is_new or recorder.in_order or recorder.sampled_context is not None:
            self.append = self._append_late
        else:
            self.append = self._items.append

    def put(self, item: object, *, begins: bool) -> None:
        """Append what is more than a duration that went well; at once if a series `begins` so.

        What an interrupt raises passes. Was it inside `fold_now`, the item has been appended;
        otherwise it has not.
        """
        items = self._items
        items += [item]
        if begins or self._recorder.in_order:
            self.fold_now()

    def left(self) -> None:
        """Take back the tick of a call that is counted elsewhere, or never. Never raises."""
        self._settled += 1

    @property
    def ticks(self) -> int:
        """The number of calls that have begun so far."""
        with _swapping:
            return self._ticked - length_hint(self._ticking)

    @property
    def position(self) -> tuple[int, int]:
        """Something else after each tick. Costs less than their number."""
        left = length_hint(self._ticking)  # first: a new iterator is put there last
        return self._ticked, left

    @property
    def waiting(self) -> int:
        """Samples that were not folded yet, or not to the end."""
        taken = self._taken
        return len(self._items) + (0 if taken is None else len(taken))

    @abstractmethod
    def _take(self, batch: Batch) -> None:
        """Count the items of `batch` and hand them to the instruments, unless that was done."""

    def begin_again(self) -> None:
        """Take the next sample at once, for a reader that has seen none yet."""
        self._is_new = True
        self.choose_append()

    @abstractmethod
    def _has_begun(self) -> bool:
        """Return whether the instruments have seen a duration of a successful call."""

    @abstractmethod
    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        """Return the buffer's item for a sample that was taken then, in that span's context."""

    def _append_late(self, seconds: float) -> None:
        """Append in place of the list's own `append`, which no measured call guards."""
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
        """Fold at once, for readers that wait for what was appended just now."""
        with faults.guarded("record"):
            recorder = self._recorder
            if not _has_room(_LEVELS_OF_IMPORTS if self._is_new else _LEVELS_OF_A_FOLD):
                return
            if self._is_new:
                recorder.wake()
            # If it is not free in a moment, that waits for the next fold.
            locks.tried(recorder.lock, self._begin, locks.PATIENCE)

    def _begin(self) -> None:
        self._recorder.make_way(self)
        self.fold()
        if self._is_new and self._has_begun():
            self._is_new = False
            self.choose_append()


def was_put(error: BaseException) -> bool:
    """Return whether the end of a call has been appended before `error` came.

    Caught by who called `append`, `ToolSeries.end` or `Route.keep`, `error` tells by where it came.
    """
    traceback = faults.traceback_of(error)
    called = None if traceback is None else traceback.tb_next
    if called is None or called.tb_frame.f_code.co_name not in _PUT_LATE:
        return True  # when the list's own `append` had returned, or later
    while called is not None and called.tb_frame.f_code not in PUT_ALREADY:
        called = called.tb_next
    return called is not None


_PUT_LATE = {Buffer._append_late.__name__, "end", "_keep_late"}
PUT_ALREADY = {Buffer.fold_now.__code__}
"""The code of functions that are called when an item has been appended."""


class Instruments(Protocol):
    """The instruments of one meter provider that durations are recorded to."""

    in_order: bool
    """Whether each sample has to come at once: in the order in which calls end, and from where."""
    is_full: bool
    """Whether that will be so with one more series: what waits has to come before it."""

    def record(self, metric: Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations. `attributes` is the same object for the same series."""


class Delivery(ABC):
    """Between buffers and instruments, and the lock for what goes from one to the other."""

    window_size: int
    """Latencies that a series keeps for percentiles."""
    folding: bool
    """Whether a buffer is being taken in."""
    era: object
    """The mark of what is in force: another object whenever everything is forgotten.

    A slot asks for it before it looks something up and after it has stored that. So it keeps
    nothing that was forgotten meanwhile; what is forgotten later it is told of. And a call that
    ends after its series was forgotten is handed to nobody.
    """

    def __init__(self) -> None:
        self._instruments: Sequence[Instruments] = ()
        self.in_order = False
        """Whether samples are handed over one by one, as soon as they are there."""
        self.sampled_context: Callable[[], Any] | None = None
        """Gives the context of a sampled span, or None; itself None while nothing traces."""
        # Reentrant: a finaliser may run, and record, while this thread holds the lock.
        self.lock = locks.rlock()
        self.fold_listeners: tuple[Callable[[Buffer, Sequence[Any]], None], ...] = ()
        """The function that gets each batch that was taken in, with the lock held."""
        self.before_fold: tuple[Callable[[], None], ...] = ()
        """Functions that record what they have kept back until samples are handed over."""

    @abstractmethod
    def operation(self, key: Hashable, metric: Metric, attributes: dict[str, Any]) -> Any:
        """Return the data point of `metric` with these attributes, which `key` stands for."""

    @abstractmethod
    def wake(self) -> None:
        """Something is about to be recorded."""

    @property
    def instruments(self) -> Sequence[Instruments]:
        """The instruments that folded durations are recorded to."""
        return self._instruments

    @instruments.setter
    def instruments(self, instruments: Sequence[Instruments]) -> None:
        self.switch(instruments)

    def switch(
        self, instruments: Sequence[Instruments], begin: Callable[[], None] | None = None
    ) -> None:
        """Record to `instruments` from now on; what was recorded before belongs to those before.

        `begin` gives the new ones what the ones before had. It is called when those have had
        everything, and before the new ones get anything: other threads go on recording meanwhile.
        """
        with self.lock:
            self.fold()
            if begin is not None:
                begin()
            self._instruments = instruments
            self.in_order = any(item.in_order for item in instruments)
            self.begin_again()

    def trace_with(self, sampled_context: Callable[[], Any]) -> None:
        """Something traces from now on: ask for the span in which each sample is taken."""
        with self.lock:
            self.sampled_context = sampled_context
            self._choose_appends()

    def trace(self) -> tuple[int, Any] | None:
        """Time and context of a sample that is taken now, if that is under a sampled span."""
        if self.sampled_context is not None:
            with faults.guarded("trace"):
                context = self.sampled_context()
                return None if context is None else (time.time_ns(), context)
        return None

    def begin_again(self) -> None:
        """Begin every series with the next value, for a reader that was added."""
        with self.lock:
            for series in self._buffers():
                series.begin_again()

    def make_way(self, newcomer: Buffer) -> None:
        """Fold all others before `newcomer` begins a series, if that may find no place left.

        With the lock held.
        """
        if not self.in_order and any(item.is_full for item in self._instruments):
            self.fold(but=newcomer)

    def fold(self, but: Buffer | None = None) -> None:
        """Hand everything that has gathered to the instruments. Never raises."""
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
                if instruments.in_order and not self.in_order:  # it has found out that it has to be
                    self.in_order = True
                    self._choose_appends()

    @abstractmethod
    def _buffers(self) -> list[Buffer]:
        """List all buffers."""

    def _choose_appends(self) -> None:
        for series in self._buffers():
            series.choose_append()
