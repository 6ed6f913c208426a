"""A collector, and what is recorded with it."""

from __future__ import annotations

from typing import Any

import metertap
from metertap import PerformanceMetricsCollector


def document() -> dict[str, Any]:
    return metertap.get_all_metrics()


def without(stats: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in stats.items() if key not in names}


def use(collector: PerformanceMetricsCollector) -> None:
    """Record in every way that there is."""
    collector.record_tool_call("search", success=True, latency_ms=12.5)
    collector.record_tool_call("search", True, 7.25)
    collector.record_tool_call(
        success=False, latency_ms=900, error_type="ValueError", tool_name="search"
    )
    collector.record_tool_call("search", success=False, error_type="ReadTimeout")
    collector.record_tool_call("search", False, 3.0, "CancelledError")
    collector.record_tool_call("once", success=True, latency_ms=1.0)
    collector.record_cache_hit("prompts")
    collector.record_cache_hit("prompts")
    collector.record_cache_miss("prompts")
    collector.record_cache_eviction("prompts")
    collector.record_cache_size_rejection("prompts")
