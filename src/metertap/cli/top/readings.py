"""What two documents of a process say together: its figures now, and how fast they change."""

from __future__ import annotations

from dataclasses import dataclass

from metertap.cli import documents
from metertap.cli.documents import Document

_RECENT_SECONDS = 60.0
"""How long a tool that failed is marked."""
_LEAST_SECONDS = 0.05
"""Two documents that are closer say nothing about a rate."""
_ALARMING = ("firing", "pending")


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of one process: the document's figures, and what only two documents tell."""

    name: str
    figures: documents.Tool
    calls_per_second: float | None
    last_error_type: str | None
    """Seen last; at first, the most frequent."""
    failed_lately: bool

    @property
    def uses(self) -> int:
        """Calls since counting began."""
        return self.figures["total_calls"]


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache of one process."""

    name: str
    figures: documents.Cache
    lookups_per_second: float | None

    @property
    def uses(self) -> int:
        """Lookups since counting began."""
        return self.figures["total_requests"]


@dataclass(frozen=True, slots=True)
class Reading:
    """One process at the time of its latest document."""

    service: str
    version: str
    enabled: bool
    began_anew: bool
    """Whether it is another process than that of the document before, or counts anew."""
    uptime_seconds: float
    calls_per_second: float | None
    active_calls: int
    active_sessions: int
    cpu_percent: float | None
    resident_bytes: int | None
    tools: tuple[Tool, ...]
    caches: tuple[Cache, ...]
    alerts: tuple[documents.Alert, ...] = ()
    """Those that fire, then those that may soon."""


class Readings:
    """Makes a reading of each document of one process."""

    def __init__(self) -> None:
        self._before: Document | None = None
        self._failed_at: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    def of(self, document: Document) -> Reading:
        """Return the reading of a document that comes after those given before."""
        before = self._before
        began_anew = before is not None and _identity(before) != _identity(document)
        if before is None or began_anew:
            before = None
            self._failed_at.clear()
            self._errors.clear()
        self._before = document
        service, system = document["service"], document["system_metrics"]
        elapsed = _elapsed(before, document)
        tools = tuple(
            self._tool(name, tool, before, elapsed, system["uptime_seconds"])
            for name, tool in document["tool_metrics"].items()
        )
        caches = tuple(
            _cache(name, cache, before, elapsed)
            for name, cache in document["cache_metrics"].items()
        )
        cpu = None
        if before is not None:
            used = before["system_metrics"]["process"]["cpu_seconds"]
            cpu = _rate(system["process"]["cpu_seconds"], used, elapsed)
        rates = [tool.calls_per_second for tool in tools if tool.calls_per_second is not None]
        return Reading(
            service=service.get("name", ""),
            version=service.get("version", ""),
            enabled=document["enabled"],
            began_anew=began_anew,
            uptime_seconds=system["uptime_seconds"],
            calls_per_second=sum(rates) if rates else None,
            active_calls=system["concurrent_requests"],
            active_sessions=system["active_sessions"],
            cpu_percent=None if cpu is None else 100 * cpu,
            resident_bytes=system["process"]["resident_bytes"],
            tools=tools,
            caches=caches,
            alerts=_alerts(document),
        )

    def _tool(
        self,
        name: str,
        tool: documents.Tool,
        before: Document | None,
        elapsed: float | None,
        uptime: float,
    ) -> Tool:
        earlier = None if before is None else before["tool_metrics"].get(name)
        failed_earlier = 0 if earlier is None else earlier["failed_calls"]
        if before is not None and tool["failed_calls"] > failed_earlier:
            self._failed_at[name] = uptime
        types = tool["error_types"]
        if types:
            types_earlier = {} if earlier is None else earlier["error_types"]
            more = {kind: count - types_earlier.get(kind, 0) for kind, count in types.items()}
            latest = max(more, key=lambda kind: more[kind])
            if more[latest] > 0 or name not in self._errors:
                self._errors[name] = latest
        # One that was not there before began at 0: it appeared meanwhile.
        calls_earlier = 0 if earlier is None else earlier["total_calls"]
        return Tool(
            name=name,
            figures=tool,
            calls_per_second=_rate(tool["total_calls"], calls_earlier, elapsed),
            last_error_type=self._errors.get(name),
            failed_lately=uptime - self._failed_at.get(name, float("-inf")) <= _RECENT_SECONDS,
        )


def _identity(document: Document) -> tuple[str | None, float]:
    return document["service"].get("instance_id"), document["system_metrics"]["start_time"]


def _elapsed(before: Document | None, now: Document) -> float | None:
    """Return the seconds between two documents, by the process's own monotonic clock."""
    if before is None:
        return None
    uptime = now["system_metrics"]["uptime_seconds"]
    elapsed = uptime - before["system_metrics"]["uptime_seconds"]
    return elapsed if elapsed >= _LEAST_SECONDS else None


def _cache(
    name: str, cache: documents.Cache, before: Document | None, elapsed: float | None
) -> Cache:
    earlier = None if before is None else before["cache_metrics"].get(name)
    lookups_earlier = 0 if earlier is None else earlier["total_requests"]
    return Cache(name, cache, _rate(cache["total_requests"], lookups_earlier, elapsed))


def _rate(now: float, before: float, elapsed: float | None) -> float | None:
    """Return the change a second; None where there is no time between, or it went back."""
    return None if elapsed is None or now < before else (now - before) / elapsed


def _alerts(document: Document) -> tuple[documents.Alert, ...]:
    found = [alert for alert in document.get("alerts") or () if alert["state"] in _ALARMING]
    return tuple(sorted(found, key=lambda alert: (_ALARMING.index(alert["state"]), alert["since"])))
