"""The series of one tool: its calls by outcome, and the window of their latencies."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from metertap import catalogue, faults, locks, outcomes
from metertap.recording.batch import Batch, Trace
from metertap.recording.buffer import Delivery
from metertap.recording.latency_series import LatencySeries, sums
from metertap.recording.window import Latencies, Run, run_of
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from metertap.recording.figures import ToolFigures
    from metertap.recording.percentiles import Percentiles
    from metertap.recording.weight_series import WeightSeries

# Kept: a test of the program may replace the function in `time`, and count its calls.
_clock = unmocked.perf_counter
_NONE = run_of(array("d"), 1.0)
_NO_CALLS = dict.fromkeys(outcomes.ALL, 0)
_WELL: tuple[str, str | None] = (outcomes.OK, None)


class Ended(NamedTuple):
    """A call that failed, or has more to it than its duration."""

    outcome: str
    error_type: str | None
    latency_ms: float | None
    """The latency as measured or given: a conversion would change percentiles' last digit."""
    seconds: float
    trace: tuple[int, Any] | None = None


class Mixed:
    """A batch with failed calls, or calls that carry more than a duration, sorted by ending."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.counts: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.unsampled = 0
        self.unsampled_ms = 0.0
        samples: list[float] = []
        # By outcome and error type: each is one series in OpenTelemetry.
        parts: dict[tuple[str, str | None], tuple[list[float], list[Trace]]] = {}
        for item in items:
            if type(item) is float:
                item = (outcomes.OK, None, item * 1000.0, item, None)
            outcome, error_type, latency_ms, seconds, trace = item
            self.counts[outcome] += 1
            if error_type is not None:
                self.types[error_type] += 1
                self.errors[f"{outcome} {error_type}"] += 1
            if latency_ms is None:
                continue
            if outcome in outcomes.SAMPLED:
                samples.append(latency_ms)
            else:
                self.unsampled += 1
                self.unsampled_ms += latency_ms
            kind = outcome, error_type
            part = parts.get(kind)
            if part is None:
                part = parts[kind] = [], []
            if trace is not None:
                part[1].append(Trace(len(part[0]), *trace))
            part[0].append(seconds)
        self.samples = Batch(samples) if samples else None
        self.parts = {kind: Batch(*part) for kind, part in parts.items()}


class ToolSeries(LatencySeries["ToolFigures"]):
    """One tool of one source: counts by outcome, extremes, and the window of its last calls.

    In the buffer, a float is the duration in seconds of a successful call without a sampled span.
    Every other item is an `Ended`.
    """

    __slots__ = (
        "_attributes",
        "_begun",
        "_errors",
        "_first_items",
        "_first_record",
        "counts",
        "looked_up_calls",
        "lookup_sums_before",
        "name",
        "source",
        "unsampled",
        "unsampled_ms",
        "weight",
    )

    def __init__(self, name: str, source: str, recorder: Delivery) -> None:
        super().__init__(recorder)
        self.name = name
        self.source = source
        self.counts: dict[str, int] = _NO_CALLS  # replaced by a new one, never changed
        self._errors: dict[str, int] = {}  # by outcome and type; replaced, never changed
        self.unsampled = 0  # calls whose duration is in no window
        self.unsampled_ms = 0.0
        self._attributes: dict[tuple[str, str | None], dict[str, str]] = {}
        self._begun: tuple[tuple[str, str | None], ...] = ()  # what all readers have seen
        self.looked_up_calls: tuple[Latencies, Latencies] | None = None
        """Latencies of successful calls whose lookups all hit, and of those with a miss."""
        self.lookup_sums_before: dict[str, float] = {}
        """Calls and seconds of such lookups until the last `start_over`."""
        self._first_items: Latencies | None = None
        self._first_record: Callable[[float, float], None] | None = None
        self.weight: WeightSeries | Literal[False] | None = None
        """The series of the tool's weight, once it was looked up; False if there is none."""

    @property
    def active(self) -> int:
        """The number of calls in progress."""
        ticks = self.ticks  # first: a call may end meanwhile, and must not seem active
        return max(0, ticks - self._settled - self.waiting)

    def looked_up(self, hit: bool, missed: bool, seconds: float) -> None:
        """Note that a successful call, which is counted elsewhere, asked caches."""
        try:  # no guard is around this
            if hit or missed:
                both = self.looked_up_calls
                if both is None:
                    both = locks.briefly(self._recorder.lock, self._begin_lookups)
                both[1 if missed else 0].append(seconds)
        except Exception as error:
            faults.fault("record", error)

    def _begin_lookups(self) -> tuple[Latencies, Latencies]:
        size = self._recorder.window_size
        both = self.looked_up_calls or (Latencies(size), Latencies(size))
        self.looked_up_calls = both
        return both

    def lookup_sums(self) -> dict[str, float]:
        """Return calls and seconds of `looked_up_calls` since recording began; empty if none.

        With the recorder's lock held.
        """
        before, both = self.lookup_sums_before, self.looked_up_calls
        if both is None:
            return before
        (hits, hit_ms), (misses, missed_ms) = (calls.totals() for calls in both)
        return {
            "all_hit_calls": before.get("all_hit_calls", 0) + hits,
            "all_hit_seconds": before.get("all_hit_seconds", 0) + hit_ms / 1000.0,
            "missed_calls": before.get("missed_calls", 0) + misses,
            "missed_seconds": before.get("missed_seconds", 0) + missed_ms / 1000.0,
        }

    def first_item(self, seconds: float, given: float | None = None) -> None:
        """Record that a generator's call gave its first item `seconds` after its start.

        `given` is the time of that, by `time.perf_counter`; default: now.
        """
        try:  # no guard is around this
            latencies, record = self._first_items, self._first_record
            if latencies is None or record is None:
                latencies, record = self._first_of_all()
            latencies.append(seconds)
            record(seconds, _clock() if given is None else given)
        except Exception as error:
            faults.fault("record", error)

    def _first_of_all(self) -> tuple[Latencies, Callable[[float, float], None]]:
        recorder = self._recorder

        def begin() -> Latencies:
            latencies = self._first_items = self._first_items or Latencies(recorder.window_size)
            return latencies

        latencies = locks.briefly(recorder.lock, begin)
        metric, attributes = catalogue.TOOL_FIRST_ITEM, {catalogue.TOOL_NAME: self.name}
        point = recorder.operation((metric.name, self.name), metric, attributes)
        self._first_record = point.recording
        return latencies, self._first_record

    def record(self, seconds: float, ended: float) -> None:
        """Count a call that went well, and whose start was counted by `tick`."""
        self.settle()
        self.append(seconds)
        self.ended = ended

    def end(
        self,
        ended: str,
        error_type: str | None,
        latency_ms: float | None,
        seconds: float,
    ) -> None:
        """Count a call that has ended, and whose start was counted by `tick`."""
        if self.routes:
            self.settle()
        self.ended = _clock()
        if error_type is not None:
            known = [named for _, named in self._attributes]  # also from before `start_over`
            error_type = self._bounded(error_type, *known)
        sampled = self._recorder.trace()
        begins = (ended, error_type) not in self._begun
        self.put(Ended(ended, error_type, latency_ms, seconds, sampled), begins=begins)

    def runs(self) -> tuple[Run, ...]:
        """Copy the samples of the figures' percentiles. With the recorder's lock held.

        First those of all calls, then of calls whose lookups all hit, of those with a miss, and of
        the times to the first item; the last three are left out where there are none.
        """
        if self.looked_up_calls is None and self._first_items is None:
            return super().runs()
        parts = (*(self.looked_up_calls or (None, None)), self._first_items)
        return (*super().runs(), *(_NONE if part is None else part.run() for part in parts))

    def _state(self) -> tuple[object, ...]:
        looked_up, first_items = self.looked_up_calls, self._first_items
        latencies = self.latencies
        return (  # inlined from the class above, without a call: many series are asked
            self.position,
            latencies.count,
            self.ended,
            latencies.window,
            self._settled,
            looked_up and (looked_up[0].calls, looked_up[1].calls),
            first_items and first_items.calls,
        )

    def _figures_now(self, percentiles: Percentiles) -> ToolFigures:
        from metertap.recording.figures import ToolFigures  # imported when figures are read

        latencies = self.latencies
        return ToolFigures(
            name=self.name,
            source=self.source,
            counts=self.counts,
            error_types=self.error_types,
            errors=self._errors,
            sampled=latencies.count,
            total_ms=latencies.total,
            minimum_ms=latencies.minimum,
            maximum_ms=latencies.maximum,
            percentiles=percentiles,
            window_samples=len(latencies.window),
            active=self.active,
            with_cache=self.looked_up_calls
            and (
                self.looked_up_calls[0].figures(),
                self.looked_up_calls[1].figures(),
            ),
            first_item=None if self._first_items is None else self._first_items.figures(),
            last_call=self.last_call,
            unsampled=self.unsampled,
            unsampled_ms=self.unsampled_ms,
        )

    def _take(self, batch: Batch) -> None:
        if self.looked_up_calls is not None:
            self.looked_up_calls[0].fold()
            self.looked_up_calls[1].fold()
        if self._first_items is not None:
            self._first_items.fold()
        try:
            self.latencies.add_seconds(batch)
        except TypeError:  # some items are not floats
            self._take_mixed(batch)
            return
        if self not in batch.taken_by:
            count = len(batch)
            self.counts = {**self.counts, outcomes.OK: self.counts[outcomes.OK] + count}
            batch.taken_by[self] = count
        self._hand_over(_WELL, batch)

    def _take_mixed(self, batch: Batch) -> None:
        mixed: Mixed = batch.parts or Mixed(batch.durations)
        batch.parts = mixed
        if mixed.samples:
            self.latencies.add_milliseconds(mixed.samples)
        if self not in batch.taken_by:
            counts = sums(self.counts, mixed.counts)
            types, errors = sums(self.error_types, mixed.types), sums(self._errors, mixed.errors)
            self.counts, self.error_types, self._errors = counts, types, errors
            self.unsampled += mixed.unsampled
            self.unsampled_ms += mixed.unsampled_ms
            batch.taken_by[self] = 0
        for kind, part in mixed.parts.items():
            self._hand_over(kind, part)

    def _hand_over(self, kind: tuple[str, str | None], batch: Batch) -> None:
        # The same dictionary each time: instruments recognise the series by its identity.
        attributes = self._attributes.get(kind)
        if attributes is None:
            ended, error_type = kind
            attributes = {catalogue.TOOL_NAME: self.name, catalogue.OUTCOME: ended}
            if error_type is not None:
                attributes[catalogue.ERROR_TYPE] = error_type
            self._attributes[kind] = attributes
        self._recorder.hand_over(catalogue.TOOL_DURATION, batch, attributes)
        if kind not in self._begun:
            self._begun += (kind,)

    def start_over(self) -> None:
        super().start_over()
        self.counts, self._errors = _NO_CALLS, {}
        self.unsampled, self.unsampled_ms = 0, 0.0
        self.lookup_sums_before = self.lookup_sums()
        self.looked_up_calls = self._first_items = None

    def resize(self) -> None:
        super().resize()
        for latencies in (*(self.looked_up_calls or ()), self._first_items):
            if latencies is not None:
                latencies.resize(self._recorder.window_size)

    def begin_again(self) -> None:
        self._begun = ()
        super().begin_again()

    def _has_begun(self) -> bool:
        return _WELL in self._begun

    def traced(self, seconds: float, sampled: tuple[int, Any]) -> object:
        return Ended(outcomes.OK, None, seconds * 1000.0, seconds, sampled)
