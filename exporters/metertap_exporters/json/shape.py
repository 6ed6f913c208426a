"""The JSON document as types, for programs that read `tap.snapshot()` and for their editors.

Types that are not defined here are those of `metertap.tables.document`, with which commands check
answers. `schema.json` describes all of it: the meaning of each figure, and its limits.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from metertap.tables import document
from metertap.tables.document import Cache, Service, SystemFigures
from metertap.tables.sections import Costs, Weights


class Tool(document.EveryTool):
    """Figures of one tool. Latencies are in milliseconds, rates in percent, no data is None."""

    total_latency_ms: float | None
    interim_results: int | None
    error_outcomes: dict[str, dict[str, int]] | None


class Operation(document.Operation):
    """Figures of the MCP requests of one method and name, as one side saw them."""

    total_latency_ms: float


class Session(document.Session):
    """Figures of the MCP sessions of one side that have ended; durations in milliseconds."""

    total_duration_ms: float
    avg_duration_ms: float | None
    min_duration_ms: float | None
    window_samples: int
    last_end_timestamp: float | None


class Collections(TypedDict):
    """Garbage collections of one generation since the interpreter started."""

    collections: int
    collected: int
    uncollectable: int


class Process(document.ProcessUse):
    """CPU time, memory, threads and garbage collections of the process."""

    threads: int
    gc: list[Collections] | None


class System(SystemFigures):
    """Figures of the process as a whole; times in Unix seconds."""

    process: Process


class Alert(TypedDict):
    """An alert that the process itself raised."""

    name: str
    severity: Literal["warning", "critical"]
    state: Literal["pending", "firing", "resolved"]
    tool: str | None
    cache: str | None
    place: str | None
    value: float | None
    threshold: float
    unit: Literal["%", "ms", "s", "count", "USD"]
    since: float
    summary: str


class Worker(TypedDict):
    """One worker of the service that the document is about."""

    pid: int
    instance: str
    state: Literal["holds the port", "reached", "not reached", "left"]
    age_seconds: float
    reason: str | None


class Document(TypedDict):
    """The metrics document: what `tap.snapshot()` returns and `GET /metrics` serves as JSON."""

    schema_version: str
    enabled: bool
    timestamp: float
    service: Service
    tool_metrics: dict[str, Tool]
    cache_metrics: dict[str, Cache]
    operations: list[Operation]
    sessions: list[Session]
    system_metrics: System
    alerts: list[Alert] | None
    cost_metrics: Costs | None
    workers: list[Worker] | None
    ended_workers: int
    killed_workers: int
    weight_metrics: Weights | None
