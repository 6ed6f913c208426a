"""The recorder: where every patch and every hand-made record ends, and every view begins.

It knows tools, caches, sessions and MCP operations by name; it knows no library that is patched,
no reader and no exporter. Durations also go to the OpenTelemetry instruments of the pipeline
in force (`Instruments`); everything else is a plain number that observable instruments read.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from metertap import catalogue, guard, outcome
from metertap.recording.series import CacheFigures, CacheSeries, ToolFigures, ToolSeries

AttributePairs = tuple[tuple[str, str], ...]


class Instruments(Protocol):
    """Where durations go: the instruments of one meter provider."""

    def record(self, metric: catalogue.Metric, seconds: float, attributes: dict[str, str]) -> None:
        """Record one duration. `attributes` is the same object for the same series."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything recorded, at one moment."""

    tools: tuple[ToolFigures, ...]
    caches: tuple[CacheFigures, ...]
    active_sessions: int
    start_time: float


@dataclass(slots=True)
class Duplicates:
    """Hand-made records that were left out because a patch had counted the same call."""

    by_tool: dict[str, int] = field(default_factory=dict)

    def add(self, name: str) -> None:
        self.by_tool[name] = self.by_tool.get(name, 0) + 1


class Recorder:
    """Holds every series of one process. All methods may be called from any thread."""

    def __init__(self, window_size: int = 1000, series_limit: int = 2000) -> None:
        self._window_size = window_size
        self._series_limit = series_limit
        self._activity_callbacks: list[Callable[[], None]] = []
        self.instruments: Sequence[Instruments] = ()
        self._clear()

    def _clear(self) -> None:
        # Reentrant: a finaliser may run, and record, while this thread holds the lock.
        self.lock = threading.RLock()
        self._tools: dict[tuple[str, str], ToolSeries] = {}
        self._caches: dict[tuple[str, str], CacheSeries] = {}
        self._operations: dict[AttributePairs, dict[str, str]] = {}
        self._sessions = 0
        self._names_by_hand = 0
        self._seen_activity = False
        self.duplicates = Duplicates()
        self.start_time = time.time()

    def configure(self, window_size: int, series_limit: int) -> None:
        """Take sizes from settings; windows that exist keep their newest samples."""
        with self.lock:
            self._window_size = window_size
            self._series_limit = series_limit
            for series in self._tools.values():
                series.resize(window_size)

    # Tools

    def tool(self, name: str, source: str) -> ToolSeries:
        """The series of a registered tool; made, and in the document from now on, if new."""
        series = self._tools.get((name, source))
        if series is None:
            with self.lock:
                series = self._tools.get((name, source))
                if series is None:
                    series = ToolSeries(name, source, self._window_size)
                    self._tools[name, source] = series
            self._activity()
        return series

    def find_tool(self, name: str, source: str) -> ToolSeries | None:
        """The series of `name` if it is registered. Names that clients choose end here."""
        return self._tools.get((name, source))

    def other_tool(self, source: str) -> ToolSeries:
        """The series that calls of unregistered names share."""
        return self.tool(catalogue.OTHER, source)

    def tool_by_hand(self, name: str, source: str) -> ToolSeries:
        """The series of a name that the program passed in; `_OTHER` past the series limit.

        A dispatcher may pass on what a client sent, so these names are bounded.
        """
        series = self.find_tool(name, source)
        if series is not None:
            return series
        with self.lock:
            if self._names_by_hand >= self._series_limit:
                guard.warn_once(
                    "series limit",
                    "more than %d tool names were recorded by hand; new ones become %s",
                    self._series_limit,
                    catalogue.OTHER,
                )
                return self.other_tool(source)
            self._names_by_hand += 1
            return self.tool(name, source)

    def call_started(self, series: ToolSeries) -> None:
        """One call of `series` is in progress."""
        with self.lock:
            series.active += 1

    def call_ended(self, series: ToolSeries) -> None:
        """A call counted by `call_started` is over."""
        with self.lock:
            series.active -= 1

    def record_tool(
        self,
        series: ToolSeries,
        ended: str,
        error_type: str | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Count one call. A latency that is no duration is a fault; the call still counts."""
        if latency_ms is not None and not _is_duration(latency_ms):
            guard.fault("record.latency", f"{latency_ms!r} is not a duration; sample dropped")
            latency_ms = None
        now = time.time()
        with self.lock:
            if error_type is not None:
                error_type = series.bounded_error_type(error_type)
            series.add(ended, error_type, latency_ms, now)
            if latency_ms is not None:
                attributes = series.attributes_for(ended, error_type)
                self._record(catalogue.TOOL_DURATION, latency_ms / 1000.0, attributes)

    # MCP operations and sessions

    def record_operation(
        self, metric: catalogue.Metric, seconds: float, attributes: AttributePairs
    ) -> None:
        """Record the duration of one MCP request."""
        with self.lock:
            found = self._operations.get(attributes)
            if found is None:
                found = dict(attributes)
                if len(self._operations) < self._series_limit:
                    self._operations[attributes] = found
            self._record(metric, seconds, found)

    def session_opened(self) -> None:
        with self.lock:
            self._sessions += 1

    def session_closed(self) -> None:
        with self.lock:
            self._sessions -= 1

    # Caches

    def cache(self, name: str, system: str) -> CacheSeries:
        """The series of one cache; made if new."""
        series = self._caches.get((name, system))
        if series is None:
            with self.lock:
                series = self._caches.setdefault((name, system), CacheSeries(name, system))
            self._activity()
        return series

    def cache_looked_up(self, series: CacheSeries, hit: bool, tool: str | None) -> None:
        """Count one lookup, made during a call of `tool` if that is given."""
        with self.lock:
            if hit:
                series.hits += 1
            else:
                series.misses += 1
            if tool is not None:
                pair = series.by_tool.setdefault(tool, [0, 0])
                pair[0 if hit else 1] += 1

    def cache_evicted(self, series: CacheSeries, entries: int) -> None:
        with self.lock:
            series.evictions += entries

    def cache_rejected(self, series: CacheSeries) -> None:
        with self.lock:
            series.rejections += 1

    # Views

    def figures(self) -> Figures:
        """A consistent copy of everything."""
        with self.lock:
            return Figures(
                tools=tuple(series.figures() for series in self._tools.values()),
                caches=tuple(series.figures() for series in self._caches.values()),
                active_sessions=self._sessions,
                start_time=self.start_time,
            )

    def active_calls(self) -> list[tuple[str, int]]:
        """Calls in progress by tool name, every source together."""
        with self.lock:
            totals: dict[str, int] = {}
            for series in self._tools.values():
                totals[series.name] = totals.get(series.name, 0) + series.active
            return list(totals.items())

    def active_sessions(self) -> int:
        return self._sessions

    def cache_figures(self) -> list[CacheFigures]:
        with self.lock:
            return [series.figures() for series in self._caches.values()]

    def on_activity(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the first tool or cache is seen; at once if one was."""
        self._activity_callbacks.append(callback)
        if self._seen_activity:
            callback()

    def forget_activity_callback(self, callback: Callable[[], None]) -> None:
        if callback in self._activity_callbacks:
            self._activity_callbacks.remove(callback)

    def _activity(self) -> None:
        if not self._seen_activity:
            self._seen_activity = True
            for callback in list(self._activity_callbacks):
                with guard.guarded("recorder.activity"):
                    callback()

    def _record(self, metric: catalogue.Metric, seconds: float, attributes: dict[str, str]) -> None:
        for instruments in self.instruments:
            with guard.guarded("instruments"):
                instruments.record(metric, seconds, attributes)

    # Life of the process

    def reset(self) -> None:
        """Forget everything recorded."""
        self._clear()

    def forked(self) -> None:
        """In a forked child: a lock of its own and counts from zero; the parent keeps its own."""
        self._clear()


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def failed_outcome(error_type: str | None) -> str:
    """The outcome of a call that its caller reported as failed, by the error type given."""
    if error_type is None:
        return outcome.TOOL_ERROR
    return outcome.TIMEOUT if error_type in {"TimeoutError", "timeout"} else outcome.EXCEPTION
