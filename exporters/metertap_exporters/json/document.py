"""The JSON document as data: the recorder's figures, and foreign metrics, in the published form.

`schema.json` in the folder above is its JSON Schema. No data is null, never 0; an estimate says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import compress
from operator import is_not
from typing import TYPE_CHECKING, Any, cast

from metertap import catalogue, faults, outcomes, state
from metertap.outcomes import by_count
from metertap.pacing import paced
from metertap.recording import CacheFigures, Figures, LatencyFigures, OperationFigures, ToolFigures
from metertap_exporters.json.foreign import ForeignTool
from metertap_exporters.json.system import system

if TYPE_CHECKING:
    from metertap.recording.figures import Whole
    from metertap.tables.document import Cache, Latencies
    from metertap.tables.sections import Costs, Weights
    from metertap_exporters.json.shape import Document, Tool

SCHEMA_VERSION = "1.3"
"""The minor number rises with additions, the major one with any other change."""


def outline(
    figures: Figures,
    *,
    enabled: bool,
    service: Mapping[str, str],
    alerts: list[dict[str, Any]] | None,
    foreign: Iterable[ForeignTool] = (),
    whole: Whole | None = None,
    workers: list[dict[str, Any]] | None = None,
    ended_workers: int = 0,
    killed_workers: int = 0,
    tools: Mapping[str, ToolFigures | ForeignTool] | None = None,
) -> dict[str, Any]:
    """Build the document with figures in place of entries, by the names that are shown.

    A caller that asks repeatedly makes entries of new figures only, by `ENTRIES`. `workers` are
    those behind the figures, unless they are of one process, and `whole` is what these use
    together. `tools` are the `shown_tools` of the figures, if they are known.
    """
    kept = faults.kept
    weighed = kept("document.weights", lambda: _weights(figures), None)
    return {
        "schema_version": SCHEMA_VERSION,
        "enabled": enabled,
        "timestamp": time.time(),
        "service": dict(service),
        "tool_metrics": shown_tools(figures.tools, foreign) if tools is None else tools,
        "cache_metrics": kept("document.caches", lambda: caches_by_name(figures.caches), {}),
        "operations": figures.operations,
        "sessions": figures.sessions,
        "system_metrics": kept("document.system", lambda: system(figures, whole), None)
        or _unknown_system(),
        "alerts": alerts,
        "cost_metrics": kept("document.costs", lambda: _costs(figures, weighed), None),
        "workers": workers,
        "ended_workers": ended_workers,
        "killed_workers": killed_workers,
        "weight_metrics": weighed,
    }


def _unknown_system() -> Any:
    from metertap import unavailable  # after a fault

    return unavailable.get_all_metrics()["system_metrics"]


def _costs(figures: Figures, weighed: Weights | None) -> Costs | None:
    """Return the section of costs; None, without imports, if nothing costs anything.

    A tool's weight costs its callers: recommendations about that are included.
    """
    if not figures.usage and not state.recorder().fees:
        return None
    from metertap.costs.report import report

    names = {id(cache): name for name, cache in caches_by_name(figures.caches).items()}
    found = report(figures, names)
    if found is not None and weighed is not None:
        lighter = weighed["recommendations"]
        found["recommendations"] += [{**item, "cache": None, "saves": None} for item in lighter]
    return cast("Costs", found)


def _weights(figures: Figures) -> Weights | None:
    """Return the section of weights; None, without imports, if nothing was weighed."""
    if not figures.weights:
        return None
    from metertap_exporters.json.weights import weights

    tools = tools_by_name(figures.tools).items()
    names = {(tool.name, tool.source): name for name, tool in tools}
    return weights(figures, names, state.settings().context_window)


def with_entries(outline: Mapping[str, Any]) -> Document:
    """Return the document of its outline; a fault leaves out the entry at which it happens."""
    made = dict(outline)
    for key, entry in ENTRIES.items():
        figures = outline[key]
        place = f"document.{key}"
        if isinstance(figures, Mapping):
            made[key] = dict(faults.each(place, partial(_named, entry), figures.items()))
        else:
            made[key] = list(faults.each(place, entry, figures))
    return cast("Document", made)


def _named(entry: Callable[[Any], Any], item: tuple[str, Any]) -> tuple[str, Any]:
    return item[0], entry(item[1])


def tools_by_name(tools: Iterable[ToolFigures]) -> dict[str, ToolFigures]:
    """Return the tools that are shown, by their names in the document."""
    shown: dict[str, ToolFigures] = {}
    tools = list(tools)
    # Decorated tools that a patched framework runs are counted there.
    idle = [
        tool for tool in tools if tool.source == catalogue.MANUAL and not any(tool.counts.values())
    ]
    if idle:
        called = {tool.name for tool in tools if any(tool.counts.values())}
        hidden = {id(tool) for tool in idle if tool.name in called}
        tools = [tool for tool in tools if id(tool) not in hidden]
    for tool in paced(tools):
        shown[_free_name(tool.name, tool.source, shown)] = tool
    return shown


def caches_by_name(caches: Iterable[CacheFigures]) -> dict[str, CacheFigures]:
    """Return the caches by their names in the document."""
    shown: dict[str, CacheFigures] = {}
    for cache in caches:
        shown[_free_name(cache.name, cache.system, shown)] = cache
    return shown


def shown_tools(
    tools: Iterable[ToolFigures], foreign: Iterable[ForeignTool]
) -> dict[str, ToolFigures | ForeignTool]:
    """Return the tools that are shown, foreign ones last, by their names in the document."""

    def found() -> dict[str, ToolFigures | ForeignTool]:
        shown: dict[str, ToolFigures | ForeignTool] = dict(tools_by_name(tools))
        for estimated in foreign:
            shown[_free_name(estimated.name, estimated.source, shown)] = estimated
        return shown

    return faults.kept("document.tools", found, {})


def shown_again(
    shown: Mapping[str, ToolFigures | ForeignTool],
    before: Sequence[ToolFigures],
    now: Sequence[ToolFigures],
) -> Mapping[str, ToolFigures | ForeignTool] | None:
    """Return the tools that are shown, by their former names, if all were shown before.

    None if there may be other tools, or some may not be shown any more.
    """
    if not len(shown) == len(before) == len(now):
        return None
    others = [*compress(zip(before, now, strict=True), map(is_not, before, now))]
    for old, new in others:
        if old[:2] != new[:2] or any(old.counts.values()) != any(new.counts.values()):
            return None
    return dict(zip(shown, now, strict=True)) if others else shown


def _free_name(name: str, source: str, taken: Mapping[str, Any]) -> str:
    """Return `name`, with the source if it is taken: the first of equal names keeps it."""
    while name in taken:
        name = f"{name}@{source}"
    return name


def _tool(tool: ToolFigures | ForeignTool) -> Tool:
    if isinstance(tool, ForeignTool):
        return tool.entry()
    quantiles, counts, failed = tool.percentiles, tool.counts, tool.failed
    succeeded = counts[outcomes.OK]
    return {
        "source": tool.source,
        "method": "exact",
        "total_calls": sum(counts.values()),
        "total_latency_ms": tool.total_ms,
        "successful_calls": succeeded,
        "failed_calls": failed,
        "cancelled_calls": counts[outcomes.CANCELLED],
        "caller_errors": counts[outcomes.CALLER_ERROR],
        "interim_results": counts[outcomes.INTERIM],
        "outcomes": dict(counts),
        "success_rate": _percent(succeeded, succeeded + failed),
        "avg_latency_ms": tool.total_ms / tool.sampled if tool.sampled else None,
        "min_latency_ms": tool.minimum_ms,
        "max_latency_ms": tool.maximum_ms,
        "p50_latency_ms": quantiles.p50,
        "p95_latency_ms": quantiles.p95,
        "p99_latency_ms": quantiles.p99,
        "extrapolated": list(quantiles.extrapolated),
        "window_samples": tool.window_samples,
        "active_calls": tool.active,
        "error_types": by_count(tool.error_types),
        "error_outcomes": _by_type(tool.errors),
        "last_call_timestamp": tool.last_call,
        "with_cache": tool.with_cache
        and {"all_hit": _latencies(tool.with_cache[0]), "missed": _latencies(tool.with_cache[1])},
        "first_item": None if tool.first_item is None else _latencies(tool.first_item),
    }


def _by_type(errors: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return errors by type and outcome, given errors by both in one text."""
    found: dict[str, dict[str, int]] = {}
    for both, number in errors.items():
        outcome, _, error_type = both.partition(" ")
        found.setdefault(error_type, {})[outcome] = number
    return found


