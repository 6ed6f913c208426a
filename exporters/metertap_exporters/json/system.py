"""What the document says of the process as a whole."""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import Any

from metertap.recording import Figures


def system(figures: Figures) -> dict[str, Any]:
    """Build `system_metrics`: what was counted over all tools, and what the process costs."""
    return {
        "active_sessions": figures.active_sessions,
        "concurrent_requests": figures.concurrent_requests,
        "total_requests": figures.total_requests,
        "start_time": figures.start_time,
        "uptime_seconds": figures.uptime_seconds,
        "process": {
            "cpu_seconds": time.process_time(),
            "resident_bytes": _resident_bytes(),
            "threads": threading.active_count(),
            "gc": _collections(),
        },
    }


def _collections() -> list[dict[str, int]] | None:
    """Read the garbage collector's counts, youngest generation first; None where it has none."""
    if not hasattr(gc, "get_stats"):
        return None
    names = ("collections", "collected", "uncollectable")
    return [{name: generation[name] for name in names} for generation in gc.get_stats()]


def _resident_bytes() -> int | None:
    """Read this process's resident memory; None where the system offers no cheap way."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # a codec would be an import, late
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
