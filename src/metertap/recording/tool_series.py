"""What is held for one tool."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from metertap import catalogue, outcomes
from metertap.labels import as_label
from metertap.recording.batch import Batch, Trace
from metertap.recording.buffer import Buffer, Host
from metertap.recording.figures import ToolFigures
from metertap.recording.window import Latencies, Window

_ERROR_TYPES_LIMIT = 100
"""Distinct error types kept a tool; classes made at run time would otherwise grow without end."""
_NONE: Mapping[str, int] = {}


class Ended(NamedTuple):
    """A call that is more than a duration that went well."""

    outcome: str
    error_type: str | None
    latency_ms: float | None
    """As it was measured or given: converting it would cost the percentiles their last digit."""
    seconds: float
    trace: tuple[int, Any] | None = None


class ToolSeries(Buffer):
    """One tool of one source: counts by outcome, extremes, and the window of its last calls.

    In the buffer a float is the duration in seconds of a call that went well, without a sampled
    span; everything else is an `Ended`. Latencies here are milliseconds.
    """

    __slots__ = (
        "_attributes",
        "_begun",
        "_ended",
        "_first_items",
        "_last_call",
        "_left",
        "_looked_up",
        "_shown",
        "counts",
        "error_types",
        "maximum",
        "minimum",
        "name",
        "sampled",
        "source",
        "total",
        "window",
    )

    def __init__(self, name: str, source: str, recorder: Host) -> None:
        super().__init__(recorder)
        self.name = name
        self.source = source
        self.counts: dict[str, int] = {}  # only those that were seen
        self.error_types: Mapping[str, int] = _NONE  # replaced, never changed
        self.sampled = 0
        self.total = 0.0
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.window = Window(recorder.window_size)
        self._attributes: dict[tuple[str, str | None], dict[str, str]] = {}
        self._begun: tuple[tuple[str, str | None], ...] = ()  # what every reader has seen
        self._ended = 0  # calls that were folded
        self._left = 0  # calls that began here and were counted elsewhere, or never
        self._last_call: tuple[float, float] | None = None  # by both clocks
        self._looked_up: tuple[Latencies, Latencies] | None = None
        self._first_items: Latencies | None = None
        self._shown: tuple[tuple[object, ...], ToolFigures | None] = (), None

    @property
    def active(self) -> int:
        """Calls in progress."""
        ticks = self.ticks  # first: a call may end meanwhile, and none may seem to be in progress
        return max(0, ticks - self._ended - self._left - self.waiting)

    def left(self, calls: int = 1) -> None:
        """`calls` began here and will not be counted here. With the recorder's lock held."""
        self._left += calls

    def looked_up(self, hit: bool, missed: bool, seconds: float) -> None:
        """A call that went well, and is counted apart from this, asked caches meanwhile."""
        if hit or missed:
            both = self._looked_up
            if both is None:
                size = self._recorder.window_size
                with self._recorder.lock:
                    both = self._looked_up or (Latencies(size), Latencies(size))
                    self._looked_up = both
            both[1 if missed else 0].append(seconds)

    def first_item(self, seconds: float) -> None:
        """A call that yields gave its first item `seconds` after it started."""
        recorder = self._recorder
        latencies = self._first_items
        if latencies is None:
            with recorder.lock:
                latencies = self._first_items or Latencies(recorder.window_size)
                self._first_items = latencies
        latencies.append(seconds)
        metric, attributes = catalogue.TOOL_FIRST_ITEM, {catalogue.TOOL_NAME: self.name}
        recorder.record_operation((metric.name, self.name), metric, attributes, seconds)

    def end(
        self,
        ended: str,
        error_type: str | None,
        latency_ms: float | None,
        seconds: float,
    ) -> None:
        """Count one call that took a tick before."""
        self.ended = time.perf_counter()
        if error_type is not None:
            error_type = self._bounded_error_type(error_type)
        sampled = self._recorder.trace()
        begins = (ended, error_type) not in self._begun
        self.put(Ended(ended, error_type, latency_ms, seconds, sampled), begins=begins)

    def figures(self) -> ToolFigures:
        """A copy to compute views from: the last one, where nothing has changed since.

        With the recorder's lock held.
        """
        self.fold()
        figures = self.same_figures()
        if figures is None:
            state = self._state()
            figures = self._figures_now()
            self._shown = state, figures
        return figures

    def same_figures(self) -> ToolFigures | None:
        """The last copy, where nothing has changed since: at less cost, and without the lock."""
        state, figures = self._shown
        return None if self._items or state != self._state() else figures

    def _state(self) -> tuple[object, ...]:
        """Something else after whatever may change figures."""
        looked_up, first_items = self._looked_up, self._first_items
        return (
            self.position,
            self._ended,
            self._left,
            self.ended,
            self.window,
            looked_up and (looked_up[0].calls, looked_up[1].calls),
            first_items and first_items.calls,
        )

    def _figures_now(self) -> ToolFigures:
        ended, active = self.ended, self.active
        if ended is not None and (self._last_call is None or self._last_call[0] != ended):
            self._last_call = (ended, time.time() - (time.perf_counter() - ended))
        return ToolFigures(
            name=self.name,
            source=self.source,
            counts={ended: self.counts.get(ended, 0) for ended in outcomes.ALL},
            error_types=dict(self.error_types),
            sampled=self.sampled,
            total_ms=self.total,
            minimum_ms=self.minimum,
            maximum_ms=self.maximum,
            percentiles=self.window.percentiles(),
            window_samples=len(self.window),
            active=active,
            with_cache=self._looked_up
            and (
                self._looked_up[0].figures(),
                self._looked_up[1].figures(),
            ),
            first_item=None if self._first_items is None else self._first_items.figures(),
            last_call=None if self._last_call is None else self._last_call[1],
        )

    def _take(self, items: Sequence[Any]) -> None:
        if self._looked_up is not None:
            self._looked_up[0].fold()
            self._looked_up[1].fold()
        if self._first_items is not None:
            self._first_items.fold()
        self._ended += len(items)
        try:
            total = sum(items)
        except TypeError:  # not all of them are floats
            self._take_mixed(items)
            return
        batch = Batch(items)
        self.counts[outcomes.OK] = self.counts.get(outcomes.OK, 0) + len(items)
        self._sampled(len(items), total * 1000.0, batch.ordered[0], batch.ordered[-1], 1000.0)
        self.window.add_seconds(items)
        self._hand_over(outcomes.OK, None, batch)

    def _take_mixed(self, items: Sequence[Any]) -> None:
        # By outcome and error type, which is one series of OpenTelemetry each.
        parts: dict[tuple[str, str | None], tuple[list[float], list[Trace]]] = {}
        samples = []
        for item in items:
            if type(item) is float:
                item = Ended(outcomes.OK, None, item * 1000.0, item)
            self.counts[item.outcome] = self.counts.get(item.outcome, 0) + 1
            if item.error_type is not None:
                seen = self.error_types.get(item.error_type, 0)
                self.error_types = {**self.error_types, item.error_type: seen + 1}
            if item.latency_ms is None:
                continue
            if item.outcome in outcomes.SAMPLED:
                samples.append(item.latency_ms)
            part = parts.setdefault((item.outcome, item.error_type), ([], []))
            if item.trace is not None:
                part[1].append(Trace(len(part[0]), *item.trace))
            part[0].append(item.seconds)
        if samples:
            self._sampled(len(samples), sum(samples), min(samples), max(samples))
            self.window.add_milliseconds(samples)
        for (ended, error_type), (durations, traces) in parts.items():
            self._hand_over(ended, error_type, Batch(durations, traces))

    def _sampled(
        self, count: int, total: float, least: float, most: float, factor: float = 1.0
    ) -> None:
        self.sampled += count
        self.total += total
        least, most = least * factor, most * factor
        if self.minimum is None or least < self.minimum:
            self.minimum = least
        if self.maximum is None or most > self.maximum:
            self.maximum = most

    def _hand_over(self, ended: str, error_type: str | None, batch: Batch) -> None:
        # One dictionary a series for good: instruments know it by its identity.
        attributes = self._attributes.get((ended, error_type))
        if attributes is None:
            attributes = {catalogue.TOOL_NAME: self.name, catalogue.OUTCOME: ended}
            if error_type is not None:
                attributes[catalogue.ERROR_TYPE] = error_type
            self._attributes[ended, error_type] = attributes
        self._recorder.hand_over(catalogue.TOOL_DURATION, batch, attributes)
        if (ended, error_type) not in self._begun:
            self._begun += ((ended, error_type),)

    def _bounded_error_type(self, error_type: str) -> str:
        """`error_type` itself, or `_OTHER` where this tool has shown too many already."""
        if error_type in self.error_types:
            return error_type
        error_type = as_label(error_type)
        shown = {named for _, named in self._attributes}  # those before `start_over` as well
        return (
            error_type
            if error_type in shown or len(shown) < _ERROR_TYPES_LIMIT
            else catalogue.OTHER
        )

    def start_over(self) -> None:
        """Forget what was counted; calls in progress stay so. With the recorder's lock held."""
        self.counts, self.error_types = {}, _NONE
        self.sampled, self.total = 0, 0.0
        self.minimum = self.maximum = None
        self.window = Window(self._recorder.window_size)
        self.ended = self._last_call = None
        self._looked_up = self._first_items = None

    def resize(self) -> None:
        """Keep the newest samples, as many as a window holds now. With the recorder's lock held."""
        size = self._recorder.window_size
        self.window = self.window.resized(size)
        for latencies in (*(self._looked_up or ()), self._first_items):
            if latencies is not None:
                latencies.resize(size)

    def begin_again(self) -> None:
        self._begun = ()
        super().begin_again()

    def _has_begun(self) -> bool:
        return (outcomes.OK, None) in self._begun

    def _traced(self, seconds: float, time_ns: int, context: Any) -> object:
        return Ended(outcomes.OK, None, seconds * 1000.0, seconds, (time_ns, context))
