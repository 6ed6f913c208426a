"""`metertap snapshot [URL]`: the document of a running process, as tables or as JSON."""

from __future__ import annotations

import json
import sys

from metertap import text
from metertap.cli.client import Unreachable
from metertap.cli.documents import Document, Operation, Session, Tool
from metertap.cli.processes import Process, document_of, processes, unserved
from metertap.cli.shown_percentiles import (
    PERCENTILES,
    percentile,
    percentile_of_operation,
    percentile_of_sessions,
)
from metertap.cli.tables import Table, complain, show
from metertap.runtime import running

_COMMAND = "snapshot"
_TOOL_HEADERS = ("tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors")
_OPERATION_HEADERS = (
    *("MCP operation", "side", "calls", "ok %", "failed", "p50", "p95", "p99", "errors"),
)
_SESSION_HEADERS = ("MCP sessions", "ended", "failed", "p50", "p95", "p99", "errors")
_CACHE_HEADERS = ("cache", "system", "lookups", "hit %", "evicted", "refused", "entries")
_POOR_SUCCESS_RATE = 90.0


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
    """Return what the document has: tools, slowest first, MCP operations and sessions, caches."""
    made = []
    operations, sessions = document.get("operations"), document.get("sessions")
    if document["tool_metrics"] or not operations:
        made.append(_tools(document))
    if operations:
        made.append(_operations(operations))
    if sessions:
        made.append(_sessions(sessions))
    if document["cache_metrics"]:
        made.append(_caches(document))
    made[0].title = _title(document, process)
    estimated = [table for table in made if _has_estimates(table)]
    for table in estimated[-1:]:
        table.legend = text.LEGEND
    return made


def _has_estimates(table: Table) -> bool:
    return any(text.ABOUT in cell for row in table.rows for cell in row[1:-1])


def _title(document: Document, process: Process | None) -> str:
    service, system = document["service"], document["system_metrics"]
    parts = (
        service.get("name", process.name if process else ""),
        service.get("version", ""),
        f"pid {process.pid}" if process and process.pid else "",
        process.url if process else "",
        f"up {system['uptime_seconds']:.0f} s",
        f"{system['active_sessions']} open sessions" if system["active_sessions"] else "",
    )
    return " ".join(filter(None, parts))


def _tools(document: Document) -> Table:
    table = Table("", _TOOL_HEADERS, right=frozenset(_TOOL_HEADERS[1:-1]))
    tools = document["tool_metrics"].items()
    for name, tool in sorted(tools, key=lambda item: -(item[1]["p95_latency_ms"] or 0)):
        _mark_failures(table, tool)
        table.rows.append(
            (
                name,
                text.count(tool["total_calls"]),
                text.percent(tool["success_rate"]),
                text.count(tool["failed_calls"]),
                *(percentile(tool, which).text() for which in PERCENTILES),
                text.count(tool["active_calls"]),
                _errors(tool["error_types"]),
            )
        )
    return table


def _operations(operations: list[Operation]) -> Table:
    table = Table("", _OPERATION_HEADERS, right=frozenset(_OPERATION_HEADERS[2:-1]))
    for operation in sorted(operations, key=lambda item: -(item["p95_latency_ms"] or 0)):
        _mark_failures(table, operation)
        table.rows.append(
            (
                " ".join(filter(None, (operation["method"], operation["name"]))),
                operation["side"],
                text.count(operation["total_calls"]),
                text.percent(operation["success_rate"]),
                text.count(operation["failed_calls"]),
                *(percentile_of_operation(operation, which).text() for which in PERCENTILES),
                _errors(operation["error_types"]),
            )
        )
    return table


def _sessions(sessions: list[Session]) -> Table:
    table = Table("", _SESSION_HEADERS, right=frozenset(_SESSION_HEADERS[1:-1]))
    for session in sessions:
        table.rows.append(
            (
                session["side"],
                text.count(session["ended_sessions"]),
                text.count(session["failed_sessions"]),
                *(percentile_of_sessions(session, which).text() for which in PERCENTILES),
                _errors(session["error_types"]),
            )
        )
    return table


def _mark_failures(table: Table, figures: Tool | Operation) -> None:
    """Give the next row of a table a colour if calls failed."""
    if figures["failed_calls"]:
        is_poor = (figures["success_rate"] or 0) < _POOR_SUCCESS_RATE
        table.styles[len(table.rows)] = "red" if is_poor else "yellow"


def _errors(types: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in types.items())


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
