"""The series of one kind of operation: requests of one method and name, or sessions.

OpenTelemetry distinguishes more than views: how a request ended, over which transport, in which
protocol version. Each such combination is a `DataPoint` with its own attributes. The data points of
one kind share a buffer, so that their durations stay in the order in which operations ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from metertap import catalogue
from metertap.recording.batch import Batch, Trace
from metertap.recording.buffer import Delivery
from metertap.recording.latency_series import LatencySeries, sums
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from metertap.recording.figures import OperationFigures
    from metertap.recording.percentiles import Percentiles

clock = unmocked.perf_counter


class DataPoint:
    """Operations of one kind with equal attributes: one data point of OpenTelemetry's."""

    __slots__ = ("attributes", "error_type", "has_begun", "series")

    def __init__(
        self, series: OperationSeries, attributes: dict[str, str], error_type: str | None
    ) -> None:
        self.series = series
        self.attributes = attributes
        self.error_type = error_type
        self.has_begun = False

    def record(self, seconds: float, ended: float | None = None) -> None:
        """Record an operation that ended at `ended`, by `time.perf_counter`; default: now."""
        series = self.series
        if series.routes:
            series.settle()
        # Read before it is called: Python finds an instance's function late when called as a
        # method.
        tick = series.tick
        try:
            tick()
        except StopIteration:
            series.due()
        series.ended = clock() if ended is None else ended
        if series.usual is self:
            append = series.append
            append(seconds)
        else:
            series.put(Sample(self, seconds, series.trace()), begins=not self.has_begun)

    def is_awaited(self, _value: object = 0) -> bool:
        """Return whether a reader has to see such a value at once."""
        return not self.has_begun or self.series.is_awaited()

    def items(self, values: Sequence[Any]) -> Sequence[Any]:
        """Return the series' items for durations of successful operations at this data point."""
        if self.series.usual is self:
            return values
        return [value if type(value) is Sample else Sample(self, value, None) for value in values]

    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        """Return the item for an operation with the time and the context that `sampled` has."""
        return Sample(self, seconds, sampled)

    @property
    def recording(self) -> Callable[[float, float], None]:
        """The cheapest function that does what `record` does, as long as the point exists."""
        series = self.series
        return series.record_usual if series.usual is self else self.record


class Sample(NamedTuple):
    """A duration and its data point; with time and context if taken under a sampled span."""

    point: DataPoint
    seconds: float
    trace: tuple[int, Any] | None


class OperationSeries(LatencySeries["OperationFigures"]):
    """Durations of one kind of operation of `metric`, with any outcome.

    In the buffer, a float is a duration in seconds at the `usual` data point (the first at which an
    operation went well) without a sampled span. Every other item is a `Sample`.
    """

    __slots__ = ("_failed", "method", "metric", "name", "points", "usual")

    def __init__(
        self, metric: catalogue.Metric, method: str, name: str | None, recorder: Delivery
    ) -> None:
        super().__init__(recorder)
        self.metric = metric
        self.method = method
        self.name = name
        self.points: list[DataPoint] = []
        self.usual: DataPoint | None = None
        self._failed = 0

    def point(self, attributes: dict[str, str], error_type: str | None) -> DataPoint:
        """Return the data point with exactly these `attributes`. With the recorder's lock held."""
        if error_type is not None:
            error_type = self._bounded(error_type, *(point.error_type for point in self.points))
        for point in self.points:
            if point.attributes is attributes and point.error_type == error_type:
                return point
        point = DataPoint(self, attributes, error_type)
        self.points.append(point)
        if self.usual is None and error_type is None:
            self.usual = point
        return point

    def record_usual(self, seconds: float, ended: float) -> None:
        """Record an operation at the usual data point."""
        tick = self.tick
        try:
            tick()
        except StopIteration:
            self.due()
        self.ended = ended
        append = self.append
        append(seconds)

    def trace(self) -> tuple[int, Any] | None:
        """Return time and context of a sample that is taken now, if it is under a sampled span."""
        return self._recorder.trace()

    def start_over(self) -> None:
        super().start_over()
        self._failed = 0

    def begin_again(self) -> None:
        for point in self.points:
            point.has_begun = False
        super().begin_again()

    def _figures_now(self, percentiles: Percentiles) -> OperationFigures:
        from metertap.recording.figures import OperationFigures  # imported when figures are read

        latencies = self.latencies
        return OperationFigures(
            side=self.metric.side,
            method=self.method,
            name=self.name,
            calls=latencies.count,
            failed=self._failed,
            error_types=dict(self.error_types),
            total_ms=latencies.total,
            minimum_ms=latencies.minimum,
            maximum_ms=latencies.maximum,
            percentiles=percentiles,
            window_samples=len(latencies.window),
            last_call=self.last_call,
        )

    def _take(self, batch: Batch) -> None:
        usual = self.usual
        if usual is not None and set(map(type, batch.durations)) == {float}:
            self.latencies.add_seconds(batch)
            self._hand_over(usual, batch)
            return
        if batch.parts is None:
            batch.parts = self._in_parts(batch.durations)
        in_order, parts = batch.parts
        self.latencies.add_seconds(in_order)
        if self not in batch.taken_by:
            failed: Counter[str] = Counter()
            for point, part in parts.items():
                if point.error_type is not None:
                    failed[point.error_type] += len(part)
            types, count = sums(self.error_types, failed), failed.total()
            self.error_types = types
            self._failed += count
            batch.taken_by[self] = count
        for point, part in parts.items():
            self._hand_over(point, part)

    def _in_parts(self, items: Sequence[Any]) -> tuple[Batch, dict[DataPoint, Batch]]:
        """Return the durations of `items`, all in order, and by data point."""
        parts: dict[DataPoint, tuple[list[float], list[Trace]]] = {}
        for item in items:
            if type(item) is not Sample:
                assert self.usual is not None  # without a usual point, all items are samples
                item = Sample(self.usual, item, None)
            durations, traces = parts.setdefault(item.point, ([], []))
            if item.trace is not None:
                traces.append(Trace(len(durations), *item.trace))
            durations.append(float(item.seconds))
        in_order = [float(item.seconds if type(item) is Sample else item) for item in items]
        return Batch(in_order), {point: Batch(*part) for point, part in parts.items()}

    def _hand_over(self, point: DataPoint, batch: Batch) -> None:
        self._recorder.hand_over(self.metric, batch, point.attributes)
        point.has_begun = True

    def _has_begun(self) -> bool:
        return self.usual is not None and self.usual.has_begun

    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        assert self.usual is not None  # without a usual point, all items are samples
        return Sample(self.usual, seconds, sampled)
