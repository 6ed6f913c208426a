"""The metrics document of a running process, as far as commands read it: `GET /metrics`.

An answer may come from an older version of metertap and is checked against these types, so they
require only what is read. `metertap_exporters.json.shape` adds the rest of what is served.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Latencies(TypedDict):
    """Latencies of some of a tool's calls, in milliseconds."""

    calls: int
    avg_latency_ms: float | None
    p50_latency_ms: float | None
    p95_latency_ms: float | None
    p99_latency_ms: float | None


class ByCache(TypedDict):
    """Latencies of calls of which every lookup hit, and of those of which one missed."""

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


class Budget(TypedDict):
    """The budget of a day and the forecast for it at the current rate; in USD."""

    daily: float | None
    forecast_daily: float | None
    over_seconds: float
    is_over: bool | None


class ToolCost(TypedDict):
    """Costs of one tool, in USD; no data is None."""

    model_calls: int
    input_tokens: int
    output_tokens: int
    spent: float | None
    fees: float
    spent_on_failures: float | None
    per_successful_call: float | None
    unpriced_calls: int
    unreported_calls: int
    saved_by_caches: float | None
    seconds_saved_by_caches: float | None


class ModelCost(TypedDict):
    """Calls of one model that one tool made, and what they cost in USD."""

    tool: str
    provider: str
    model: str
    calls: int
    failed_calls: int
    retried_calls: int
    repeated_calls: int
    unreported_calls: int
    unpriced_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    seconds: float
    spent: float | None
    spent_on_failures: float | None
    per_successful_call: float | None
    saved_by_caches: float | None


class CacheSaving(TypedDict):
    """Savings by the hits of one cache, in USD and in seconds; None is unknown."""

    hits: int | None
    saved: float | None
    seconds_saved: float | None


class Recommendation(TypedDict):
    """A recommendation with its arithmetic; `saves` is in USD over the time counted."""

    kind: str
    tool: str | None
    cache: str | None
    text: str
    arithmetic: str
    saves: float | None
    confidence: Literal["high", "medium", "low"]


class Costs(TypedDict):
    """Costs of model calls and fees."""

    currency: str
    table: str | None
    table_date: str | None
    spent: float | None
    saved_by_caches: float | None
    assumes: str
    unpriced_calls: int
    unreported_calls: int
    unpriced_models: list[str]
    budget: Budget
    tools: dict[str, ToolCost]
    models: list[ModelCost]
    caches: dict[str, CacheSaving]
    recommendations: list[Recommendation]


class Worker(TypedDict):
    """One of several processes that the figures are of."""

    pid: int
    state: str
    age_seconds: float
    reason: str | None


class DefinitionWeight(TypedDict):
    """The size of a tool's definition as its client gets it; tokens are estimated."""

    bytes: int
    description_bytes: int
    schema_bytes: int
    tokens: int
    context_share: float


class ResultWeight(TypedDict):
    """The sizes of a tool's results; tokens are estimated, no data is None."""

    method: Literal["exact", "sample"]
    weighed: int
    not_in_sample: int
    unknown: int
    total_bytes: int
    avg_bytes: float | None
    p50_bytes: float | None
    p95_bytes: float | None
    max_bytes: int | None
    p50_tokens: int | None
    p95_tokens: int | None
    max_tokens: int | None
    context_share: float | None
    bytes_per_day: float | None
    tokens_per_day: int | None
    window_samples: int


class ToolWeight(TypedDict):
    """The weight of one tool in a model's context."""

    source: str
    side: Literal["server", "client"]
    definition: DefinitionWeight | None
    results: ResultWeight | None


class SourceWeight(TypedDict):
    """The weight of the definitions of one server or framework, at the start of a session."""

    tools: int
    definition_bytes: int
    definition_tokens: int
    context_share: float


class Lightening(TypedDict):
    """A recommendation that would make a tool lighter, with its arithmetic."""

    kind: Literal["heavy_definition", "heavy_results"]
    tool: str
    text: str
    arithmetic: str
    confidence: Literal["medium", "low"]


class Weights(TypedDict):
    """Weights of tools in a model's context."""

    context_tokens: int
    definition_bytes_per_token: float
    result_bytes_per_token: float
    sources: dict[str, SourceWeight]
    tools: dict[str, ToolWeight]
    recommendations: list[Lightening]


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
