"""The figures of one process as tables: tools, slowest first, MCP operations, caches, weights."""

from __future__ import annotations

from typing import cast

from metertap import catalogue, outcomes, text
from metertap.tables import weights
from metertap.tables.document import Document, Operation, Session, Tool
from metertap.tables.percentiles import (
    PERCENTILES,
    explain,
    percentile,
    percentile_of_operation,
    percentile_of_sessions,
)
from metertap.tables.table import Table

_TOOL_HEADERS = ("tool", "calls", "ok %", "failed", "p50", "p95", "p99", "active", "errors")
_OPERATION_HEADERS = (
    *("MCP operation", "side", "calls", "ok %", "failed", "p50", "p95", "p99", "errors"),
)
_SESSION_HEADERS = ("MCP sessions", "ended", "failed", "p50", "p95", "p99", "errors")
_CACHE_HEADERS = ("cache", "system", "lookups", "hits", "hit %", "evicted", "refused", "entries")
_OLD = ("not reached", "left")
"""States of workers whose last figures are shown."""
_CALLER = "caller)"
_NOT_FAILED = {outcomes.CANCELLED: "cancelled", outcomes.CALLER_ERROR: "caller"}
_MARKED = "(caller): the caller's error, such as a wrong argument: neither ok nor failed."
_POOR_SUCCESS_RATE = 90.0
_TWO_OF_RUNNING = f"{text.TWO_CALLS} of running workers: those of ended ones are only counted"
_REQUESTS_AND_CALLS = (
    "Tools count calls of handlers, where cancelled calls and callers' errors are neither ok nor "
    "failed.\nMCP operations count requests, with or without a handler. One with any error failed."
)


def tables(
    document: Document,
    *,
    name: str = "",
    pid: int | None = None,
    url: str = "",
    is_order_told: bool = False,
) -> list[Table]:
    """Return what the document has: tools, slowest first, MCP operations and sessions, caches.

    The first one is titled with what the program calls itself, or `name`, and where it answers.
    `is_order_told` says that the order of decorators was explained before.
    """
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
    if not document["tool_metrics"] and not operations:
        made[0].legend = text.NO_TOOL
    elif never := _never_called(document):
        told = f"{text.listed(never)}: never called.{'' if is_order_told else f' {text.ORDER}'}"
        made[0].legend = "\n".join(filter(None, (made[0].legend, told)))
    made[0].title = _title(document, name, pid, url)
    explain(made, _TWO_OF_RUNNING if document.get("ended_workers") else text.TWO_CALLS)
    weighed = document.get("weight_metrics")
    if weighed is not None:
        made += weights.tables(weighed, document["system_metrics"]["uptime_seconds"])
    if operations and document["tool_metrics"]:
        made[1].legend = "\n".join(filter(None, (_REQUESTS_AND_CALLS, made[1].legend)))
    return made


def _never_called(document: Document) -> list[str]:
    """Name the decorated tools that were never called, if something else was measured.

    Not those whose name another source has as well: that one may count their calls.
    """
    tools = document["tool_metrics"].items()
    idle = [name for name, tool in tools if not (tool["total_calls"] or tool["active_calls"])]
    if len(idle) == len(tools) and not (document["cache_metrics"] or document.get("operations")):
        return []
    return [
        name
        for name in idle
        if document["tool_metrics"][name]["source"] == catalogue.MANUAL and "@" not in name
    ]


def _title(document: Document, name: str, pid: int | None, url: str) -> str:
    service, system = document["service"], document["system_metrics"]
    parts = (
        service.get("name", name),
        service.get("version", ""),
        _answering(document, pid),
        url,
        f"up {system['uptime_seconds']:.0f} s",
        _open_sessions(system["active_sessions"]),
        workers_told(document),
    )
    return " ".join(filter(None, parts))


def _answering(document: Document, pid: int | None) -> str:
    """Name the process that answers: one of several workers is not the service."""
    if not pid:
        return ""
    return f"{'answered by ' if len(document.get('workers') or ()) > 1 else ''}pid {pid}"


def workers_told(document: Document) -> str:
    """Describe the workers whose figures these are, and those whose figures may be too old."""
    workers = document.get("workers") or []
    if not workers:
        return ""
    old = [
        f"{item['pid']} {': '.join(filter(None, (item['state'], item['reason'])))}, "
        f"as of {item['age_seconds']:.0f} s ago"
        for item in workers
        if item["state"] in _OLD
    ]
    count = "1 worker" if len(workers) == 1 else f"{len(workers)} workers"
    if ended := document.get("ended_workers"):
        old.append(f"{ended} ended, whose calls are counted but not in percentiles")
    if killed := document.get("killed_workers"):
        old.append(f"{killed} killed: up to its last second may be missing")
    return f"{count} ({'; '.join(old)})" if old else count


def _open_sessions(count: int) -> str:
    if not count:
        return ""
    return "1 open session" if count == 1 else f"{count} open sessions"


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
                _errors(tool),
            )
        )
    if any(_CALLER in row[-1] for row in table.rows):
        table.legend = _MARKED
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
                _errors(operation),
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
                _errors(session),
            )
        )
    return table


def _mark_failures(table: Table, figures: Tool | Operation) -> None:
    """Give the next row of a table a colour if calls failed."""
    if figures["failed_calls"]:
        is_poor = (figures["success_rate"] or 0) < _POOR_SUCCESS_RATE
        table.styles[len(table.rows)] = "red" if is_poor else "yellow"


def _errors(figures: Tool | Operation | Session) -> str:
    return ", ".join(errors(figures))


def errors(figures: Tool | Operation | Session) -> list[str]:
    """Return error types with their numbers, the most frequent first: `ValidationError 1 (caller)`.

    Errors of callers and of cancelled calls are marked, where they are known: neither is a failure.
    """
    ended = cast(Tool, figures).get("error_outcomes") or {}
    found = []
    for kind, count in sorted(figures["error_types"].items(), key=lambda item: (-item[1], item[0])):
        apart = [
            word if number == count else f"{number} {word}"
            for outcome, word in _NOT_FAILED.items()
            if (number := ended.get(kind, {}).get(outcome, 0))
        ]
        found.append(f"{kind} {count}" + (f" ({', '.join(apart)})" if apart else ""))
    return found


def _caches(document: Document) -> Table:
    table = Table("", _CACHE_HEADERS, right=frozenset(_CACHE_HEADERS[2:]))
    for name, cache in document["cache_metrics"].items():
        table.rows.append(
            (
                name,
                cache["system"],
                text.count(cache["total_requests"]),
                text.count(cache["hits"]),
                text.percent(cache["hit_rate"]),
                text.count(cache["evictions"]),
                text.count(cache["size_rejections"]),
                text.count(cache["entries"]),
            )
        )
    return table
