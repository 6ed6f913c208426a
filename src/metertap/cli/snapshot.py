"""`metertap snapshot [URL]`: the document of a running process, as tables or as JSON."""

from __future__ import annotations

import json
import sys

from metertap import text
from metertap.cli.client import Unreachable
from metertap.cli.documents import Document
from metertap.cli.percentiles import PERCENTILES, percentile
from metertap.cli.processes import Process, document_of, processes, unserved
from metertap.cli.tables import Table, complain, show
from metertap.runtime import running

_COMMAND = "snapshot"
_TOOL_HEADERS = ("tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors")
_LATENCIES = slice(4, 7)
_CACHE_HEADERS = ("cache", "system", "lookups", "hit %", "evicted", "refused", "entries")


def snapshot(url: str | None, *, as_json: bool) -> int:
    """Show one process, or all of this user. Returns exit status 1 where none answers."""
    found = processes(url)
    hidden = unserved() if url is None else []
    if not found and not hidden:
        none = "no measured process of this user has seen a tool or a cache yet"
        complain(_COMMAND, running.problem() or none)
        return 1
    documents: list[tuple[Process, Document]] = []
    for process in found:
        try:
            documents.append((process, document_of(process)))
        except Unreachable as error:
            complain(_COMMAND, str(error))
    for item, reason in hidden:
        complain(_COMMAND, f"{item.service} pid {item.pid} is not shown: {reason}")
    if not documents:
        return 1
    if as_json:
        payload = documents[0][1] if url is not None else [document for _, document in documents]
        sys.stdout.write(json.dumps(payload, indent=2) + "\n")
    else:
        for process, document in documents:
            show(tables(document, process))
    return 0


def tables(document: Document, process: Process | None = None) -> list[Table]:
    """Return the document's tools, slowest first, and its caches."""
    made = [_tools(document, process)]
    if document["cache_metrics"]:
        made.append(_caches(document))
    return made


def _tools(document: Document, process: Process | None) -> Table:
    service = document["service"]
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
            table.styles[len(table.rows)] = "red" if (tool["success_rate"] or 0) < 90 else "yellow"
        table.rows.append(
            (
                name,
                text.count(tool["total_calls"]),
                text.percent(tool["success_rate"]),
                text.count(tool["failed_calls"]),
                *(percentile(tool, which).text() for which in PERCENTILES),
                text.count(tool["active_calls"]),
                ", ".join(f"{kind} {count}" for kind, count in tool["error_types"].items()),
            )
        )
    if any(text.ABOUT in cell for row in table.rows for cell in row[_LATENCIES]):
        table.legend = text.LEGEND
    return table


def _caches(document: Document) -> Table:
    table = Table("", _CACHE_HEADERS, right=frozenset(_CACHE_HEADERS[2:]))
    for name, cache in document["cache_metrics"].items():
        table.rows.append(
            (
                name,
                cache["system"],
                text.count(cache["total_requests"]),
                text.percent(cache["hit_rate"]),
                text.count(cache["evictions"]),
                text.count(cache["size_rejections"]),
                text.count(cache["entries"]),
            )
        )
    return table
