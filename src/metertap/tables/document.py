"""The metrics document of a running process, as far as commands read it: `GET /metrics`.

An answer may come from an older version of metertap and is checked against these types, so they
require only what is read. `metertap_exporters.json.shape` has all that is served.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from metertap.tables.sections import Costs, Weights


class Latencies(TypedDict):
    """Latencies of some of a tool's calls, in milliseconds."""

    calls: int
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None


class ByCache(TypedDict):
    """Latencies of calls whose lookups all hit, and of those with a miss."""

    all_hit: Latencies
    missed: Latencies


class Called(TypedDict):
    """The figures that tools and MCP operations have in common."""

    total_calls: int
    failed_calls: int
    success_rate: float | None
    avg_latency_ms: float | None
    min_latency_ms: float | None
    max_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None
    extrapolated: list[str]
    error_types: dict[str, int]
    last_call_timestamp: float | None


class EveryTool(Called):
    """The figures of one tool that all versions of metertap serve."""

    source: str
    method: Literal["exact", "estimate"]
    successful_calls: int
    cancelled_calls: int | None
    caller_errors: int | None
    outcomes: dict[str, int] | None
    window_samples: int | None
    active_calls: int | None
    with_cache: ByCache | None
    first_item: Latencies | None


class Tool(EveryTool, total=False):
    """Figures of one tool. Older versions of metertap leave out the fields below."""

    error_outcomes: dict[str, dict[str, int]] | None


class Lookups(TypedDict):
    """Lookups of one tool in a cache."""

    hits: int
    misses: int
    hit_rate: float | None


class Cache(TypedDict):
    """Figures of one cache."""

    system: str
    hits: int
    misses: int
    total_requests: int
    hit_rate: float | None
    evictions: int | None
    size_rejections: int | None
    entries: int | None
    by_tool: dict[str, Lookups] | None


class Operation(Called):
    """Figures of the MCP requests of one method and name, as one side saw them."""

    side: Literal["server", "client"]
    method: str
    name: str | None
    window_samples: int


class Session(TypedDict):
    """Figures of the MCP sessions of one side that have ended."""

    side: Literal["server", "client"]
    ended_sessions: int
    failed_sessions: int
    max_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    extrapolated: list[str]
    error_types: dict[str, int]


class ProcessUse(TypedDict):
    """CPU time and memory that the process uses."""

    cpu_seconds: float
    resident_bytes: int | None


class SystemFigures(TypedDict):
    """Figures of the process as a whole, except its use of the machine."""

    active_sessions: int
    concurrent_requests: int
    total_requests: int
    start_time: float
    uptime_seconds: float


class System(SystemFigures):
    """Figures of the process as a whole."""

    process: ProcessUse


class Service(TypedDict, total=False):
    """Name, version and instance of the program, as it calls itself."""

    name: str
    version: str
    instance_id: str


class Alert(TypedDict):
    """An alert that the process itself raised."""

    severity: str
    state: str
    since: float
    summary: str


class Worker(TypedDict):
    """One of the processes whose figures are shown together."""

    pid: int
    state: str
    age_seconds: float
    reason: str | None


class _Always(TypedDict):
    enabled: bool
    service: Service
    tool_metrics: dict[str, Tool]
    cache_metrics: dict[str, Cache]
    system_metrics: System


class Document(_Always, total=False):
    """The metrics document. Older versions of metertap leave out the fields below."""

    operations: list[Operation]
    sessions: list[Session]
    alerts: list[Alert] | None
    cost_metrics: Costs | None
    workers: list[Worker] | None
    ended_workers: int
    killed_workers: int
    weight_metrics: Weights | None
