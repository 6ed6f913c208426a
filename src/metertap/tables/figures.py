"""The figures of one process as tables: tools, slowest first, MCP operations, caches, weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from metertap import catalogue, outcomes, text
from metertap.tables import weights
from metertap.tables.document import Document, Operation, Session, Tool
from metertap.tables.percentiles import (
    PERCENTILES,
    Percentile,
    Which,
    explain,
    percentile,
    percentile_of_operation,
    percentile_of_sessions,
)
from metertap.tables.table import Columns, Table, table_of

_OLD = ("not reached", "left")
"""States of workers whose latest figures may be old."""
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
    """Return the tables of a document: tools, slowest first, MCP operations, sessions, caches.

    The title of the first is the service's name, or `name`, and its address. `is_order_told` says
    that the order of decorators was explained before.
    """
    made = []
    operations, sessions = document.get("operations"), document.get("sessions")
    if document["tool_metrics"] or not operations:
        made.append(_tools(document))
    if operations:
        made.append(_slowest_first(_OPERATIONS, operations, words=2))
    if sessions:
        made.append(table_of(_SESSIONS, sessions, last=1))
    if document["cache_metrics"]:
        caches = [{**cache, "name": name} for name, cache in document["cache_metrics"].items()]
        made.append(table_of(_CACHES, caches, words=2))
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

    Tools whose name another source has as well are left out: it may count their calls.
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
    """Name the process that answers, since one of several workers is not the whole service."""
    if not pid:
        return ""
    return f"{'answered by ' if len(document.get('workers') or ()) > 1 else ''}pid {pid}"


def workers_told(document: Document) -> str:
    """Describe the workers whose figures are shown, and those whose figures may be old."""
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


def _of_percentiles(of: Callable[[Any, Which], Percentile]) -> Columns:
    def column(which: Which) -> Callable[[Any], str]:
        return lambda item: of(item, which).text()

    return {which: column(which) for which in PERCENTILES}


_CALLED: Columns = {
    "calls": lambda item: text.count(item["total_calls"]),
    "ok %": lambda item: text.percent(item["success_rate"]),
    "failed": lambda item: text.count(item["failed_calls"]),
}
_ERRORS: Columns = {"errors": lambda item: ", ".join(errors(item))}
_TOOLS: Columns = {
    "tool": lambda tool: tool["name"],
    **_CALLED,
    **_of_percentiles(percentile),
    "active": lambda tool: text.count(tool["active_calls"]),
    **_ERRORS,
}
_OPERATIONS: Columns = {
    "MCP operation": lambda item: " ".join(filter(None, (item["method"], item["name"]))),
    "side": lambda item: item["side"],
    **_CALLED,
    **_of_percentiles(percentile_of_operation),
    **_ERRORS,
}
_SESSIONS: Columns = {
    "MCP sessions": lambda item: item["side"],
    "ended": lambda item: text.count(item["ended_sessions"]),
    "failed": lambda item: text.count(item["failed_sessions"]),
    **_of_percentiles(percentile_of_sessions),
    **_ERRORS,
}
_CACHES: Columns = {
    "cache": lambda cache: cache["name"],
    "system": lambda cache: cache["system"],
    "lookups": lambda cache: text.count(cache["total_requests"]),
    "hits": lambda cache: text.count(cache["hits"]),
    "hit %": lambda cache: text.percent(cache["hit_rate"]),
    "evicted": lambda cache: text.count(cache["evictions"]),
    "refused": lambda cache: text.count(cache["size_rejections"]),
    "entries": lambda cache: text.count(cache["entries"]),
}


def _tools(document: Document) -> Table:
    found = [{**tool, "name": name} for name, tool in document["tool_metrics"].items()]
    table = _slowest_first(_TOOLS, found)
    if any(_CALLER in row[-1] for row in table.rows):
        table.legend = _MARKED
    return table


def _slowest_first(columns: Columns, found: Sequence[Any], words: int = 1) -> Table:
    """Return a table of tools or operations, whose rows are coloured if calls failed."""
    found = sorted(found, key=lambda item: -(item["p95_latency_ms"] or 0))
    table = table_of(columns, found, words=words, last=1)
    for row, item in enumerate(found):
        if item["failed_calls"]:
            is_poor = (item["success_rate"] or 0) < _POOR_SUCCESS_RATE
            table.styles[row] = "red" if is_poor else "yellow"
    return table


def errors(figures: Tool | Operation | Session) -> list[str]:
    """Return error types with their numbers, most frequent first: `ValidationError 1 (caller)`.

    Errors of callers and of cancelled calls, which are no failures, are marked.
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
