"""Handing what gathers in buffers to the OpenTelemetry instruments of the pipeline in force."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from metertap import catalogue, faults, locks
from metertap.recording.batch import Batch
from metertap.recording.buffer import Buffer


class Instruments(Protocol):
    """Where durations go: the instruments of one meter provider."""

    in_order: bool
    """Whether each sample has to come at once: in the order in which calls end, and from where."""
    is_full: bool
    """Whether that will be so with one more series: what waits has to come before it."""

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Record durations. `attributes` is the same object for the same series."""


class Delivery(ABC):
    """Between buffers and instruments, and the lock for what goes from one to the other."""

    def __init__(self) -> None:
        self._instruments: Sequence[Instruments] = ()
        self.in_order = False
        """Whether samples are handed over one by one, as soon as they are there."""
        self.sampled_context: Callable[[], Any] | None = None
        """Gives the context of a sampled span, or None; itself None while nothing traces."""
        # Reentrant: a finaliser may run, and record, while this thread holds the lock.
        self.lock = locks.rlock()
        self.folding = False

    @abstractmethod
    def wake(self) -> None:
        """Something is about to be recorded."""

    @property
    def instruments(self) -> Sequence[Instruments]:
        """Where durations go, once they are folded."""
        return self._instruments

    @instruments.setter
    def instruments(self, instruments: Sequence[Instruments]) -> None:
        with self.lock:
            self.fold()  # what was recorded before belongs to those that were there before
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
        """A reader was added: for it, every series begins with the next value."""
        with self.lock:
            for series in self._buffers():
                series.begin_again()

    def make_way(self, newcomer: Buffer) -> None:
        """`newcomer` is about to begin a series. With the lock held."""
        if not self.in_order and any(item.is_full for item in self._instruments):
            self.fold(but=newcomer)

    def fold(self, but: Buffer | None = None) -> None:
        """Hand everything that has gathered to the instruments. Never raises."""
        for series in self._buffers():
            if series.waiting and series is not but:
                with self.lock:
                    series.fold()

    def hand_over(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Pass durations on to the instruments. With the lock held."""
        for instruments in self._instruments:
            with faults.guarded("instruments"):
                instruments.record(metric, batch, attributes)
                if instruments.in_order and not self.in_order:  # it has found out that it has to be
                    self.in_order = True
                    self._choose_appends()

    @abstractmethod
    def _buffers(self) -> list[Buffer]:
        """All that there are."""

    def _choose_appends(self) -> None:
        for series in self._buffers():
            series.choose_append()
