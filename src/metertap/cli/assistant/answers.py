"""Answers to an assistant's questions: short texts of bounded length, figures only.

Names of tools and caches come from other programs, so they are escaped and cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from metertap import text
from metertap.cli.client import Unreachable
from metertap.cli.processes import Process, asked, document_of, processes, unserved
from metertap.runtime import running
from metertap.tables.document import Cache, Document, Tool
from metertap.tables.figures import tables
from metertap.tables.percentiles import percentile
from metertap.tables.table import Table, plain
from metertap.text import printable

MOST = 50
"""The most tools or caches of one process in an answer."""
_MOST_CHARACTERS = 20_000
_MOST_PROCESSES = 20
_MOST_KNOWN = 100
"""The most processes whose counts are kept for the next question, the newest ones: others end."""
_NAME_CHARACTERS = 200
"""The most characters of a name that are shown: as many as a metered program keeps."""
_NOBODY = "No measured process of this user runs, or none has seen a tool or a cache yet."

Found = tuple[Process, Document]
Earlier = dict[tuple[str, int | None], dict[str, tuple[int, int]]]
"""Calls and failed calls of each tool at the last question, by address and id of its process."""


def running_processes() -> str:
    """Return the measured processes: the page of each, or why it has none."""
    lines = [f"{_title(process)} {printable(process.url)}/" for process in processes(None)]
    lines += [
        f"{_cut(item.service)} pid {item.pid}: not shown, {printable(reason)}"
        for item, reason in unserved()
    ]
    return _bounded(lines)


def slow_tools(process: str, limit: int) -> str:
    """Return the tools with the highest p95, slowest first."""
    return _of_each(
        process,
        lambda document: _with_tools(
            document, limit, lambda tool: -(percentile(tool, "p95").milliseconds or 0)
        ),
    )


def failing_tools(process: str, limit: int) -> str:
    """Return the tools that failed, most failures first, with their errors."""
    return _of_each(
        process,
        lambda document: _with_tools(
            document, limit, lambda tool: -tool["failed_calls"], _has_failed
        ),
        nothing="no tool has failed",
    )


def cache_rates(process: str, limit: int) -> str:
    """Return the caches with the most lookups: their hits, and whether the cache saves time."""
    return _of_each(process, lambda document: _with_caches(document, limit), nothing="no cache")


def changes(process: str, earlier: Earlier) -> str:
    """Return the calls since the previous question, and keep the present counts in `earlier`."""
    lines = []
    found, problems = _asked(process)
    for one, document in found:
        counts = {
            name: (tool["total_calls"], tool["failed_calls"])
            for name, tool in document["tool_metrics"].items()
        }
        known = earlier.pop((one.url, one.pid), {})
        earlier[one.url, one.pid] = counts  # nothing stays of names that are gone
        for name, now in counts.items():
            before = known.get(name, (0, 0))
            if now[0] < before[0]:  # the counts began again
                before = (0, 0)
            calls, failed = now[0] - before[0], now[1] - before[1]
            if calls:
                lines.append(f"{_title(one)}: {_cut(name)}: {calls} calls, {failed} failed")
    for key in list(earlier)[:-_MOST_KNOWN]:
        earlier.pop(key, None)
    return _bounded([*lines, *problems] or ["nothing was called"])


def _of_each(process: str, table: Callable[[Document], Table | None], nothing: str = "") -> str:
    found, problems = _asked(process)
    parts = []
    for one, document in found:
        shown = table(document)
        if shown is None or not shown.rows:
            parts.append(f"{_title(one)}: {nothing or 'no tool was called'}")
        else:
            shown.title = f"{_title(one)}, up {document['system_metrics']['uptime_seconds']:.0f} s"
            shown.legend = text.LEGEND
            parts.append(plain(_with_cut_names(shown)))
    return _bounded([*parts, *problems])


def _asked(process: str) -> tuple[list[Found], list[str]]:
    """Ask the processes of that name or id, or all; return their documents and what went wrong."""
    found: list[Found] = []
    problems = []
    wanted = [item for item in processes(None) if process in {"", item.name, str(item.pid)}]
    for item, answer in asked(wanted[:_MOST_PROCESSES], document_of):
        if isinstance(answer, Unreachable):
            problems.append(printable(str(answer)))
        else:
            found.append((item, answer))
    if (more := len(wanted) - _MOST_PROCESSES) > 0:
        problems.append(f"{more} more processes were not asked: name one, or its id")
    if not wanted:
        problems.append(f"no measured process is called {_cut(process)}" if process else _NOBODY)
        if (problem := running.problem()) is not None:
            problems.append(printable(problem))
    return found, problems


def _with_tools(
    document: Document,
    limit: int,
    order: Callable[[Tool], float],
    wanted: Callable[[Tool], bool] = lambda tool: tool["total_calls"] > 0,
) -> Table | None:
    chosen = sorted(
        (item for item in document["tool_metrics"].items() if wanted(item[1])),
        key=lambda item: order(item[1]),
    )
    named = dict(chosen[: _within(limit)])
    table = _first({**document, "tool_metrics": named, "cache_metrics": {}}, "tool")
    if table is not None:
        places = {name: place for place, name in enumerate(named)}
        table.rows.sort(key=lambda row: places[row[0]])
    return table


def _with_caches(document: Document, limit: int) -> Table | None:
    def lookups(item: tuple[str, Cache]) -> int:
        return -item[1]["total_requests"]

    chosen = sorted(document["cache_metrics"].items(), key=lookups)[: _within(limit)]
    named = dict(chosen)
    return _first({**document, "tool_metrics": {}, "cache_metrics": named}, "cache")


def _first(document: Document, header: str) -> Table | None:
    return next(_headed(tables(document), header), None)


def _with_cut_names(table: Table) -> Table:
    """Return a table whose names are cut off. Two that begin alike are two rows all the same."""
    return replace(table, rows=[[_cut(row[0]), *row[1:]] for row in table.rows])


def _headed(found: Iterable[Table], header: str) -> Iterator[Table]:
    return (table for table in found if table.headers[0] == header)


def _has_failed(tool: Tool) -> bool:
    return tool["failed_calls"] > 0


def _within(limit: int) -> int:
    return max(1, min(limit, MOST))


def _cut(name: str) -> str:
    """Return a name without line ends, cut off where it is long."""
    return printable(name, _NAME_CHARACTERS)


def _title(process: Process) -> str:
    return f"{_cut(process.name)} pid {process.pid}"


def _bounded(lines: list[str]) -> str:
    """Return an answer of at most `_MOST_CHARACTERS`, without control characters for a terminal."""
    whole = "\n".join(printable(line) for part in lines or [_NOBODY] for line in part.splitlines())
    if len(whole) <= _MOST_CHARACTERS:
        return whole
    return f"{whole[:_MOST_CHARACTERS]}\n… and more: name a process, or a smaller limit"
