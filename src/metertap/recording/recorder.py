"""The recorder: where every patch and every hand-made record ends.

It knows tools, caches, sessions and MCP operations by name; it knows no library that is patched,
no reader and no exporter. Durations gather in the series' buffers, and go in batches to the
instruments of the pipeline in force (`Delivery`); everything else is a plain number that observable
instruments read.
"""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from metertap import catalogue, faults
from metertap.labels import as_label
from metertap.recording.baseline import Past
from metertap.recording.buffer import Buffer
from metertap.recording.cache_series import BOTH, CacheSeries
from metertap.recording.latency_series import LatencySeries
from metertap.recording.operation_series import DataPoint, OperationSeries
from metertap.recording.tool_series import ToolSeries
from metertap.recording.views import NO_FEES, Views
from metertap.recording.weight_series import WeightSeries

if TYPE_CHECKING:
    from decimal import Decimal

    from metertap.recording.usage_series import UsageSeries

_NUMBERS = (int, float)
_LONGEST_MS = 1e15
"""30,000 years. What is longer is no duration, and would make sums overflow."""
_DUPLICATES_LIMIT = 100
_OVERFLOW: Mapping[str, Any] = {"otel.metric.overflow": True}
"""The attribute by which the SDK's own readers mark what is past their limit."""


class Slot(Protocol):
    """A patch's or decorator's reference into the recorder, which saves a look-up at each call."""

    def forget(self) -> None:
        """Look it up again: it is not the one to record to any more."""


