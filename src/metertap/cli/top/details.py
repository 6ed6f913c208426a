"""What a document says of a tool or a cache beyond the columns, under the document's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Latencies:
    """Of some calls of a tool. None is no data."""

    calls: int
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None


@dataclass(frozen=True, slots=True)
class Lookups:
    """Of one tool in a cache."""

    hits: int
    misses: int
    hit_rate: float | None


@dataclass(frozen=True, slots=True)
class ToolDetails:
    """The rest of a tool's figures."""

    source: str
    is_estimate: bool
    successful_calls: int
    failed_calls: int
    outcomes: dict[str, int] | None
    """None where another instrumentation's histogram is all that is known."""
    error_types: dict[str, int]
    min_latency_ms: float | None
    avg_latency_ms: float | None
    max_latency_ms: float | None
    window_samples: int | None
    last_call_timestamp: float | None
    all_hit: Latencies | None
    """Of successful calls of which every lookup in a cache hit; None where none asked any."""
    missed: Latencies | None
    """Of those of which one missed."""
    first_item: Latencies | None
    """Until the first item; None where none is yielded."""


@dataclass(frozen=True, slots=True)
class CacheDetails:
    """The rest of a cache's figures. None is what the library does not show."""

    hits: int
    misses: int
    size_rejections: int | None
    by_tool: dict[str, Lookups] | None
    """None where the cache's statistics do not say who asked."""


def tool_details(tool: Mapping[str, Any]) -> ToolDetails:
    """Of a tool's part of a document."""
    with_cache = tool["with_cache"] or {}
    outcomes = tool["outcomes"]
    return ToolDetails(
        source=str(tool["source"]),
        is_estimate=tool["method"] == "estimate",
        successful_calls=int(tool["successful_calls"]),
        failed_calls=int(tool["failed_calls"]),
        outcomes=None if outcomes is None else _counts(outcomes),
        error_types=_counts(tool["error_types"]),
        min_latency_ms=number(tool["min_latency_ms"]),
        avg_latency_ms=number(tool["avg_latency_ms"]),
        max_latency_ms=number(tool["max_latency_ms"]),
        window_samples=whole(tool["window_samples"]),
        last_call_timestamp=number(tool["last_call_timestamp"]),
        all_hit=_latencies(with_cache.get("all_hit")),
        missed=_latencies(with_cache.get("missed")),
        first_item=_latencies(tool["first_item"]),
    )


def cache_details(cache: Mapping[str, Any]) -> CacheDetails:
    """Of a cache's part of a document."""
    by_tool = cache["by_tool"]
    return CacheDetails(
        hits=int(cache["hits"]),
        misses=int(cache["misses"]),
        size_rejections=whole(cache["size_rejections"]),
        by_tool=None
        if by_tool is None
        else {
            str(tool): Lookups(int(it["hits"]), int(it["misses"]), number(it["hit_rate"]))
            for tool, it in by_tool.items()
        },
    )


def number(value: Any) -> float | None:
    """A number, or None for no data."""
    return None if value is None else float(value)


def whole(value: Any) -> int | None:
    """A whole number, or None for no data."""
    return None if value is None else int(value)


def _counts(counts: Mapping[str, Any]) -> dict[str, int]:
    return {str(name): int(count) for name, count in counts.items()}


def _latencies(figures: Mapping[str, Any] | None) -> Latencies | None:
    if figures is None:
        return None
    return Latencies(
        calls=int(figures["calls"]),
        avg_latency_ms=number(figures["avg_latency_ms"]),
        p50_latency_ms=number(figures["p50_latency_ms"]),
        p95_latency_ms=number(figures["p95_latency_ms"]),
        p99_latency_ms=number(figures["p99_latency_ms"]),
    )
