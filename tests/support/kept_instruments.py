"""Instruments that keep what they are handed: a recorder's other end, without an SDK."""

from __future__ import annotations

from typing import NamedTuple

from metertap import catalogue
from metertap.recording.batch import Batch, Trace


class Handed(NamedTuple):
    """One batch that was handed over."""

    metric: str
    attributes: dict[str, str]
    """The very object."""
    durations: list[float]
    traces: list[Trace]


class KeptInstruments:
    """Keeps batches in the order in which they came."""

    def __init__(self, *, in_order: bool = False, is_full: bool = False) -> None:
        self.in_order = in_order
        self.is_full = is_full
        self.handed: list[Handed] = []

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        new = Handed(metric.name, attributes, list(batch.durations), list(batch.traces))
        self.handed += [new]  # no call: an interrupt would come when the batch was kept

    @property
    def durations(self) -> list[float]:
        """All that came, in order."""
        return [seconds for handed in self.handed for seconds in handed.durations]
