"""metertap: OpenTelemetry metrics for every tool handler and every cache of a Python process.

import metertap

metertap.instrument()

PYTEST_DONT_REWRITE: pytest would warn where `metertap run` has imported this before it.
"""

from __future__ import annotations

import sys

from metertap import unavailable
from metertap._version import __version__
from metertap.importing import Importing

TYPE_CHECKING = False  # not typing's: to import that takes longer than all the rest
if TYPE_CHECKING:
    from metertap.caching.cache_meter import (
        CacheMeter,
        cache_meter,
        record_cache_eviction,
        record_cache_hit,
        record_cache_miss,
        record_cache_size_rejection,
    )
    from metertap.caching.meters import name_cache
    from metertap.collector.collector import PerformanceMetricsCollector, get_collector
    from metertap.collector.standalone import CacheMetrics, SystemMetrics, ToolMetrics
    from metertap.costs.by_hand import record_usage
    from metertap.measuring.by_hand import measure_tool, record_tool_call, tool
    from metertap.runtime.instrument import instrument
    from metertap.runtime.mounting import asgi_app, wsgi_app
    from metertap.runtime.tap import Tap, get_all_metrics, reset, reset_metrics, uninstrument
    from metertap_exporters.json.shape import Document

__all__ = [
    "CacheMeter",
    "CacheMetrics",
    "Document",
    "PerformanceMetricsCollector",
    "SystemMetrics",
    "Tap",
    "ToolMetrics",
    "__version__",
    "asgi_app",
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
    "record_usage",
    "reset",
    "reset_metrics",
    "tool",
    "uninstrument",
    "wsgi_app",
]


_HOMES = {
    "metertap.caching.cache_meter": (
        "CacheMeter",
        "cache_meter",
        "record_cache_eviction",
        "record_cache_hit",
        "record_cache_miss",
        "record_cache_size_rejection",
    ),
    "metertap.caching.meters": ("name_cache",),
    "metertap.collector.collector": ("PerformanceMetricsCollector", "get_collector"),
    "metertap.collector.standalone": ("CacheMetrics", "SystemMetrics", "ToolMetrics"),
    "metertap.costs.by_hand": ("record_usage",),
    "metertap.measuring.by_hand": ("measure_tool", "record_tool_call", "tool"),
    "metertap.runtime.instrument": ("instrument",),
    "metertap.runtime.mounting": ("asgi_app", "wsgi_app"),
    "metertap.runtime.tap": ("Tap", "get_all_metrics", "reset", "reset_metrics", "uninstrument"),
    "metertap_exporters.json.shape": ("Document",),
}
"""The module that defines each public name."""
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    # Imported on first use: importing OpenTelemetry takes a while, and `metertap run` needs none.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOME[name]
    try:
        with Importing():
            __import__(home)
        value = getattr(sys.modules[home], name)
    except Exception as error:  # a package that metertap needs is absent or broken
        value = unavailable.stand_in(name, error)
        if unavailable.may_pass(error):
            return value  # the next use tries again
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)  # without the modules that this file imports for itself
