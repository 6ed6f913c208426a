"""What is held for one kind of request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metertap import catalogue
from metertap.recording.batch import Batch, Trace
from metertap.recording.buffer import Buffer, Host


class OperationSeries(Buffer):
    """Durations of one kind of request: seconds, or seconds and where they were taken."""

    __slots__ = ("_attributes", "_begun", "_metric")

    def __init__(
        self, metric: catalogue.Metric, attributes: dict[str, str], recorder: Host
    ) -> None:
        super().__init__(recorder)
        self._metric = metric
        self._attributes = attributes
        self._begun = False

    def record(self, seconds: float) -> None:
        """Record one duration."""
        try:
            self.tick()
        except StopIteration:
            self.due()
        self.append(seconds)

    def _take(self, batch: Sequence[Any]) -> None:
        traces: list[Trace] = []
        if set(map(type, batch)) != {float}:
            traces = [
                Trace(index, *item[1:]) for index, item in enumerate(batch) if type(item) is tuple
            ]
            batch = [item[0] if type(item) is tuple else item for item in batch]
        self._recorder.hand_over(self._metric, Batch(batch, traces), self._attributes)
        self._begun = True

    def begin_again(self) -> None:
        self._begun = False
        super().begin_again()

    def _has_begun(self) -> bool:
        return self._begun

    def _traced(self, seconds: float, time_ns: int, context: Any) -> object:
        return (seconds, time_ns, context)
