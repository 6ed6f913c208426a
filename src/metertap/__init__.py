"""metertap: OpenTelemetry metrics for every tool handler and every cache of a Python process.

import metertap

metertap.instrument()
"""

from metertap._version import __version__
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
from metertap.tap import Tap, get_all_metrics, instrument, reset, uninstrument

__all__ = [
    "CacheMeter",
    "Tap",
    "__version__",
    "cache_meter",
    "get_all_metrics",
    "instrument",
    "measure_tool",
    "record_cache_eviction",
    "record_cache_hit",
    "record_cache_miss",
    "record_cache_size_rejection",
    "record_tool_call",
    "reset",
    "tool",
    "uninstrument",
]
