"""What two documents of a process say together: its figures now, and how fast they change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metertap.cli.top.details import (
    CacheDetails,
    ToolDetails,
    cache_details,
    number,
    tool_details,
    whole,
)

_RECENT_SECONDS = 60.0
"""How long a tool that failed is marked."""
_LEAST_SECONDS = 0.05
"""Two documents that are closer say nothing about a rate."""
_ALARMING = ("firing", "pending")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one process. None is no data; latencies are milliseconds."""

    name: str
    calls_per_second: float | None
    success_rate: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    approximate: tuple[str, ...]
    """Percentiles that are estimated, or lie beyond the longest call."""
    active_calls: int | None
    total_calls: int
    last_error_type: str | None
    """Seen last; at first, the most frequent."""
    failed_lately: bool
    details: ToolDetails


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache of one process."""

    name: str
    system: str
    hit_rate: float | None
    lookups_per_second: float | None
    total_requests: int
    evictions: int | None
    entries: int | None
    details: CacheDetails


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a process itself found alarming."""

    state: str
    severity: str
    summary: str
    since: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at the time of its latest document."""

    service: str
    version: str
    enabled: bool
    began_anew: bool
    """It is another process than that of the document before, or counts anew."""
    uptime_seconds: float
    calls_per_second: float | None
    active_calls: int
    active_sessions: int
    cpu_percent: float | None
    resident_bytes: int | None
    tools: tuple[Tool, ...]
    caches: tuple[Cache, ...]
    alerts: tuple[Alert, ...] = ()
    """Those that fire or may soon; what fires first."""


class Readings:
    """Makes a reading of each document of one process."""

    def __init__(self) -> None:
        self._before: Mapping[str, Any] | None = None
        self._failed: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def of(self, document: Mapping[str, Any]) -> Reading:
        """The reading of a document that comes after those given before.

        Raises KeyError, TypeError, ValueError or AttributeError where it is none of ours.
        """
        before = self._before
        began_anew = before is not None and _identity(before) != _identity(document)
        if began_anew:
            before = None
        # Its own monotonic clock: the time of day may be set meanwhile.
        uptime = float(document["system_metrics"]["uptime_seconds"])
        elapsed = None
        if before is None:
            self._failed.clear()
            self._errors.clear()
        else:
            elapsed = uptime - before["system_metrics"]["uptime_seconds"]
            if elapsed < _LEAST_SECONDS:
                elapsed = None
        tools_before = {} if before is None else before["tool_metrics"]
        caches_before = {} if before is None else before["cache_metrics"]
        tools = tuple(
            self._tool(name, tool, tools_before.get(name), elapsed, uptime, before is None)
            for name, tool in document["tool_metrics"].items()
        )
        caches = tuple(
            _cache(name, cache, caches_before.get(name), elapsed)
            for name, cache in document["cache_metrics"].items()
        )
        self._before = document
        service, system = document["service"], document["system_metrics"]
        cpu = None
        if before is not None:
            cpu = _rate(
                system["process"], before["system_metrics"]["process"], "cpu_seconds", elapsed
            )
        rates = [tool.calls_per_second for tool in tools if tool.calls_per_second is not None]
        return Reading(
            service=str(service.get("name", "")),
            version=str(service.get("version", "")),
            enabled=bool(document["enabled"]),
            began_anew=began_anew,
            uptime_seconds=uptime,
            calls_per_second=sum(rates) if rates else None,
            active_calls=int(system["concurrent_requests"]),
            active_sessions=int(system["active_sessions"]),
            cpu_percent=None if cpu is None else 100 * cpu,
            resident_bytes=system["process"]["resident_bytes"],
            tools=tools,
            caches=caches,
            alerts=_alerts(document.get("alerts") or ()),
        )

    def _tool(
        self,
        name: str,
        tool: Mapping[str, Any],
        before: Mapping[str, Any] | None,
        elapsed: float | None,
        uptime: float,
        is_first: bool,
    ) -> Tool:
        failed = int(tool["failed_calls"])
        if not is_first and failed > (before["failed_calls"] if before else 0):
            self._failed[name] = uptime
        types: Mapping[str, int] = tool["error_types"]
        if types:
            types_before = before["error_types"] if before else {}
            more = {kind: count - types_before.get(kind, 0) for kind, count in types.items()}
            latest = max(more, key=lambda kind: more[kind])
            if more[latest] > 0 or name not in self._errors:
                self._errors[name] = latest
        approximate = (
            ["p50", "p95", "p99"] if tool["method"] == "estimate" else tool["extrapolated"]
        )
        return Tool(
            name=name,
            calls_per_second=_rate(tool, before, "total_calls", elapsed),
            success_rate=number(tool["success_rate"]),
            p50_latency_ms=number(tool["p50_latency_ms"]),
            p95_latency_ms=number(tool["p95_latency_ms"]),
            p99_latency_ms=number(tool["p99_latency_ms"]),
            approximate=tuple(approximate),
            active_calls=whole(tool["active_calls"]),
            total_calls=int(tool["total_calls"]),
            last_error_type=self._errors.get(name),
            failed_lately=uptime - self._failed.get(name, float("-inf")) <= _RECENT_SECONDS,
            details=tool_details(tool),
        )


def _alerts(found: Iterable[Mapping[str, Any]]) -> tuple[Alert, ...]:
    alerts = [
        Alert(str(it["state"]), str(it["severity"]), str(it["summary"]), float(it["since"]))
        for it in found
        if it["state"] in _ALARMING
    ]
    return tuple(sorted(alerts, key=lambda alert: (_ALARMING.index(alert.state), alert.since)))


def _cache(
    name: str, cache: Mapping[str, Any], before: Mapping[str, Any] | None, elapsed: float | None
) -> Cache:
    return Cache(
        name=name,
        system=str(cache["system"]),
        hit_rate=number(cache["hit_rate"]),
        lookups_per_second=_rate(cache, before, "total_requests", elapsed),
        total_requests=int(cache["total_requests"]),
        evictions=whole(cache["evictions"]),
        entries=whole(cache["entries"]),
        details=cache_details(cache),
    )


def _identity(document: Mapping[str, Any]) -> tuple[object, object]:
    return document["service"].get("instance_id"), document["system_metrics"]["start_time"]


def _rate(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, key: str, elapsed: float | None
) -> float | None:
    """Change a second. What was not there before began at 0: it appeared meanwhile."""
    if elapsed is None:
        return None
    change: float = now[key] - (before[key] if before else 0)
    return change / elapsed if change >= 0 else None
