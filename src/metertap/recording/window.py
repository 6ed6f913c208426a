"""Sliding windows of latencies, with exact percentiles and totals."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from metertap.recording.batch import Batch

if TYPE_CHECKING:
    from metertap.recording.figures import LatencyFigures
    from metertap.recording.percentiles import Bands, Percentiles


class Run(NamedTuple):
    """A window at one moment; `factor` turns its samples into milliseconds.

    Later runs of the same window share `data`, to which samples are only appended. So a look at a
    window costs only what is new in it.
    """

    data: array[float]
    start: int
    """The index of the oldest sample in `data`."""
    end: int
    """The index behind the newest sample."""
    factor: float
    ever: int
    """The number of samples that the window has ever had, which tells how many are new."""
    window: int
    """The window's number, unique in this process."""

    @property
    def size(self) -> int:
        """The number of samples."""
        return self.end - self.start

    @property
    def samples(self) -> array[float]:
        """A copy of the samples, oldest first."""
        return self.data[self.start : self.end]

    def oldest(self, count: int) -> array[float]:
        """Return the first `count` samples."""
        return self.data[self.start : self.start + count]

    def newest(self, count: int) -> array[float]:
        """Return the last `count` samples."""
        return self.data[self.end - count : self.end]

    def followed_by(self, new: array[float], kept: int) -> Run:
        """Return the window with `new` samples after the last `kept` of these.

        Not safe for two threads at a time.
        """
        data, _, end, factor, ever, window = self
        start = end - kept
        if len(data) != end or start > _MOST_GONE + kept // 4:
            data, start = data[start:end], 0
        data.extend(new)
        return _run((data, start, len(data), factor, ever + len(new), window))


_run = partial(tuple.__new__, Run)
_MOST_GONE = 64
"""`data` is rewritten when a quarter of the window and this many samples are gone from it."""


def run_of(samples: array[float], factor: float, ever: int | None = None) -> Run:
    """Return a new window with these samples."""
    size = len(samples)
    return Run(samples, 0, size, factor, size if ever is None else ever, new_number())


new_number = count(1).__next__
"""Returns a number for a new window."""


_FEW = 64
"""The most new samples that are inserted one by one; more are cheaper to sort again."""
_SHORT = 256
"""The most samples that are cheaper to sort at each look than to keep sorted."""


