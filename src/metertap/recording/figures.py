"""Figures: copies of everything that was recorded, at one moment."""

# No import of annotations from __future__: a NamedTuple compiles each that is text, at start.

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

    The same object as long as nothing changes: what is in it is not to be changed either.
    """

    name: str
    source: str
    counts: dict[str, int]
    error_types: dict[str, int]
    sampled: int
    """Successful and failed calls that have a duration: what the latencies below are of."""
    total_ms: float
    minimum_ms: float | None
    maximum_ms: float | None
    percentiles: Percentiles
    window_samples: int
    active: int
    last_call: float | None
    with_cache: tuple[LatencyFigures, LatencyFigures] | None
    """Calls of which every lookup in a cache hit, and those of which one missed."""
    first_item: LatencyFigures | None
    """Latencies of calls that yield, until the first item."""
    unsampled: int
    """Calls that have a duration and ended otherwise: cancelled, caller's errors, interim."""
    unsampled_ms: float
    errors: dict[str, int]
    """`error_types` by outcome as well: the outcome, a space and the type."""

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
    """One cache's numbers at one moment. None is not known: the library does not show it.

    `is_read` says that the cache counts itself, and so does not know for which tool; `objects` is
    how many of them there are now that this name stands for, where they are known.
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
    """MCP requests of one method and name, or sessions, as one side saw them at one moment.

    Durations in milliseconds, times in Unix seconds. All that ended are in every number, however
    they ended; `failed` are those with an `error.type`. The same object as long as nothing changes.
    """

    side: str
    """`server` or `client`."""
    method: str
    """The method of the requests; empty for sessions."""
    name: str | None
    """The name of the tool, prompt or resource, if there is one; `_OTHER` if it is unknown."""
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
    """Weights of one tool as one side saw them: its definition and its results, in bytes.

    The same object as long as nothing changes.
    """

    name: str
    source: str
    side: str
    """`server` is what runs the tool, a framework too; `client` asks another process for it."""
    definition: Definition | None
    results: int
    """Results whose size is known: what the sizes below are of."""
    unknown: int
    """Results whose size nobody can tell: images, files, what yields its parts later."""
    skipped: int
    """Results that only writing would have sized, and that were not in the sample."""
    is_sampled: bool
    """Whether there were such, so that what is known is a sample."""
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
    """Since then, however the clock was set meanwhile."""
    requests_by_hand: int
    """Requests in progress that the program counts itself."""
    operations: tuple[OperationFigures, ...] = ()
    """MCP requests of servers and clients, by method and name."""
    sessions: tuple[OperationFigures, ...] = ()
    """MCP sessions that have ended, of servers and of clients."""
    usage: tuple["UsageSeries", ...] = ()
    """Model calls, by tool, provider and model: copies."""
    weights: tuple[WeightFigures, ...] | None = ()
    """Weights of tools; None where they are not measured."""

    @property
    def concurrent_requests(self) -> int:
        """Requests in progress: what was measured, or what was set by hand if that is more."""
        return max(self.requests_by_hand, sum([tool.active for tool in self.tools]))

    @property
    def total_requests(self) -> int:
        return sum([tool.calls for tool in self.tools])


class Whole(NamedTuple):
    """The figures that a process has once: times in Unix seconds, `gc` as in the standard library.

    Of the collector's generations each is collections, collected and uncollectable objects.
    """

    start_time: float
    active_sessions: int
    requests_by_hand: int
    cpu_seconds: float
    resident_bytes: int | None
    threads: int
    gc: tuple[tuple[int, int, int], ...] | None
