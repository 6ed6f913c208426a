"""The document's section about the process as a whole."""

from __future__ import annotations

import gc
import os
import threading
import time
from typing import Any

from metertap import faults
from metertap.recording import Figures
from metertap.recording.figures import Whole
from metertap.unmocked import unmocked

_COLLECTOR = ("collections", "collected", "uncollectable")


def taken(figures: Figures) -> Whole:
    """Return what this process uses, with its figures as a whole."""
    return Whole(
        start_time=figures.start_time,
        active_sessions=figures.active_sessions,
        requests_by_hand=figures.requests_by_hand,
        cpu_seconds=time.process_time(),
        resident_bytes=faults.kept("document.system", _resident_bytes, None),
        threads=threading.active_count(),
        gc=faults.kept("document.system", _collections, None),
    )


def system(figures: Figures, whole: Whole | None = None) -> dict[str, Any]:
    """Build `system_metrics`: counts over all tools, and what the process uses.

    `whole` belongs to the processes behind the figures; by default, to this one.
    """
    found = whole or taken(figures)
    return {
        "active_sessions": figures.active_sessions,
        "concurrent_requests": figures.concurrent_requests,
        "total_requests": figures.total_requests,
        "start_time": figures.start_time,
        "uptime_seconds": figures.uptime_seconds,
        "process": {
            "cpu_seconds": found.cpu_seconds,
            "resident_bytes": found.resident_bytes,
            "threads": found.threads,
            "gc": None
            if found.gc is None
            else [dict(zip(_COLLECTOR, counts, strict=True)) for counts in found.gc],
        },
    }


def _collections() -> tuple[tuple[int, int, int], ...] | None:
    """Return the garbage collector's counts, youngest generation first; None without any."""
    if not hasattr(gc, "get_stats"):
        return None
    return tuple(
        (found["collections"], found["collected"], found["uncollectable"])
        for found in gc.get_stats()
    )


def _resident_bytes() -> int | None:
    """Return this process's resident memory; None if the system has no cheap way to tell."""
    try:
        # In text mode, a codec might be imported.
        with unmocked.open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
