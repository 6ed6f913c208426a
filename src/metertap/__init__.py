"""metertap: OpenTelemetry metrics for every tool handler and every cache of a Python process.

import metertap

metertap.instrument()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metertap._version import __version__

if TYPE_CHECKING:
    from metertap.caches import name_cache
    from metertap.collector import PerformanceMetricsCollector, get_collector
    from metertap.manual import (
        CacheMeter,
        cache_meter,
        measure_tool,
        record_cache_eviction,
        record_cache_hit,
        record_cache_miss,
        record_cache_size_rejection,
        record_tool_call,
        tool,
    )
    from metertap.own_metrics import CacheMetrics, SystemMetrics, ToolMetrics
    from metertap.tap import (
        Tap,
        get_all_metrics,
        instrument,
        reset,
        reset_metrics,
        uninstrument,
    )

__all__ = [
    "CacheMeter",
    "CacheMetrics",
    "PerformanceMetricsCollector",
    "SystemMetrics",
    "Tap",
    "ToolMetrics",
    "__version__",
    "cache_meter",
    "get_all_metrics",
    "get_collector",
    "instrument",
    "measure_tool",
    "name_cache",
    "record_cache_eviction",
    "record_cache_hit",
    "record_cache_miss",
    "record_cache_size_rejection",
    "record_tool_call",
    "reset",
    "reset_metrics",
    "tool",
    "uninstrument",
]


def __getattr__(name: str) -> Any:
    # When first asked for: importing OpenTelemetry takes a while, and `metertap run` has no need.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from metertap import caches, collector, manual, tap

    home = next(module for module in (manual, tap, caches, collector) if hasattr(module, name))
    globals()[name] = value = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
