"""`ToolMetrics`, `CacheMetrics`, `SystemMetrics`: figures that a program keeps for itself.

A program that makes such an object records into it, and sees the figures only there. Measured
figures have the same classes, in `metertap.collector.collector`. As in the document, a statistic
without data is None. The objects take no locks.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any

from metertap import faults, state
from metertap.recording.percentiles import percentiles
from metertap.recording.recorder import is_duration


def _window() -> deque[float]:
    return deque(maxlen=state.settings().window_size)


class _Noted:
    """Attributes for the statistics that must not be fields of the dataclass."""

    untimed_calls: int = 0
    latency_extremes: tuple[float, float] | None = None


@dataclass
class ToolMetrics(_Noted):
    """Figures of one tool. Percentiles are of the last METRICS_WINDOW_SIZE latencies."""

    tool_name: str
    total_calls: int = 0
    successful_calls: int = 0
    failed_calls: int = 0
    total_latency_ms: float = 0.0
    latency_samples: deque[float] = field(default_factory=_window, repr=False)
    error_types: dict[str, int] = field(default_factory=dict)

    def record_call(
        self, success: bool, latency_ms: float | None = None, error_type: str | None = None
    ) -> None:
        """Count one call. One without a latency, in milliseconds, adds no sample."""
        with faults.guarded("tool_metrics"):
            self.total_calls += 1
            if success:
                self.successful_calls += 1
            else:
                self.failed_calls += 1
                if error_type:
                    named = _name_of(error_type)
                    self.error_types[named] = self.error_types.get(named, 0) + 1
            if latency_ms is not None and is_duration(latency_ms):
                self.total_latency_ms += latency_ms
                self.latency_samples.append(latency_ms)
                least, most = self.latency_extremes or (latency_ms, latency_ms)
                self.latency_extremes = min(least, latency_ms), max(most, latency_ms)
                return
            self.untimed_calls += 1
            if latency_ms is not None:
                shown = faults.shown(latency_ms)
                faults.warn_once("tool_metrics", "%s is not a duration in ms; dropped", shown)

    def get_stats(self) -> dict[str, Any]:
        """Return the statistics: rates in percent, latencies in milliseconds."""
        samples = sorted(self.latency_samples)
        found = percentiles(samples)
        timed = self.total_calls - self.untimed_calls
        extremes = self.latency_extremes or ((samples[0], samples[-1]) if samples else (None, None))
        return {
            "tool_name": self.tool_name,
            "total_calls": self.total_calls,
            "successful_calls": self.successful_calls,
            "failed_calls": self.failed_calls,
            "total_latency_ms": self.total_latency_ms,
            "success_rate": _percent(
                self.successful_calls, self.successful_calls + self.failed_calls
            ),
            "avg_latency_ms": self.total_latency_ms / timed if timed > 0 else None,
            "min_latency_ms": extremes[0],
            "max_latency_ms": extremes[1],
            "p50_latency_ms": found.p50,
            "p95_latency_ms": found.p95,
            "p99_latency_ms": found.p99,
            "error_types": dict(self.error_types),
        }


def _name_of(error_type: Any) -> str:
    if isinstance(error_type, str):
        return error_type
    return (error_type if isinstance(error_type, type) else type(error_type)).__qualname__


@dataclass
class CacheMetrics:
    """Figures of one cache."""

    cache_name: str
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    size_rejections: int = 0

    def record_hit(self) -> None:
        """Count one lookup that found its entry."""
        self.hits += 1

    def record_miss(self) -> None:
        """Count one lookup that found nothing."""
        self.misses += 1

    def record_eviction(self) -> None:
        """Count one entry that was dropped."""
        self.evictions += 1

    def record_size_rejection(self) -> None:
        """Count one entry that was refused because of its size."""
        self.size_rejections += 1

    def get_stats(self) -> dict[str, Any]:
        """Return the counts, and the hit rate in percent."""
        total = self.hits + self.misses
        return {
            "cache_name": self.cache_name,
            "hits": self.hits,
            "misses": self.misses,
            "total_requests": total,
            "hit_rate": _percent(self.hits, total),
            "evictions": self.evictions,
            "size_rejections": self.size_rejections,
        }


@dataclass
class SystemMetrics:
    """Figures of the process as a whole. Times are in seconds."""

    active_sessions: int = 0
    concurrent_requests: int = 0
    total_requests: int = 0
    start_time: float = field(default_factory=time.time)

    @property
    def uptime(self) -> float:
        """The seconds since `start_time`."""
        return max(0.0, time.time() - self.start_time)  # a clock may be set back

    def get_stats(self) -> dict[str, Any]:
        """Return the figures, with the uptime in seconds and in hours."""
        uptime = self.uptime
        return {**asdict(self), "uptime_seconds": uptime, "uptime_hours": uptime / 3600}


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None
