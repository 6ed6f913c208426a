"""Durations kept for a provider that the application may set later.

While metertap records to a provider of its own, it keeps the raw durations too, as doubles and up
to a limit. So the application's provider gets everything since the beginning.
"""

from __future__ import annotations

from array import array

from metertap import catalogue
from metertap.recording.batch import Batch
from metertap.recording.buffer import Instruments

_LIMIT = 20_000
"""The most durations that are kept: 160 kB. Applications set a provider when they start."""
UNTIL_AWAKE = 2_000_000
"""The most durations that are kept until a pipeline is made: 16 MB. That may take seconds on a busy
machine, while other threads record."""


class Journal:
    """Durations, kept until `replay`, or until there are more than `most`."""

    in_order = is_full = False

    def __init__(self, most: int | None = None) -> None:
        self._most = _LIMIT if most is None else most
        self._kept: dict[
            tuple[str, int], tuple[catalogue.Metric, dict[str, str], array[float]]
        ] = {}
        self.count = 0
        """The number of durations that were recorded."""
        self.overflowed = False

    def record(self, metric: catalogue.Metric, batch: Batch, attributes: dict[str, str]) -> None:
        """Keep durations, without the spans in which they were taken."""
        if self.overflowed:
            return
        if self in batch.taken_by:
            return
        new, count = array("d", batch.durations), self.count + len(batch)
        if count > self._most:
            self.count, self.overflowed = count, True
            self._kept.clear()
            return
        # A series' attributes are always the same object, which this entry keeps alive.
        key = (metric.name, id(attributes))
        entry = self._kept.get(key)
        if entry is None:
            entry = self._kept[key] = (metric, attributes, array("d"))
        kept = entry[2]
        kept += new
        self.count = count
        batch.taken_by[self] = count

    def replay(self, instruments: Instruments) -> None:
        """Record everything again into `instruments`."""
        for metric, attributes, durations in self._kept.values():
            instruments.record(metric, Batch(durations), attributes)