def _latencies(figures: LatencyFigures) -> Latencies:
    quantiles = figures.percentiles
    return {
        "calls": figures.calls,
        "avg_latency_ms": figures.total_ms / figures.calls if figures.calls else None,
        "p50_latency_ms": quantiles.p50,
        "p95_latency_ms": quantiles.p95,
        "p99_latency_ms": quantiles.p99,
    }


def _cache(cache: CacheFigures) -> Cache:
    total = cache.hits + cache.misses
    return {
        "system": cache.system,
        "hits": cache.hits,
        "misses": cache.misses,
        "total_requests": total,
        "hit_rate": _percent(cache.hits, total),
        "evictions": cache.evictions,
        "size_rejections": cache.rejections,
        "entries": cache.entries,
        "by_tool": None
        if cache.by_tool is None
        else {
            tool: {"hits": hits, "misses": misses, "hit_rate": _percent(hits, hits + misses)}
            for tool, (hits, misses) in cache.by_tool.items()
        },
    }


def _operation(figures: OperationFigures) -> dict[str, Any]:
    return {
        "side": figures.side,
        "method": figures.method,
        "name": figures.name,
        "total_calls": figures.calls,
        "failed_calls": figures.failed,
        "success_rate": _percent(figures.calls - figures.failed, figures.calls),
        **_durations(figures, "latency_ms"),
        "error_types": by_count(figures.error_types),
        "last_call_timestamp": figures.last_call,
    }


def _session(figures: OperationFigures) -> dict[str, Any]:
    return {
        "side": figures.side,
        "ended_sessions": figures.calls,
        "failed_sessions": figures.failed,
        **_durations(figures, "duration_ms"),
        "error_types": by_count(figures.error_types),
        "last_end_timestamp": figures.last_call,
    }


def _durations(figures: OperationFigures, unit: str) -> dict[str, Any]:
    quantiles = figures.percentiles
    return {
        f"total_{unit}": figures.total_ms,
        f"avg_{unit}": figures.total_ms / figures.calls if figures.calls else None,
        f"min_{unit}": figures.minimum_ms,
        f"max_{unit}": figures.maximum_ms,
        f"p50_{unit}": quantiles.p50,
        f"p95_{unit}": quantiles.p95,
        f"p99_{unit}": quantiles.p99,
        "extrapolated": list(quantiles.extrapolated),
        "window_samples": figures.window_samples,
    }


def _percent(part: int, whole: int) -> float | None:
    return 100.0 * part / whole if whole else None


ENTRIES: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "tool_metrics": _tool,
    "cache_metrics": _cache,
    "operations": _operation,
    "sessions": _session,
}
"""The function that makes an entry of figures, by the key in the document."""
