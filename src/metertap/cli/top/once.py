"""`metertap top --once`: the tables for scripts, and for terminals without a live view."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metertap.cli.client import NONE
from metertap.cli.credentials import Credentials
from metertap.cli.processes import none_run
from metertap.cli.tables import complain, show, write_json
from metertap.cli.top.columns import Entry, Row, condition, labels, rows
from metertap.cli.top.poller import Poller, Watched
from metertap.cli.top.readings import Cache, Operation, Tool
from metertap.cli.top.table_state import TableState, View
from metertap.tables import costs, spending
from metertap.tables.percentiles import PERCENTILES, percentile
from metertap.tables.table import Table

_COMMAND = "top"
_PATIENCE_SECONDS = 6.0
_STEP_SECONDS = 0.02


def show_once(
    urls: Sequence[str], interval: float, *, as_json: bool, given: Credentials = NONE
) -> int:
    """Ask each process twice, `interval` seconds apart, and show the figures and rates.

    Returns exit status 1 if none answers.
    """
    poller = Poller(urls, interval, given=given)
    poller.discover()
    _look_twice(poller, interval)
    poller.end()
    if poller.problem is not None:
        complain(_COMMAND, poller.problem)
    for item, reason in poller.unserved:
        complain(_COMMAND, f"{item.service} pid {item.pid} is not shown: {reason}")
    listed = poller.listed()
    if not (listed or poller.unserved or poller.problem):
        complain(_COMMAND, none_run())
    for watched in listed:
        if watched.reading is None or watched.problem is not None:
            complain(_COMMAND, str(watched.problem or f"{watched.process.url} does not answer"))
    answered = [watched for watched in listed if watched.reading is not None]
    if not answered:
        return 1
    if as_json:
        write_json([_as_json(watched) for watched in answered])
    else:
        show(_tables(answered))
    return 0


def _look_twice(poller: Poller, interval: float) -> None:
    """Wait until every process has answered twice or cannot be asked, or until the time is up."""
    deadline = time.monotonic() + interval + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        poller.take()
        if all(watched.asked >= 2 or watched.problem for watched in poller.listed()):
            return
        time.sleep(_STEP_SECONDS)


def _as_json(watched: Watched) -> dict[str, Any]:
    process = {"url": watched.process.url, "pid": watched.process.pid}
    reading = watched.reading
    if reading is None:
        return process
    tools = [_with_details(tool, _more_of(tool)) for tool in reading.tools]
    operations = [_with_details(operation, {}) for operation in reading.operations]
    caches = [_with_details(cache, {}) for cache in reading.caches]
    lists = {"tools": tools, "operations": operations, "caches": caches}
    return {**process, **asdict(reading), **lists}


def _with_details(entry: Tool | Operation | Cache, more: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of an entry in the document, with the rates between two documents."""
    own = asdict(entry)
    figures = own.pop("figures")
    return {**own, **figures, **more, "details": {**figures, **more}}


def _more_of(tool: Tool) -> dict[str, Any]:
    by_cache = tool.figures["with_cache"]
    return {
        "approximate": [which for which in PERCENTILES if percentile(tool.figures, which).is_about],
        "is_estimate": tool.figures["method"] == "estimate",
        "all_hit": by_cache and by_cache["all_hit"],
        "missed": by_cache and by_cache["missed"],
    }


def _tables(listed: Sequence[Watched]) -> list[Table]:
    now = time.time()
    view = View()
    found = rows(listed, now)
    made = [_processes(listed, now)] if len(listed) > 1 else []
    title = _title(listed[0], now) if len(listed) == 1 else ""
    for table in view.tables:
        table.has_processes = len(listed) > 1
    made.append(_table(view.tools, found.tools, title))
    if found.operations:
        made.append(_table(view.operations, found.operations, ""))
    if found.caches:
        made.append(_table(view.caches, found.caches, ""))
    for watched in listed:
        if watched.reading is not None and watched.reading.costs is not None:
            made += costs.tables(watched.reading.costs)[:2]
            if watched.reading.spending is not None:
                made += spending.tables(watched.reading.spending)[:1]
    return made


def _processes(listed: Sequence[Watched], now: float) -> Table:
    table = Table("", ("process", "pid", "address", "state"))
    for label, watched in zip(labels(listed), listed, strict=True):
        pid = "–" if watched.process.pid is None else str(watched.process.pid)
        table.rows.append((label, pid, watched.process.url, condition(watched, now)[2]))
    return table


def _title(watched: Watched, now: float) -> str:
    process = watched.process
    pid = f"pid {process.pid} " if process.pid is not None else ""
    return f"{watched.name} {pid}{process.url} {condition(watched, now)[2]}"


def _table(table_state: TableState[Entry], found: Sequence[Row[Entry]], title: str) -> Table:
    columns = table_state.columns()
    numbers = frozenset(column.title for column in columns if not column.is_words)
    table = Table(title, [column.title for column in columns], right=numbers)
    for row in table_state.arrange(found):
        table.rows.append([column.text(row).strip() for column in columns])
    return table
