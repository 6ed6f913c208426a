"""What is held for one tool and for one cache: plain numbers, changed under the recorder's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from metertap import catalogue, guard, outcome

_ERROR_TYPES_LIMIT = 100
"""Distinct error types kept a tool; classes made at run time would otherwise grow without end."""
_LABEL_LENGTH = 200


def as_label(text: str) -> str:
    """`text`, bounded, and without what cannot be encoded: one such label breaks every export."""
    return text[:_LABEL_LENGTH].encode("utf-8", "replace").decode("utf-8")


class ToolSeries:
    """One tool of one source: counts by outcome, extremes, and the window of its last calls.

    Latencies are milliseconds, as they were given: converting them would cost the exact
    percentiles their last digit.
    """

    __slots__ = (
        "active",
        "attributes",
        "counts",
        "error_types",
        "last_call",
        "maximum",
        "minimum",
        "name",
        "sampled",
        "source",
        "total",
        "window",
    )

    def __init__(self, name: str, source: str, window_size: int) -> None:
        self.name = name
        self.source = source
        self.active = 0
        self.counts = dict.fromkeys(outcome.ALL, 0)
        self.error_types: dict[str, int] = {}
        self.sampled = 0
        self.total = 0.0
        self.minimum: float | None = None
        self.maximum: float | None = None
        self.last_call: float | None = None
        self.window: deque[float] = deque(maxlen=window_size)
        self.attributes: dict[tuple[str, str | None], dict[str, str]] = {}

    def add(self, ended: str, error_type: str | None, latency_ms: float | None, now: float) -> None:
        """Count one call that ended. Without a latency it is counted and leaves no sample."""
        self.counts[ended] += 1
        self.last_call = now
        if error_type is not None:
            self.error_types[error_type] = self.error_types.get(error_type, 0) + 1
        if latency_ms is None or ended not in outcome.SAMPLED:
            return
        self.sampled += 1
        self.total += latency_ms
        if self.minimum is None or latency_ms < self.minimum:
            self.minimum = latency_ms
        if self.maximum is None or latency_ms > self.maximum:
            self.maximum = latency_ms
        self.window.append(latency_ms)

    def resize(self, window_size: int) -> None:
        """Give the window another size, keeping its newest samples."""
        self.window = deque(self.window, maxlen=window_size)

    def bounded_error_type(self, error_type: str) -> str:
        """`error_type` itself, or `_OTHER` where this tool has shown too many already."""
        if error_type in self.error_types:
            return error_type
        error_type = as_label(error_type)
        known = error_type in self.error_types
        return (
            error_type if known or len(self.error_types) < _ERROR_TYPES_LIMIT else catalogue.OTHER
        )

    def attributes_for(self, ended: str, error_type: str | None) -> dict[str, str]:
        """The attributes of `gen_ai.execute_tool.duration`; made once for each combination."""
        key = (ended, error_type)
        found = self.attributes.get(key)
        if found is None:
            found = {catalogue.TOOL_NAME: self.name, catalogue.OUTCOME: ended}
            if error_type is not None:
                found[catalogue.ERROR_TYPE] = error_type
            self.attributes[key] = found
        return found

    def figures(self) -> ToolFigures:
        """A copy to compute views from, without holding the recorder's lock."""
        return ToolFigures(
            name=self.name,
            source=self.source,
            counts=dict(self.counts),
            error_types=dict(self.error_types),
            sampled=self.sampled,
            total_ms=self.total,
            minimum_ms=self.minimum,
            maximum_ms=self.maximum,
            samples_ms=tuple(self.window),
            active=self.active,
            last_call=self.last_call,
        )


@dataclass(frozen=True, slots=True)
class ToolFigures:
    """One tool's numbers at one moment. Latencies in milliseconds, times in Unix seconds."""

    name: str
    source: str
    counts: dict[str, int]
    error_types: dict[str, int]
    sampled: int
    total_ms: float
    minimum_ms: float | None
    maximum_ms: float | None
    samples_ms: tuple[float, ...]
    active: int
    last_call: float | None

    @property
    def succeeded(self) -> int:
        return self.counts[outcome.OK]

    @property
    def failed(self) -> int:
        return sum(self.counts[name] for name in outcome.FAILED)


@dataclass(slots=True, eq=False)
class CacheSeries:
    """One cache: plain integers that observable instruments read when somebody collects.

    `by_tool` holds hits and misses for lookups made during a tool call. `entries` asks the cache
    how many it holds; None where that is not known.
    """

    name: str
    system: str
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    rejections: int = 0
    by_tool: dict[str, list[int]] = field(default_factory=dict)
    entries: Callable[[], int | None] | None = None

    def held(self) -> int | None:
        """How many entries the cache holds, if it says so.

        Not to be asked under the recorder's lock: a cache may hold a lock of its own and record.
        """
        if self.entries is not None:
            with guard.guarded("cache.entries"):
                return self.entries()
        return None

    def figures(self, entries: int | None) -> CacheFigures:
        """A copy to compute views from."""
        return CacheFigures(
            name=self.name,
            system=self.system,
            hits=self.hits,
            misses=self.misses,
            evictions=self.evictions,
            rejections=self.rejections,
            by_tool={tool: (hits, misses) for tool, (hits, misses) in self.by_tool.items()},
            entries=entries,
        )


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """One cache's numbers at one moment."""

    name: str
    system: str
    hits: int
    misses: int
    evictions: int
    rejections: int
    by_tool: dict[str, tuple[int, int]]
    entries: int | None
