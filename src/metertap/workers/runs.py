"""Windows of workers: what is new is sent as columns, of all series together."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import compress, count, repeat
from operator import add, getitem, gt, lt, mul, ne, sub
from typing import Any, NamedTuple

from metertap.recording.window import Run, run_of
from metertap.workers.checking import Malformed
from metertap.workers.columns import chooser, with_others

_FACTORS = (1.0, 1000.0)
_MOST_GONE = 64
"""Data is rewritten when a quarter of the window and this many samples are gone from it."""
_FEW = 4
"""The most new samples of each window that are handled one by one, if all have as many."""
NO_RUN = run_of(array("d"), 1.0)
"""The window of a series without samples."""
_run = partial(tuple.__new__, Run)


class Fresh(NamedTuple):
    """The newest samples of a window, which another worker lacks."""

    samples: Sequence[float]
    factor: float
    kept: int
    """The number of samples before these that it has, and that are still in the window."""


class Runs(NamedTuple):
    """The windows of many series: a column for each member of `Run`."""

    data: Sequence[array[float]]
    start: Sequence[int]
    end: Sequence[int]
    factor: Sequence[float]
    ever: Sequence[int]
    window: Sequence[int]

    def at(self, places: Sequence[int]) -> Runs:
        """Return the windows at these places."""
        if len(places) == len(self.data) and [*places] == [*range(len(places))]:
            return self
        return Runs(*map(chooser(places), self))

    def sizes(self) -> list[int]:
        """Return the numbers of samples."""
        return [*map(sub, self.end, self.start)]

    def each(self) -> list[Run]:
        """Return the windows one by one."""
        return [*map(_run, zip(*self, strict=True))]

    def with_others(
        self, places: Sequence[int], others: Runs, size: int, known: Runs | None = None
    ) -> Runs:
        """Return windows of `size` series: these, with `others` at these places.

        A new place without others has an empty window. Columns of `known`, the windows at these
        places, are reused where `others` has the same.
        """
        if len(self.data) == size and not places:
            return self
        columns: Iterable[tuple[Any, Any, Any, Any]] = zip(
            self, others, known or NO_RUN, NO_RUN, strict=True
        )
        return Runs(
            *[
                old if new is there else with_others(old, places, new, size, no)
                for old, new, there, no in columns
            ]
        )


def runs_of(runs: Iterable[Run]) -> Runs:
    """Return windows as columns."""
    columns = [*zip(*runs, strict=True)]
    return Runs(*columns) if columns else Runs(*[()] * len(NO_RUN))


def fresh(now: Run, before: Run | None) -> Fresh:
    """Return what is new in a window since `before`."""
    new = now.size
    if before is not None and _is_later(now, before):
        new = min(new, now.ever - before.ever)
    return Fresh(now.newest(new), now.factor, now.size - new)


def _is_later(now: Run, before: Run) -> bool:
    """Return whether `now` is the same window as `before`, perhaps with newer samples."""
    return now.window == before.window and now.factor == before.factor and now.ever >= before.ever


def completed(sent: Sequence[Sequence[Any]], before: Runs) -> Runs:
    """Return another worker's windows, given those before and what was sent. Raises Malformed.

    `sent` has the columns of `Fresh`. A window that keeps no samples is a new one.
    """
    samples, factors, kept = sent
    if 0 in kept:
        whole = [place for place, number in enumerate(kept) if not number]
        new = [run_of(array("d"), factors[place]) for place in whole]
        before = before.with_others(whole, runs_of(new), len(kept))
    if not {*factors}.issubset(_FACTORS):
        raise Malformed("samples have no unit")
    starts = [*map(sub, before.end, kept)]
    if [*factors] != [*before.factor] or any(map(lt, starts, before.start)):
        raise Malformed("samples are missing")
    data = _data_of(before, starts)
    [*map(array.extend, data, samples)]
    end, lengths = [*map(len, data)], [*map(len, samples)]
    return Runs(
        data,
        [*map(sub, end, map(add, kept, lengths))],
        end,
        before.factor,
        [*map(add, before.ever, lengths)],
        before.window,
    )


def _data_of(runs: Runs, starts: Sequence[int]) -> Sequence[array[float]]:
    """Return the data of windows from their new starts on; samples may be appended to it."""
    if max(starts) <= _MOST_GONE and [*runs.end] == [*map(len, runs.data)]:
        return runs.data
    return [
        data[start:end] if start > _MOST_GONE + (end - start) // 4 or end != len(data) else data
        for data, start, end in zip(runs.data, starts, runs.end, strict=True)
    ]


class Moves(NamedTuple):
    """Samples that have come to windows and gone from them: columns of numbers, or of arrays."""

    come: Sequence[Sequence[Any]]
    gone: Sequence[Sequence[Any]]
    are_arrays: bool
    others: set[int]
    """The places of windows that were replaced, or of which too little is known."""
    sizes: Sequence[int]
    """The present numbers of samples."""

    def scaled(self, scales: Sequence[float]) -> Moves:
        """Return the moves with the samples of each window multiplied."""

        def times(column: Sequence[Any]) -> Sequence[Any]:
            if not self.are_arrays:
                return [*map(mul, column, scales)]
            pairs = zip(column, scales, strict=True)
            return [[sample * scale for sample in samples] for samples, scale in pairs]

        return self._replace(come=[*map(times, self.come)], gone=[*map(times, self.gone)])


def moves(before: Runs, now: Runs) -> Moves:
    """Return what has happened to windows since `before`."""
    come = [*map(sub, now.ever, before.ever)]
    sizes, sizes_before = now.sizes(), before.sizes()
    went = come
    if sizes != sizes_before:
        went = [*map(sub, map(add, sizes_before, come), sizes)]
    others: set[int] = set()
    if now.window != before.window or now.factor != before.factor:
        others.update(compress(count(), map(ne, now.window, before.window)))
        others.update(compress(count(), map(ne, now.factor, before.factor)))
    least, most = min(come, default=0), max(come, default=0)
    if least < 0 or most > min(sizes, default=0):
        others.update(compress(count(), map(gt, repeat(0), come)))
        others.update(compress(count(), map(gt, come, sizes)))
    if least == most <= _FEW and went is come and not others:  # as usual with full windows
        each = range(most)
        return Moves(
            [[*map(getitem, now.data, map(sub, now.end, repeat(on + 1)))] for on in each],
            [[*map(getitem, before.data, map(add, before.start, repeat(on)))] for on in each],
            False,
            others,
            sizes,
        )
    return Moves(
        [[*map(getitem, now.data, map(slice, map(sub, now.end, come), now.end))]],
        [[*map(getitem, before.data, map(slice, before.start, map(add, before.start, went)))]],
        True,
        others,
        sizes,
    )