class Recorder(Views):
    """Holds every series of one process. All methods may be called from any thread."""

    def __init__(self, window_size: int = 1000, series_limit: int = 2000) -> None:
        self._series_limit = series_limit
        self._slots: weakref.WeakSet[Slot] = weakref.WeakSet()
        self.decorated: dict[str, tuple[str, int]] = {}
        """File and line of each function that is decorated as a tool, by the tool's name."""
        super().__init__(window_size)

    def _clear(self) -> None:
        super()._clear()
        self._points: dict[Hashable, DataPoint] = {}
        self._points_of: Counter[str] = Counter()
        self._overflown: dict[str, dict[str, Any]] = {}
        self.era = object()
        """The mark of what is in force: another object whenever everything is forgotten.

        A slot asks for it before it looks something up and after it has stored that. So it keeps
        nothing that was forgotten meanwhile; what is forgotten later it is told of.
        """
        self.duplicates: dict[str, int] = {}
        """Hand-made records, by tool, that were left out: something else counted the same call."""
        self.forget_slots()

    def configure(
        self,
        window_size: int,
        series_limit: int,
        fees: Mapping[str, Decimal] = NO_FEES,
        weighs: bool = True,
    ) -> None:
        """Take sizes and fees from settings; windows that exist keep their newest samples."""
        with self.lock:
            self.fees = fees
            self.window_size = window_size
            self._series_limit = series_limit
            if weighs != self.weighs:
                self.weighs = weighs
                for tool in list(self._tools.values()):
                    tool.weight = None
            for series in self._with_windows():
                series.resize()
        self.forget_slots()  # measuring may be switched on or off now

    def keep(self, slot: Slot) -> None:
        """Tell `slot` when its reference is no longer in force."""
        with self.lock:
            self._slots.add(slot)

    def forget_slots(self) -> None:
        """Make every slot look up again what it records to, and whether it does."""
        with self.lock:  # other threads make caches and tools meanwhile
            slots = list(self._slots)
        for slot in slots:
            with faults.guarded("slots"):
                slot.forget()

    # Tools

    def tool(self, name: str, source: str) -> ToolSeries:
        """The series of a registered tool; made, and in the document from now on, if new.

        What is registered is what exists in the program: no limit applies but that of its length.
        """
        series = self.find_tool(name, source)
        if series is None:
            name = as_label(name)
            with self.lock:
                series = self._tools.get((name, source))
                if series is None:
                    series = ToolSeries(name, source, self)
                    self._tools[name, source] = series
            self._activity()
        return series

    def find_tool(self, name: str, source: str) -> ToolSeries | None:
        """The series of `name` if it is registered. Names that clients choose end here."""
        return self._tools.get((name, source)) or self._tools.get((as_label(name), source))

    def other_tool(self, source: str) -> ToolSeries:
        """The series that calls of unregistered names share."""
        return self.tool(catalogue.OTHER, source)

    def tool_by_hand(self, name: str, source: str) -> ToolSeries:
        """The series of a name that the program passed in; `_OTHER` past the series limit.

        A dispatcher may pass on what a client sent, so these names are bounded.
        """
        series = self._tools.get((name, source)) if isinstance(name, str) else None
        return series or self.tool(self._name_by_hand(name, source, self._tools), source)

    def _name_by_hand(self, name: object, owner: str, series: Mapping[tuple[str, str], Any]) -> str:
        """`name` as the name of a new one among `series`, or `_OTHER`."""
        if not isinstance(name, str) or not name:
            shown = faults.shown(name)
            faults.warn_once("record.name", "%s is not a name: %s", shown, catalogue.OTHER)
            return catalogue.OTHER
        name = as_label(name)
        if (name, owner) in series or len(series) < self._series_limit:
            return name
        faults.warn_once(
            "series limit",
            "there are %d names already (METERTAP_SERIES_LIMIT); new ones become %s",
            self._series_limit,
            catalogue.OTHER,
        )
        return catalogue.OTHER

    def left_out(self, name: str) -> None:
        """Count a hand-made record of `name` as left out: something else counts the same call."""
        name = as_label(name)
        with self.lock:
            if name not in self.duplicates and len(self.duplicates) >= _DUPLICATES_LIMIT:
                name = catalogue.OTHER
            self.duplicates[name] = self.duplicates.get(name, 0) + 1

    def record_tool(
        self,
        series: ToolSeries,
        ended: str,
        error_type: str | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Count one call that nobody saw start.

        A latency that is no duration is the caller's mistake: one warning; the call still counts.
        """
        if latency_ms is not None and not is_duration(latency_ms):
            shown = faults.shown(latency_ms)
            faults.warn_once("record.latency", "%s is not a duration in ms; sample dropped", shown)
            latency_ms = None
        self.started(series)
        seconds = 0.0 if latency_ms is None else latency_ms / 1000.0
        series.end(ended, error_type, latency_ms, seconds)

    def started(self, series: Buffer) -> None:
        """Count one call of `series` as in progress."""
        try:
            series.tick()
        except StopIteration:
            series.due()

    def never_ended(self, series: ToolSeries) -> None:
        """Take back a `started` call, which is counted on another series or not at all."""
        with self.lock:
            series.left()

    # Weight

    def weight(self, name: str, source: str, side: str = catalogue.SERVER) -> WeightSeries:
        """The series of what one tool weighs; made if new.

        A client learns names from servers, so these are bounded.
        """
        series = self._weights.get((name, source, side))
        if series is None:
            name = as_label(name)
            with self.lock:
                if side == catalogue.CLIENT and len(self._weights) >= self._series_limit:
                    name = catalogue.OTHER
                new = WeightSeries(name, source, side, self)
                series = self._weights.setdefault((name, source, side), new)
        return series

    def weight_of(self, tool: ToolSeries) -> WeightSeries | None:
        """Return the series of a tool's weight; None where weights are not recorded."""
        if tool.weight is None:
            tool.weight = self.weight(tool.name, tool.source) if self.weighs else False
        return tool.weight or None

    # MCP operations and sessions

    def find_operation(self, key: Hashable) -> DataPoint | None:
        """Return where operations of one kind and ending are recorded, if there is that already."""
        return self._points.get(key)

    def operation(
        self, key: Hashable, metric: catalogue.Metric, attributes: dict[str, Any]
    ) -> DataPoint:
        """Return where operations of one kind and ending are recorded, made if it is new.

        `key` stands for `metric` and `attributes`, and is cheaper to compare. Past the
        series limit of `metric` the new ones share attributes, as the SDK does it.
        """
        with self.lock:
            found = self._points.get(key)
            if found is None:
                error_type = attributes.get(catalogue.ERROR_TYPE)
                series = self._operation_series(metric, attributes)
                if self._points_of[metric.name] < self._series_limit:
                    self._points_of[metric.name] += 1
                    found = self._points[key] = series.point(attributes, error_type)
                else:
                    shared = self._overflown.setdefault(metric.name, dict(_OVERFLOW))
                    found = series.point(shared, error_type)
        if metric.side:
            self._activity()
        return found

    def has_overflown(self, metric: catalogue.Metric) -> bool:
        """Return whether operations of `metric` share a series because there are too many kinds."""
        return metric.name in self._overflown

    def _operation_series(
        self, metric: catalogue.Metric, attributes: Mapping[str, str]
    ) -> OperationSeries:
        method = attributes.get(catalogue.MCP_METHOD, "")
        name = next((attributes[key] for key in catalogue.NAMES if key in attributes), None)
        series = self._operations.get((metric.name, method, name))
        if series is None:
            series = OperationSeries(metric, method, name, self)
            self._operations[metric.name, method, name] = series
        return series

    def record_operation(
        self, key: Hashable, metric: catalogue.Metric, attributes: dict[str, Any], seconds: float
    ) -> None:
        """Record one duration of `metric`. `key` stands for it and its `attributes`.

        What is no duration is the caller's mistake: one warning, and nothing is recorded.
        """
        if is_duration(seconds):
            self.operation(key, metric, attributes).record(float(seconds))
        else:
            shown = faults.shown(seconds)
            faults.warn_once("record.duration", "%s is not a duration in s; it is dropped", shown)

    def session_opened(self) -> object:
        """Count an open session; returns what `session_closed` is to be given."""
        with self.lock:
            self._sessions += 1
            since = self.era
        self._activity()
        self.wake()
        return since

    def session_closed(self, opened: object = None) -> None:
        """Count a session as closed."""
        with self.lock:
            # One that was open when counting began again, in a forked child too, was never counted.
            if opened is None or opened is self.era:
                self._sessions = max(0, self._sessions - 1)

    # Caches

    def cache(self, name: str, system: str, supports: frozenset[str] = BOTH) -> CacheSeries:
        """The series of one cache name; made if new."""
        series = self._caches.get((name, system))
        if series is None:
            with self.lock:
                new = CacheSeries(name, system, supports)
                series = self._caches.setdefault((name, system), new)
            self._activity()
        return series

    def cache_by_hand(self, name: str, system: str, supports: frozenset[str] = BOTH) -> CacheSeries:
        """The series of a cache that the program named; bounded as tools' names are."""
        series = self._caches.get((name, system)) if isinstance(name, str) else None
        if series is None:
            series = self.cache(self._name_by_hand(name, system, self._caches), system, supports)
        return series

    def cache_looked_up(self, series: CacheSeries, hit: bool, tool: ToolSeries | None) -> None:
        """Count one lookup, made during a call of `tool` if that is given."""
        self.wake()
        (series.hits if hit else series.misses)[tool]()

    def cache_evicted(self, series: CacheSeries, entries: int) -> None:
        with self.lock:
            series.evictions += entries

    def cache_rejected(self, series: CacheSeries) -> None:
        with self.lock:
            series.rejections += 1

    # Model calls

    def usage(self, tool: str, provider: str, model: str) -> UsageSeries:
        """Return the series of model calls of a tool; made if new. With the lock held.

        Past the series limit the model is `_OTHER`.
        """
        series = self._usage.get((tool, provider, model))
        if series is None:
            from metertap.recording.usage_series import UsageSeries  # for whoever asks models

            if len(self._usage) >= self._series_limit:
                model = catalogue.OTHER
            key = (tool, provider, model)
            series = self._usage.setdefault(key, UsageSeries(*key))
        return series

    def _with_windows(self) -> list[LatencySeries[Any]]:
        return [
            *list(self._tools.values()),
            *list(self._operations.values()),
            *list(self._weights.values()),
        ]

    def _buffers(self) -> list[Buffer]:
        return [*self._with_windows()]

    # Life of the process

    def reset(self) -> None:
        """Forget everything recorded."""
        self.decorated.clear()
        self._clear()

    def start_over(self) -> None:
        """Let `figures` begin again from nothing.

        What is in progress stays so, names stay known, and no counter goes back.
        """
        # Without the lock: a cache may hold one of its own.
        caches, usage = self.cache_figures(), self._usage_now()
        with self.lock:
            tools = []
            for series in list(self._tools.values()):
                # Not folded again before it starts over: what other threads append from here on
                # is in no figures of before.
                tools.append(self._lifetime_of(series))
                series.start_over()
            for operations in list(self._operations.values()):
                operations.fold()
                operations.start_over()
            for weight in list(self._weights.values()):
                weight.fold()
                weight.start_over()
            self._past = Past(time.time(), tools, caches, usage)
            self.sessions_by_hand = self.requests_by_hand = 0

    def before_fork(self) -> Callable[[], None]:
        """Let no thread be inside while the process forks; returns what ends that in the parent.

        The child would inherit locks of the SDK's that a recording thread of the parent holds.
        """
        lock = self.lock
        lock.acquire()
        return lock.release

    def forked(self) -> None:
        """Reset a forked child: a lock of its own and counts from zero.

        What is registered stays so: instrumentors know which tools they have told of.
        """
        tools, caches, weights = list(self._tools), self._caches, self._weights
        self._clear()
        self._tools = {key: ToolSeries(*key, self) for key in tools}
        self._caches = {key: series.forked() for key, series in caches.items()}
        self._weights = {key: series.forked() for key, series in weights.items()}
        self._is_fresh_fork = True


def is_duration(value: object) -> bool:
    """Return whether `value` can be a duration: a number from 0 to the longest that is kept."""
    # A comparison with NaN is false, and one with an integer of any size is exact.
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and 0 <= value <= _LONGEST_MS
