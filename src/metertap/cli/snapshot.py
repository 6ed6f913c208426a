"""`metertap snapshot [URL]`: the document of a running process, as tables or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from metertap.cli import figures
from metertap.cli.processes import Process, Unreachable, fetch, processes
from metertap.cli.tables import Table, printable, show
from metertap.runtime import running

_TOOL_HEADERS = ("tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors")
_LATENCIES = slice(4, 7)
_CACHE_HEADERS = ("cache", "system", "lookups", "hit %", "evicted", "refused", "entries")


def snapshot(url: str | None, *, as_json: bool) -> int:
    """Show one process, or all. Exit status 1 where none answers."""
    found = processes(url)
    if not found:
        none = "no measured process of this user has seen a tool or a cache yet"
        sys.stderr.write(f"metertap snapshot: {printable(running.problem() or none)}\n")
        return 1
    documents: list[tuple[Process, dict[str, Any]]] = []
    for process in found:
        try:
            documents.append((process, fetch(process, "/metrics")))
        except Unreachable as error:
            sys.stderr.write(f"metertap snapshot: {printable(str(error))}\n")
    if not documents:
        return 1
    if as_json:
        payload = documents[0][1] if url is not None else [document for _, document in documents]
        sys.stdout.write(json.dumps(payload, indent=2) + "\n")
    else:
        for process, document in documents:
            show(tables(document, process))
    return 0


def tables(document: dict[str, Any], process: Process | None = None) -> list[Table]:
    """The document's tools and caches, slowest tool first."""
    made = [_tools(document, process)]
    if document["cache_metrics"]:
        made.append(_caches(document))
    return made


def _tools(document: dict[str, Any], process: Process | None) -> Table:
    service = document.get("service", {})
    title = " ".join(
        part
        for part in (
            service.get("name", process.name if process else ""),
            service.get("version", ""),
            f"pid {process.pid}" if process and process.pid else "",
            process.url if process else "",
            f"up {document['system_metrics']['uptime_seconds']:.0f} s",
        )
        if part
    )
    table = Table(title, _TOOL_HEADERS, right=frozenset(_TOOL_HEADERS[1:-1]))
    slowest_first = sorted(
        document["tool_metrics"].items(), key=lambda item: -(item[1]["p95_latency_ms"] or 0)
    )
    for name, tool in slowest_first:
        if tool["failed_calls"]:
            table.styles[len(table.rows)] = "red" if tool["success_rate"] < 90 else "yellow"
        table.rows.append(
            (
                name,
                str(tool["total_calls"]),
                figures.percent(tool["success_rate"]),
                str(tool["failed_calls"]),
                *(_percentile(tool, which) for which in ("p50", "p95", "p99")),
                figures.count(tool["active_calls"]),
                ", ".join(f"{kind} {count}" for kind, count in tool["error_types"].items()),
            )
        )
    if any(figures.ABOUT in cell for row in table.rows for cell in row[_LATENCIES]):
        table.legend = figures.LEGEND
    return table


def _percentile(tool: dict[str, Any], which: str) -> str:
    value = tool[f"{which}_latency_ms"]
    is_about = tool["method"] == "estimate" or which in tool["extrapolated"]
    mark = figures.ABOUT if is_about and value is not None else ""
    return mark + figures.latency(value).strip()


def _caches(document: dict[str, Any]) -> Table:
    table = Table("", _CACHE_HEADERS, right=frozenset(_CACHE_HEADERS[2:]))
    for name, cache in document["cache_metrics"].items():
        table.rows.append(
            (
                name,
                cache["system"],
                str(cache["total_requests"]),
                figures.percent(cache["hit_rate"]),
                figures.count(cache["evictions"]),
                figures.count(cache["size_rejections"]),
                figures.count(cache["entries"]),
            )
        )
    return table
