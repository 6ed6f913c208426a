"""The sections of the metrics document that not every process has: costs and weights."""

from __future__ import annotations

from typing import Literal, TypedDict


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
    """Calls of one model by one tool, and their costs in USD."""

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


class DefinitionWeight(TypedDict):
    """The size of a tool's definition as a client gets it; tokens are estimated."""

    bytes: int
    description_bytes: int
    schema_bytes: int
    tokens: int
    context_share: float


class ResultWeight(TypedDict):
    """The sizes of a tool's results; tokens are estimated, and None is unknown."""

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
