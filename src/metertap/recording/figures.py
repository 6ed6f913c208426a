"""Figures: copies of what was recorded, all of one moment."""

# No annotations from __future__: a NamedTuple would compile each of them, which is text, at start.

from typing import TYPE_CHECKING, NamedTuple

from metertap import outcomes
from metertap.recording.percentiles import Percentiles
from metertap.weight.definitions import Definition

if TYPE_CHECKING:
    from metertap.recording.usage_series import UsageSeries


class LatencyFigures(NamedTuple):
    """Latencies of some of a tool's calls, in milliseconds."""

    calls: int
    total_ms: float
    percentiles: Percentiles


class ToolFigures(NamedTuple):
    """One tool's numbers at one moment. Latencies in milliseconds, times in Unix seconds.

    The same object as long as nothing changes, so its dictionaries must not be changed.
    """

    name: str
    source: str
    counts: dict[str, int]
    error_types: dict[str, int]
    sampled: int
    """Ok and failed calls that have a duration: the latencies below are of these."""
    total_ms: float
    minimum_ms: float | None
    maximum_ms: float | None
    percentiles: Percentiles
    window_samples: int
    active: int
    last_call: float | None
    with_cache: tuple[LatencyFigures, LatencyFigures] | None
    """Latencies of calls whose cache lookups all hit, and of those with a miss."""
    first_item: LatencyFigures | None
    """Latencies from the start of a generator's call to its first item."""
    unsampled: int
    """Calls with a duration that count in no latency: cancelled, caller's errors, interim."""
    unsampled_ms: float
    errors: dict[str, int]
    """Failures by outcome and error type, joined by a space: finer than `error_types`."""

    @property
    def calls(self) -> int:
        """All calls that have ended."""
        return sum(self.counts.values())

    @property
    def succeeded(self) -> int:
        return self.counts[outcomes.OK]

    @property
    def failed(self) -> int:
        return sum(map(self.counts.__getitem__, outcomes.FAILED))


class CacheFigures(NamedTuple):
    """One cache's numbers at one moment. None is unknown: the library does not show it.

    `is_read`: the cache counts itself, and so cannot tell which tool asked. `objects` is the number
    of living cache objects that have the name, if it is known.
    """

    name: str
    system: str
    hits: int
    misses: int
    evictions: int | None
    rejections: int | None
    by_tool: dict[str, tuple[int, int]] | None
    entries: int | None
    is_read: bool
    objects: int


class OperationFigures(NamedTuple):
    """MCP requests of one method and name, or sessions, as one side saw them.

    Durations in milliseconds, times in Unix seconds. Every number includes all ended operations;
    `failed` are those with an `error.type`. The same object as long as nothing changes.
    """

    side: str
    """`server` or `client`."""
    method: str
    """The method of the requests; empty for sessions."""
    name: str | None
    """The tool, prompt or resource, if the method has one; `_OTHER` if it is unknown."""
    calls: int
    failed: int
    error_types: dict[str, int]
    total_ms: float
    minimum_ms: float | None
    maximum_ms: float | None
    percentiles: Percentiles
    window_samples: int
    last_call: float | None


class WeightFigures(NamedTuple):
    """Weights of one tool as one side saw them: bytes of its definition and its results.

    The same object as long as nothing changes.
    """

    name: str
    source: str
    side: str
    """`server`: where the tool runs, also in a framework; `client`: where it is asked for."""
    definition: Definition | None
    results: int
    """Results of known size: the sizes below are of these."""
    unknown: int
    """Results whose size cannot be known: images, files, results that come in parts later."""
    skipped: int
    """Results outside of the sample, whose size only serialising would have told."""
    is_sampled: bool
    """Whether some results were skipped, so that the known sizes are a sample."""
    total: int
    maximum: int | None
    percentiles: Percentiles
    window_samples: int


class Figures(NamedTuple):
    """Everything recorded since `start_time`, at one moment."""

    tools: tuple[ToolFigures, ...]
    caches: tuple[CacheFigures, ...]
    active_sessions: int
    start_time: float
    uptime_seconds: float
    """Seconds since then, also if the clock was set meanwhile."""
    requests_by_hand: int
    """Requests in progress that the program counts by hand."""
    operations: tuple[OperationFigures, ...] = ()
    """MCP requests of servers and clients, by method and name."""
    sessions: tuple[OperationFigures, ...] = ()
    """MCP sessions that have ended, of servers and of clients."""
    usage: tuple["UsageSeries", ...] = ()
    """Copies of the series of model calls, by tool, provider and model."""
    weights: tuple[WeightFigures, ...] | None = ()
    """Weights of tools; None if they are not measured."""

    @property
    def concurrent_requests(self) -> int:
        """Requests in progress: those measured, or the number set by hand if it is larger."""
        return max(self.requests_by_hand, sum([tool.active for tool in self.tools]))

    @property
    def total_requests(self) -> int:
        return sum([tool.calls for tool in self.tools])

    @property
    def has_counts(self) -> bool:
        """Whether anything was called, asked or looked up."""
        return bool(
            self.total_requests
            or self.operations
            or self.sessions
            or self.usage
            or any(cache.hits or cache.misses for cache in self.caches)
        )


class Whole(NamedTuple):
    """The figures of a whole process. Times in Unix seconds.

    `gc` has collections, collected and uncollectable objects for each generation.
    """

    start_time: float
    active_sessions: int
    requests_by_hand: int
    cpu_seconds: float
    resident_bytes: int | None
    threads: int
    gc: tuple[tuple[int, int, int], ...] | None
