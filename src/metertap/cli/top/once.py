"""The same once, for scripts and for terminals that cannot move their cursor."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from metertap.cli.tables import Table, complain, printable, show
from metertap.cli.top.columns import Row, Thing
from metertap.cli.top.poller import Watched, Watching
from metertap.cli.top.rows import labels, rows, state
from metertap.cli.top.table_state import Part
from metertap.cli.top.view import View

_PATIENCE_SECONDS = 6.0
_STEP_SECONDS = 0.02


def show_once(urls: Sequence[str], interval: float, *, as_json: bool) -> int:
    """Two looks at each process, `interval` apart. Exit status 1 where none answers."""
    watching = Watching(urls, interval)
    watching.discover()
    _look_twice(watching, interval)
    watching.end()
    if watching.problem is not None:
        sys.stderr.write(f"metertap top: {printable(watching.problem)}\n")
    listed = watching.listed()
    if not listed and watching.problem is None:
        sys.stderr.write(
            "metertap top: no measured process of this user has seen a tool or a cache yet\n"
        )
    for watched in listed:
        if watched.reading is None or watched.problem is not None:
            complain("top", str(watched.problem or f"{watched.process.url} does not answer"))
    answered = [watched for watched in listed if watched.reading is not None]
    if not answered:
        return 1
    if as_json:
        sys.stdout.write(json.dumps([_as_json(watched) for watched in answered], indent=2) + "\n")
    else:
        show(_tables(answered))
    return 0


def _look_twice(watching: Watching, interval: float) -> None:
    """Until every process has answered twice, or has said why not."""
    deadline = time.monotonic() + interval + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        watching.take()
        if all(watched.asked >= 2 or watched.problem for watched in watching.listed()):
            return
        time.sleep(_STEP_SECONDS)


def _as_json(watched: Watched) -> dict[str, Any]:
    process = {"url": watched.process.url, "pid": watched.process.pid}
    return process | (asdict(watched.reading) if watched.reading is not None else {})


def _tables(listed: Sequence[Watched]) -> list[Table]:
    now = time.time()
    view = View()
    tools, caches = rows(listed, now)
    made = [_processes(listed, now)] if len(listed) > 1 else []
    title = _title(listed[0], now) if len(listed) == 1 else ""
    view.tools.has_processes = view.caches.has_processes = len(listed) > 1
    made.append(_table(view.tools, tools, title))
    if caches:
        made.append(_table(view.caches, caches, ""))
    return made


def _processes(listed: Sequence[Watched], now: float) -> Table:
    table = Table("", ("process", "pid", "address", "state"))
    for label, watched in zip(labels(listed), listed, strict=True):
        pid = "–" if watched.process.pid is None else str(watched.process.pid)
        table.rows.append((label, pid, watched.process.url, state(watched, now)[2]))
    return table


def _title(watched: Watched, now: float) -> str:
    process = watched.process
    pid = f"pid {process.pid} " if process.pid is not None else ""
    return f"{watched.name} {pid}{process.url} {state(watched, now)[2]}"


def _table(part: Part[Thing], found: Sequence[Row[Thing]], title: str) -> Table:
    columns = part.columns()
    numbers = frozenset(column.title for column in columns if not column.is_words)
    table = Table(title, [column.title for column in columns], right=numbers)
    for row in part.arrange(found):
        table.rows.append([column.text(row).strip() for column in columns])
    return table