class Window:
    """The last `size` latencies, as a ring of doubles: eight bytes each.

    Measured samples come in seconds, those recorded by hand in milliseconds. They are kept as they
    come; once both have come, all are milliseconds. A batch that fills the window is put into the
    ring only when it is read, since the next batch may replace it. Frequent readers find the
    samples near the percentiles sorted, and only new ones have to be inserted.
    """

    __slots__ = ("_bands", "_factor", "_next", "_ring", "_run", "_unread", "_was_sorted", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._run: Run | None = None  # at the last look
        self._ring = array("d")
        self._unread: Sequence[float] = ()  # replaces the whole window, unless empty
        self._bands: Bands | None = None  # from the second look on
        self._was_sorted = False  # and since then only few samples are new
        self._factor = 1000.0  # from the ring's unit to milliseconds
        self._next = 0  # index of the oldest sample, which is replaced next, once the ring is full

    def __len__(self) -> int:
        return len(self._unread) or len(self._ring)

    def add_seconds(self, samples: Sequence[float]) -> None:
        """Add samples in completion order, and drop the oldest."""
        if self._factor == 1.0:
            samples = [seconds * 1000.0 for seconds in samples]
        self._extend(samples)

    def add_milliseconds(self, samples: Sequence[float]) -> None:
        """Add samples in completion order, and keep all samples in milliseconds from now on."""
        if self._factor != 1.0:
            self._read()
            self._ring = array("d", (seconds * 1000.0 for seconds in self._ring))
            self._bands = None
            self._factor = 1.0
        self._extend(samples)

    def percentiles(self) -> Percentiles:
        """Return the percentiles in milliseconds."""
        from metertap.recording.percentiles import Bands, percentiles  # on first use

        if self._bands is not None:
            try:
                return percentiles(self._bands, self._factor)
            except IndexError:  # a percentile lies outside of the bands now
                self._bands = None
        self._read()
        ordered = sorted(self._ring)
        if len(ordered) > _SHORT:
            if self._was_sorted:
                with suppress(IndexError):
                    self._bands = Bands(self._ring, ordered, self.size)
            self._was_sorted = True  # the next look, if any, may find few new samples
        return percentiles(ordered, self._factor)

    def run(self, ever: int) -> Run:
        """Return a copy of the samples; `ever` is the number that the window has ever had."""
        run, size = self._run, len(self)
        if run is None:
            run = run_of(self._in_order(), self._factor, ever)
        elif run.ever != ever:
            new = ever - run.ever
            if run.factor == self._factor and new < size:
                run = run.followed_by(self._last(new), size - new)
            else:
                run = run_of(self._in_order(), self._factor, ever)._replace(window=run.window)
        self._run = run
        return run

    def milliseconds(self) -> list[float]:
        """Return the samples in milliseconds, oldest first."""
        return [sample * self._factor for sample in self._in_order()]

    def newest(self, count: int, above: float = -1.0) -> list[float]:
        """Return the last `count` samples in milliseconds, oldest first; all if there are fewer.

        Returns an empty list, at a fraction of the cost, if none of them is `above`.
        """
        part = self._last(min(count, len(self)))
        if not part or max(part) * self._factor <= above:
            return []
        return [sample * self._factor for sample in part]

    def resized(self, size: int) -> Window:
        """Copy the newest samples into a window of another size."""
        window = Window(size)
        window._factor = self._factor
        window._extend(self._in_order())
        return window

    def _last(self, count: int) -> array[float]:
        """Return the last `count` samples in the ring, oldest first, in its unit."""
        self._read()
        start, end = self._next - count, self._next
        return self._ring[start:end] if start >= 0 else self._ring[start:] + self._ring[:end]

    def _in_order(self) -> array[float]:
        self._read()
        return self._ring[self._next :] + self._ring[: self._next]

    def _read(self) -> None:
        if self._unread:
            self._ring, self._next = array("d", self._unread), 0
            self._unread = ()

    def _extend(self, samples: Sequence[float]) -> None:
        if len(samples) > _FEW:
            self._was_sorted, self._bands = False, None
        if len(samples) >= self.size:
            self._unread = samples[-self.size :]
            return
        self._read()
        new = array("d", samples)
        free = self.size - len(self._ring)
        late = new[free:]
        end = self._next + len(late)
        over = end - self.size
        fits = len(late) - over
        bands, self._bands = self._bands, None  # an interrupt may leave them half done
        if bands is not None:
            size, again = len(self._ring), max(0, over)
            added = range(size, size + len(new) - len(late))
            replaced = (*range(self._next, end - again), *range(again))
            bands.replace((*added, *replaced), new)
        # No call from here on, so that an interrupt cannot come in between.
        if free:
            self._ring = self._ring + new[:free]  # of the exact size, unlike extend
        if over < 0:
            self._ring[self._next : end] = late
            self._next = end
        else:
            self._ring[self._next :] = late[:fits]
            self._ring[:over] = late[fits:]
            self._next = over
        if bands is not None:
            bands.ring = self._ring
        self._bands = bands


class LatencyTotals:
    """Durations in milliseconds: their number, sum and extremes, and a window of the last ones."""

    __slots__ = ("count", "maximum", "minimum", "total", "window")

    def __init__(self, window_size: int) -> None:
        self.count = 0
        self.total = 0.0
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.window = Window(window_size)

    def add_seconds(self, batch: Batch) -> None:
        """Add durations in seconds. Raises TypeError, and adds none, if some are no numbers."""
        total = sum(batch.durations)
        ordered = batch.ordered
        self._add(batch, total * 1000.0, ordered[0] * 1000.0, ordered[-1] * 1000.0)
        self._add_to(self.window.add_seconds, batch)

    def add_milliseconds(self, batch: Batch) -> None:
        """Add durations in milliseconds."""
        samples = batch.durations
        self._add(batch, sum(samples), min(samples), max(samples))
        self._add_to(self.window.add_milliseconds, batch)

    def run(self) -> Run:
        """Return a copy of the window."""
        return self.window.run(self.count)

    def resize(self, window_size: int) -> None:
        """Keep the newest samples, in a window of another size."""
        self.window = self.window.resized(window_size)

    def _add(self, batch: Batch, total: float, least: float, most: float) -> None:
        if self in batch.taken_by:
            return
        count = len(batch)
        if self.minimum is not None and self.minimum < least:
            least = self.minimum
        if self.maximum is not None and self.maximum > most:
            most = self.maximum
        self.count += count
        self.total += total
        self.minimum, self.maximum = least, most
        batch.taken_by[self] = count

    def _add_to(self, window: Callable[[Sequence[float]], None], batch: Batch) -> None:
        if self.window not in batch.taken_by:
            window(batch.durations)
            batch.taken_by[self.window] = 0  # the window is full, or has all of them


class Latencies:
    """Latencies of some of a tool's calls: the waiting ones, and the totals of the others."""

    __slots__ = ("_items", "_taken", "_totals", "append")

    def __init__(self, window_size: int) -> None:
        self._items: list[float] = []
        self._taken: Batch | None = None  # the batch that is, or was, being folded
        self.append = self._items.append
        self._totals = LatencyTotals(window_size)

    @property
    def calls(self) -> int:
        """The number of calls, including those that wait."""
        return self._totals.count + len(self._items)

    def fold(self) -> None:
        """Take in the waiting durations, in seconds. With the recorder's lock held."""
        if self._taken is not None:
            self._totals.add_seconds(self._taken)
            self._taken = None
        count = len(self._items)
        if count:
            batch = Batch(self._items[:count])
            self._taken = batch
            del self._items[:count]
            self._totals.add_seconds(batch)
            self._taken = None

    def totals(self) -> tuple[int, float]:
        """Return the number of calls, and their milliseconds. With the recorder's lock held."""
        self.fold()
        return self._totals.count, self._totals.total

    def run(self) -> Run:
        """Return a copy of the last latencies. With the recorder's lock held, after a fold."""
        return self._totals.run()

    def resize(self, window_size: int) -> None:
        """Keep the newest samples that fit the window's new size. With the recorder's lock held."""
        self.fold()
        self._totals.resize(window_size)

    def figures(self) -> LatencyFigures:
        """Return a copy of the figures. With the recorder's lock held."""
        from metertap.recording.figures import LatencyFigures  # imported when figures are read

        self.fold()
        totals = self._totals
        return LatencyFigures(totals.count, totals.total, totals.window.percentiles())
