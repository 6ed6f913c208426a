"""The recorder: where all measurements of patches and of the program arrive.

It knows tools, caches, sessions and MCP operations by name, and no patched library, reader or
exporter. Durations wait in the series' buffers and go to the instruments in batches (`Delivery`);
everything else is a plain number that observable instruments read.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from metertap import catalogue, faults, locks
from metertap.labels import as_label
from metertap.recording.baseline import Past
from metertap.recording.buffer import Buffer
from metertap.recording.registry import Registry
from metertap.recording.views import NO_FEES

if TYPE_CHECKING:
    from decimal import Decimal

    from metertap.recording.cache_series import CacheSeries
    from metertap.recording.latency_series import LatencySeries
    from metertap.recording.tool_series import ToolSeries

_NUMBERS = (int, float)
_LONGEST_MS = 1e15
"""30,000 years: a longer value is no duration, and would make sums overflow."""
_MOST = 10**12
"""What is more is no count of entries or sessions, and sums of it would not fit into 64 bits."""
_DUPLICATES_LIMIT = 100


class Slot(Protocol):
    """A patch's or decorator's reference to a series, which saves a look-up at each call."""

    def forget(self) -> None:
        """Drop the reference, so that the series is looked up again: it is no longer in force."""


class Recorder(Registry):
    """Owner of every series of one process. Any thread may call its methods."""

    def __init__(self, window_size: int = 1000, series_limit: int = 2000) -> None:
        self._slots: weakref.WeakSet[Slot] = weakref.WeakSet()
        self.decorated: dict[str, tuple[str, int]] = {}
        """File and line of each function that is decorated as a tool, by the tool's name."""
        super().__init__(window_size, series_limit)

    def _clear(self) -> None:
        with self.lock:  # each series belongs to the era in which it is registered
            super()._clear()
            self.era = object()
        self.duplicates: dict[str, int] = {}
        """By tool, the records by hand that were left out because a patch counted the same call."""
        self.forget_slots()

    def configure(
        self,
        window_size: int,
        series_limit: int,
        fees: Mapping[str, Decimal] = NO_FEES,
        weighs: bool = True,
    ) -> None:
        """Take sizes and fees from the settings; existing windows keep their newest samples."""
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
        self.forget_slots()  # measuring may have been switched on or off

    def keep(self, slot: Slot) -> None:
        """Call `slot.forget` when its reference is no longer in force."""
        locks.briefly(self.lock, lambda: self._slots.add(slot))

    def forget_slots(self) -> None:
        """Make every slot look its series up again."""
        with self.lock:  # other threads register caches and tools
            slots = list(self._slots)
        for slot in slots:
            with faults.guarded("slots"):
                slot.forget()

    # Records

    def left_out(self, name: str) -> None:
        """Count a record by hand of `name` as left out, since a patch counts the same call."""
        if name in self.duplicates:
            self.duplicates[name] += 1  # no call in between, so no other thread either
            return

        def count() -> None:
            label = as_label(name)
            if label not in self.duplicates and len(self.duplicates) >= _DUPLICATES_LIMIT:
                label = catalogue.OTHER
            self.duplicates[label] = self.duplicates.get(label, 0) + 1

        locks.briefly(self.lock, count)

    def record_tool(
        self,
        series: ToolSeries,
        ended: str,
        error_type: str | None = None,
        latency_ms: float | None = None,
    ) -> None:
        """Count one call whose start was not measured.

        A latency that is no duration is the caller's mistake: it is dropped with one warning.
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
        """Take back a call that was `started`, since it counts on another series or not at all."""
        series.left()

    def record_operation(
        self, key: Hashable, metric: catalogue.Metric, attributes: dict[str, Any], seconds: float
    ) -> None:
        """Record one duration of `metric`; `key` identifies `metric` and `attributes`.

        A value that is no duration is the caller's mistake: it is dropped with one warning.
        """
        if is_duration(seconds):
            self.operation(key, metric, attributes).record(float(seconds))
        else:
            shown = faults.shown(seconds)
            faults.warn_once("record.duration", "%s is not a duration in s; it is dropped", shown)

    def session_opened(self) -> object:
        """Count a session as open; returns the argument for `session_closed`."""
        since = self.era
        self._sessions += 1
        self._activity()
        self.wake()
        return since

    def session_closed(self, opened: object = None) -> None:
        """Count a session as closed."""

        def count() -> None:
            # A session that was open at a reset, or at the fork of this child, was never counted.
            if opened is None or opened is self.era:
                self._sessions = max(0, self._sessions - 1)

        locks.briefly(self.lock, count)

    def cache_looked_up(self, series: CacheSeries, hit: bool, tool: ToolSeries | None) -> None:
        """Count one lookup, in a call of `tool` if that is given."""
        self.wake()
        (series.hits if hit else series.misses)[tool]()

    def cache_evicted(self, series: CacheSeries, entries: int) -> None:
        """Count entries that were dropped to make room."""
        series.evictions += entries  # no call in between, so no other thread either

    def cache_rejected(self, series: CacheSeries) -> None:
        """Count one entry that the cache refused because of its size."""
        series.rejections += 1

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
        """Set all figures back to zero.

        Calls in progress and names stay, and no exported counter goes back.
        """
        # Without the lock: a cache may hold its own while it records.
        caches, usage = self.cache_figures(), self._usage_now()
        with self.lock:
            tools = []
            for series in list(self._tools.values()):
                # Not folded again before it starts over: what other threads append from here on is
                # not in the baseline.
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

    def before_fork(self) -> None:
        """Keep other threads out while the process forks.

        The child would inherit locks of the SDK that a recording thread of the parent holds.
        """
        self.lock.acquire()

    def forked_in_parent(self) -> None:
        """Let other threads record again."""
        with contextlib.suppress(RuntimeError):  # an interrupt has ended the wait for it
            self.lock.release()

    def forked(self) -> None:
        """Reset a forked child: all locks are new, and counts begin at zero.

        Names stay: instrumentors do not register their tools a second time.
        """
        from metertap.recording.tool_series import ToolSeries

        tools, caches, weights = list(self._tools), self._caches, self._weights
        self._clear()
        self._tools = {key: ToolSeries(*key, self) for key in tools}
        self._caches = {key: series.forked() for key, series in caches.items()}
        self._weights = {key: series.forked() for key, series in weights.items()}
        self._is_fresh_fork = True


def is_duration(value: object) -> bool:
    """Return whether `value` is a duration: a number from 0 to the longest that is recorded."""
    # Comparing NaN gives False, and comparing an integer of any size is exact.
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and 0 <= value <= _LONGEST_MS


def is_count(value: object) -> bool:
    """Return whether `value` can be how many there are: an integer from 0 to the most there is."""
    return isinstance(value, int) and 0 <= value <= _MOST
