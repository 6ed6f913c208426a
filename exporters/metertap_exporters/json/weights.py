"""`weight_metrics` of the document: weights of tools in a model's context."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from metertap import catalogue
from metertap.recording import Figures, Percentiles, ToolFigures, WeightFigures
from metertap.tables.sections import Weights
from metertap.weight import tokens
from metertap.weight.advice import heavy_definition, heavy_results
from metertap.weight.definitions import Definition

_DAY = 86_400.0
_LEAST_SECONDS = 60.0
"""The shortest time, in seconds, after which figures of a whole day are estimated."""


def weights(figures: Figures, names: Mapping[tuple[str, str], str], context: int) -> Weights | None:
    """Build the section; None if nothing was weighed.

    `names` are the tools' names in the document, by name and source; `context` is the model's
    window in tokens.
    """
    if not figures.weights:
        return None
    calls = {(tool.name, tool.source): _calls(tool) for tool in figures.tools}
    tools: dict[str, Any] = {}
    advice: list[Any] = []
    for weight in figures.weights:
        key = weight.name, weight.source
        name = names.get(key, weight.name)
        while name in tools:
            name = f"{name}@{weight.source}"
        tools[name] = _tool(weight, context, figures.uptime_seconds)
        if weight.side == catalogue.SERVER:
            if weight.definition is not None:
                advice += heavy_definition(name, weight.definition, calls.get(key, 0), context)
            advice += heavy_results(name, _quantiles(weight).p95, weight.results, context)
    return cast(
        Weights,
        {
            "context_tokens": context,
            "definition_bytes_per_token": tokens.BYTES_PER_TOKEN_OF_DEFINITIONS,
            "result_bytes_per_token": tokens.BYTES_PER_TOKEN_OF_RESULTS,
            "sources": _sources(figures.weights, context),
            "tools": tools,
            "recommendations": advice,
        },
    )


def _calls(tool: ToolFigures) -> int:
    return sum(tool.counts.values())


def _sources(found: tuple[WeightFigures, ...], context: int) -> dict[str, Any]:
    """Add up the definitions with which a session begins, for each server or framework."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for weight in found:
        if weight.definition is not None:
            sizes[weight.source] += weight.definition.total
            counts[weight.source] += 1
    return {
        source: {
            "tools": counts[source],
            "definition_bytes": size,
            "definition_tokens": tokens.of_definition(size),
            "context_share": _share(tokens.of_definition(size), context),
        }
        for source, size in sizes.items()
    }


def _tool(weight: WeightFigures, context: int, uptime_seconds: float) -> dict[str, Any]:
    seen = weight.results + weight.unknown + weight.skipped
    return {
        "source": weight.source,
        "side": weight.side,
        "definition": None
        if weight.definition is None
        else _definition(weight.definition, context),
        "results": _results(weight, context, uptime_seconds) if seen else None,
    }


def _definition(found: Definition, context: int) -> dict[str, Any]:
    weighs = tokens.of_definition(found.total)
    return {
        "bytes": found.total,
        "description_bytes": found.description,
        "schema_bytes": found.schema,
        "tokens": weighs,
        "context_share": _share(weighs, context),
    }


def _results(weight: WeightFigures, context: int, uptime_seconds: float) -> dict[str, Any]:
    quantiles = _quantiles(weight)
    mean = weight.total / weight.results if weight.results else None
    a_day = None
    if mean is not None and uptime_seconds >= _LEAST_SECONDS:
        a_day = mean * (weight.results + weight.skipped) * _DAY / uptime_seconds
    largest = _tokens(weight.maximum)
    return {
        "method": "sample" if weight.is_sampled else "exact",
        "weighed": weight.results,
        "not_in_sample": weight.skipped,
        "unknown": weight.unknown,
        "total_bytes": weight.total,
        "avg_bytes": mean,
        "p50_bytes": quantiles.p50,
        "p95_bytes": quantiles.p95,
        "max_bytes": weight.maximum,
        "p50_tokens": _tokens(quantiles.p50),
        "p95_tokens": _tokens(quantiles.p95),
        "max_tokens": largest,
        "context_share": None if largest is None else _share(largest, context),
        "bytes_per_day": a_day,
        "tokens_per_day": _tokens(a_day),
        "window_samples": weight.window_samples,
    }


def _quantiles(weight: WeightFigures) -> Percentiles:
    """Return percentiles of sizes, limited to the largest result."""
    return weight.percentiles.at_most(weight.maximum)


def _tokens(size: float | None) -> int | None:
    return None if size is None else tokens.of_results(size)


def _share(weighs: int, context: int) -> float:
    return 100.0 * weighs / context
