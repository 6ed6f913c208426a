"""The baseline of `reset_metrics`: figures from before it, which views add or subtract.

Series stay the same objects: patches and slots hold them, calls are in progress on them, and
instruments know them. Exported counters go on as well, since a cumulative one never goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from metertap.recording.figures import CacheFigures, ToolFigures
    from metertap.recording.usage_series import UsageSeries


class Past:
    """Counts from before the reset."""

    def __init__(
        self,
        until: float,
        tools: Iterable[ToolFigures] = (),
        caches: Iterable[CacheFigures] = (),
        usage: Iterable[UsageSeries] = (),
    ) -> None:
        self.until = until
        self.until_monotonic = unmocked.monotonic()  # the system's clock may be set meanwhile
        self._tools = {(tool.name, tool.source): tool for tool in tools}
        self._caches = {(cache.name, cache.system): cache for cache in caches}
        self._usage = {series.key: series for series in usage}

    @property
    def is_empty(self) -> bool:
        """Whether nothing had been counted before the reset."""
        return not self._tools

    def added_to(self, tool: ToolFigures) -> ToolFigures:
        """Add the counts from before the reset to `tool`. Percentiles stay those of the window."""
        past = self._tools.get((tool.name, tool.source))
        return tool if past is None else _together(past, tool)

    def counts_with(
        self, key: tuple[str, str], counts: Mapping[str, int], sampled: int
    ) -> tuple[dict[str, int], int]:
        """Return a tool's calls by outcome, and its known latencies, before and after the reset."""
        past = self._tools.get(key)
        if past is None:
            return dict(counts), sampled
        both = {name: past.counts.get(name, 0) + counts.get(name, 0) for name in past.counts}
        return both, past.sampled + sampled

    def usage_since(self, usage: tuple[UsageSeries, ...]) -> tuple[UsageSeries, ...]:
        """Return what models were used for since the reset; `usage` is since recording began."""
        if not self._usage:
            return usage
        from metertap.recording.usage_series import since

        return since(usage, self._usage)

    def left_out_of(self, cache: CacheFigures) -> CacheFigures:
        """Return the figures of `cache` since the reset, given those since recording began."""
        past = self._caches.get((cache.name, cache.system))
        return cache if past is None else _since(past, cache)


def _together(past: ToolFigures, now: ToolFigures) -> ToolFigures:
    def added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
        return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}

    def known(*values: float | None) -> list[float]:
        return [value for value in values if value is not None]

    return now._replace(
        counts=added(past.counts, now.counts),
        error_types=added(past.error_types, now.error_types),
        errors=added(past.errors, now.errors),
        sampled=past.sampled + now.sampled,
        total_ms=past.total_ms + now.total_ms,
        minimum_ms=min(known(past.minimum_ms, now.minimum_ms), default=None),
        maximum_ms=max(known(past.maximum_ms, now.maximum_ms), default=None),
        last_call=past.last_call if now.last_call is None else now.last_call,
        unsampled=past.unsampled + now.unsampled,
        unsampled_ms=past.unsampled_ms + now.unsampled_ms,
    )


def _since(past: CacheFigures, now: CacheFigures) -> CacheFigures:
    def more(now: int | None, past: int | None) -> int | None:
        return None if now is None else now - (past or 0)

    by_tool = None
    if now.by_tool is not None:
        before = past.by_tool or {}
        lookups = {
            tool: (hits - before.get(tool, (0, 0))[0], misses - before.get(tool, (0, 0))[1])
            for tool, (hits, misses) in now.by_tool.items()
        }
        by_tool = {tool: counts for tool, counts in lookups.items() if any(counts)}
    return now._replace(
        hits=now.hits - past.hits,
        misses=now.misses - past.misses,
        evictions=more(now.evictions, past.evictions),
        rejections=more(now.rejections, past.rejections),
        by_tool=None if now.is_read and not by_tool else by_tool,
    )
