"""A reading: the figures in the latest document of a process, and rates since the one before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from metertap.tables import document as documents
from metertap.tables.document import Document
from metertap.tables.figures import workers_told
from metertap.tables.percentiles import Percentile, Which, percentile, percentile_of_operation
from metertap.tables.sections import Costs, ToolWeight
from metertap.tables.spending import Spending

_RECENT_SECONDS = 60.0
"""How long a failed call marks its tool, in seconds."""
_LEAST_SECONDS = 0.05
"""The least time between two documents from which a rate is computed."""
_ALARMING = ("firing", "pending")
_Figures = documents.Tool | documents.Operation
Figures = TypeVar("Figures", documents.Tool, documents.Operation)
_Key = str | tuple[str, str, str | None]
"""A tool's name, or an operation's side, method and name."""


@dataclass(frozen=True, slots=True)
class _Called(Generic[Figures]):
    """The figures of a tool or operation, and what only two documents together can show."""

    name: str
    figures: Figures
    calls_per_second: float | None
    failed_lately: bool

    @property
    def uses(self) -> int:
        """The number of calls since counting began."""
        return self.figures["total_calls"]


@dataclass(frozen=True, slots=True)
class Tool(_Called[documents.Tool]):
    """One tool of one process."""

    weight: ToolWeight | None = None

    def percentile(self, which: Which) -> Percentile:
        """Return a percentile of the last calls."""
        return percentile(self.figures, which)


class Operation(_Called[documents.Operation]):
    """The MCP requests of one method and name, as one side of one process saw them.

    Its name is the method, followed by the name of the tool, prompt or resource if it has one.
    """

    __slots__ = ()

    def percentile(self, which: Which) -> Percentile:
        """Return a percentile of the last requests."""
        return percentile_of_operation(self.figures, which)


@dataclass(frozen=True, slots=True)
class Cache:
    """One cache of one process."""

    name: str
    figures: documents.Cache
    lookups_per_second: float | None

    @property
    def uses(self) -> int:
        """The number of lookups since counting began."""
        return self.figures["total_requests"]


@dataclass(frozen=True, slots=True)
class Reading:
    """The figures of one process, at the time of its latest document."""

    service: str
    version: str
    enabled: bool
    began_anew: bool
    """Whether the process has been restarted or reset since the document before."""
    uptime_seconds: float
    calls_per_second: float | None
    active_calls: int
    active_sessions: int
    cpu_percent: float | None
    resident_bytes: int | None
    tools: tuple[Tool, ...]
    caches: tuple[Cache, ...]
    operations: tuple[Operation, ...] = ()
    sessions: tuple[documents.Session, ...] = ()
    """MCP sessions that have ended, by side."""
    alerts: tuple[documents.Alert, ...] = ()
    """The alerts that fire, then those that are pending."""
    costs: Costs | None = None
    """The costs of tools, if any calls models or has a fee."""
    spending: Spending | None = None
    """The spending on each of the last days, if the process keeps a history."""
    workers: str = ""
    """If there are several workers: how many the figures cover, and which were not reached."""


class Readings:
    """A converter of one process's successive documents into readings."""

    def __init__(self) -> None:
        self._before: Document | None = None
        self._failed_at: dict[_Key, float] = {}

    def of(self, document: Document) -> Reading:
        """Return the reading of a document, with rates since the document of the call before."""
        before = self._before
        began_anew = before is not None and _identity(before) != _identity(document)
        if before is None or began_anew:
            before = None
            self._failed_at.clear()
        self._before = document
        service, system = document["service"], document["system_metrics"]
        elapsed = _elapsed(before, document)
        earlier = None if before is None else _called(before)
        changes = {
            key: self._change(key, figures, earlier, elapsed, system["uptime_seconds"])
            for key, figures in _called(document).items()
        }
        weighed = document.get("weight_metrics")
        weights = {} if weighed is None else weighed["tools"]
        tools = tuple(
            Tool(name, tool, *changes[name], weight=weights.get(name))
            for name, tool in document["tool_metrics"].items()
        )
        operations = tuple(
            Operation(_name(operation), operation, *changes[_key(operation)])
            for operation in document.get("operations", ())
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
            operations=operations,
            sessions=tuple(document.get("sessions", ())),
            alerts=_alerts(document),
            costs=document.get("cost_metrics"),
            workers=workers_told(document),
        )

    def _change(
        self,
        key: _Key,
        figures: _Figures,
        before: dict[_Key, _Figures] | None,
        elapsed: float | None,
        uptime: float,
    ) -> tuple[float | None, bool]:
        """Return the calls per second, and whether a call was seen to fail in the last minute."""
        # A tool that the earlier document does not have has begun at 0 since then.
        earlier = None if before is None else before.get(key)
        failed_earlier = 0 if earlier is None else earlier["failed_calls"]
        if before is not None and figures["failed_calls"] > failed_earlier:
            self._failed_at[key] = uptime
        calls_earlier = 0 if earlier is None else earlier["total_calls"]
        return (
            _rate(figures["total_calls"], calls_earlier, elapsed),
            uptime - self._failed_at.get(key, float("-inf")) <= _RECENT_SECONDS,
        )


def _called(document: Document) -> dict[_Key, _Figures]:
    """Return all that has calls: tools by name, MCP operations by side, method and name."""
    found: dict[_Key, _Figures] = {}
    found.update(document["tool_metrics"])
    found.update((_key(operation), operation) for operation in document.get("operations", ()))
    return found


def _key(operation: documents.Operation) -> _Key:
    return operation["side"], operation["method"], operation["name"]


def _name(operation: documents.Operation) -> str:
    return " ".join(filter(None, (operation["method"], operation["name"])))


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
    """Return the change per second; None if no time has passed or the count has decreased."""
    return None if elapsed is None or now < before else (now - before) / elapsed


def _alerts(document: Document) -> tuple[documents.Alert, ...]:
    found = [alert for alert in document.get("alerts") or () if alert["state"] in _ALARMING]
    return tuple(sorted(found, key=lambda alert: (_ALARMING.index(alert["state"]), alert["since"])))
