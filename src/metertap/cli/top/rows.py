"""The rows of both tables, out of the processes that are watched."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from metertap import text
from metertap.cli.top.columns import FAILED, Row
from metertap.cli.top.poller import Watched
from metertap.cli.top.readings import Cache, Tool

_ANEW_SECONDS = 30.0


def labels(listed: Sequence[Watched]) -> list[str]:
    """What each process is called in a table: its service, and more where that is not enough."""
    names = Counter(watched.name for watched in listed)

    def label(watched: Watched) -> str:
        if names[watched.name] == 1:
            return watched.name
        process = watched.process
        return f"{watched.name}:{process.pid or process.url.rpartition(':')[2]}"

    return [label(watched) for watched in listed]


def rows(listed: Sequence[Watched], now: float) -> tuple[list[Row[Tool]], list[Row[Cache]]]:
    """Every tool and every cache."""
    tools: list[Row[Tool]] = []
    caches: list[Row[Cache]] = []
    for label, watched in zip(labels(listed), listed, strict=True):
        if watched.reading is None:
            continue
        silent, where = watched.is_silent(now), (watched.process.url, watched.process.pid)
        tools += [
            Row(label, silent, tool, (*where, tool.name), watched.history)
            for tool in watched.reading.tools
        ]
        caches += [
            Row(label, silent, cache, (*where, cache.name), watched.history)
            for cache in watched.reading.caches
        ]
    return tools, caches


def state(watched: Watched, now: float) -> tuple[str, str, str]:
    """How a process is: a sign, a style, and words."""
    if watched.is_silent(now):
        since = watched.silent_since()
        when = f"since {clock(since)} ({text.duration(now - since)})"
        because = f": {watched.problem.reason}" if watched.problem else ""
        if watched.is_gone():
            return FAILED, "red", f"gone {when}"
        if watched.answered is None:
            return "?", "yellow", f"no answer yet{because}"
        return "?", "yellow", f"no answer {when}{because}"
    reading = watched.reading
    if reading is None:
        return " ", "", "asked …"
    words = [f"up {text.duration(reading.uptime_seconds)}"]
    if not reading.enabled:
        words.insert(0, "measuring is switched off")
    if watched.began_anew is not None and now - watched.began_anew < _ANEW_SECONDS:
        words.insert(0, f"began anew {clock(watched.began_anew)}")
    words.append(f"{text.rate(reading.calls_per_second)} calls/s")
    words.append(f"{reading.active_calls} active")
    if reading.active_sessions:
        words.append(f"{reading.active_sessions} sessions")
    cpu = text.NONE if reading.cpu_percent is None else f"{reading.cpu_percent:.1f} %"
    words.append(f"cpu {cpu}")
    words.append(text.size(reading.resident_bytes))
    return " ", "", " · ".join(words)


def clock(at: float) -> str:
    """The time of day here."""
    return time.strftime("%H:%M:%S", time.localtime(at))
