"""`metertap snapshot [URL]`: the document of a running process, as tables or as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

from metertap.cli.processes import Process, Unreachable, fetch, processes
from metertap.cli.tables import Table, printable, show

_TOOL_HEADERS = ("tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors")
_CACHE_HEADERS = ("cache", "system", "lookups", "hit %", "evicted", "refused", "entries")


def snapshot(url: str | None, *, as_json: bool) -> int:
    """Show one process, or all. Exit status 1 where none answers."""
    found = processes(url)
    if not found:
        sys.stderr.write(
            "metertap snapshot: no measured process of this user has seen a tool or a cache yet\n"
        )
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
        estimate = "~" if tool["method"] == "estimate" else ""
        if tool["failed_calls"]:
            table.styles[len(table.rows)] = "red" if tool["success_rate"] < 90 else "yellow"
        table.rows.append(
            (
                name,
                str(tool["total_calls"]),
                rate(tool["success_rate"]),
                str(tool["failed_calls"]),
                estimate + milliseconds(tool["p50_latency_ms"]),
                estimate + milliseconds(tool["p95_latency_ms"]),
                estimate + milliseconds(tool["p99_latency_ms"]),
                "–" if tool["active_calls"] is None else str(tool["active_calls"]),
                ", ".join(f"{kind} {count}" for kind, count in tool["error_types"].items()),
            )
        )
    return table


def _caches(document: dict[str, Any]) -> Table:
    table = Table("", _CACHE_HEADERS, right=frozenset(_CACHE_HEADERS[2:]))
    for name, cache in document["cache_metrics"].items():
        table.rows.append(
            (
                name,
                cache["system"],
                str(cache["total_requests"]),
                rate(cache["hit_rate"]),
                str(cache["evictions"]),
                str(cache["size_rejections"]),
                "–" if cache["entries"] is None else str(cache["entries"]),
            )
        )
    return table


def milliseconds(value: float | None) -> str:
    """A latency for a narrow column: `0.42 ms`, `87 ms`, `1.25 s`; a dash for no data."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2f} ms"


def rate(value: float | None) -> str:
    """A percentage; a dash for no data. Never rounded up to 100."""
    if value is None:
        return "–"
    return "100" if value == 100 else f"{min(value, 99.9):.1f}"
