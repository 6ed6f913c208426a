"""The rows and columns of the tables: the text of each cell, and the value that sorts its row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from metertap import text
from metertap.cli.top.cursor import Key
from metertap.cli.top.history import History
from metertap.cli.top.poller import Watched
from metertap.cli.top.readings import Cache, Operation, Tool
from metertap.tables.figures import errors
from metertap.tables.percentiles import Which, percentile_of_sessions

FAILED = "✕"
_FEWEST_LOOKUPS = 20
"""The fewest lookups for which a poor hit rate is marked; a rate of fewer says little."""
_POOR_HIT_RATE = 50.0
_POOR_SUCCESS_RATE = 90.0

_ANEW_SECONDS = 30.0
"""How long the screen says that a process was restarted or reset, in seconds."""

Called = TypeVar("Called", Tool, Operation)
Entry = TypeVar("Entry", bound=Tool | Operation | Cache)
"""What a row shows: a tool, an MCP operation or a cache."""
Value = float | str | None
Written = Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Row(Generic[Entry]):
    """One tool, operation or cache of one process."""

    process: str
    is_gone: bool
    """Whether its process does not answer, so that these are its last figures."""
    entry: Entry
    key: Key
    history: History


@dataclass(frozen=True, slots=True)
class Column(Generic[Entry]):
    """One column of a table: the text of its cells, and the value that it sorts rows by."""

    title: str
    key: str
    """The key on the keyboard that sorts the table by this column."""
    rank: int
    """The order in which columns are left out of a narrow screen: the highest first, 0 never."""
    value: Callable[[Row[Entry]], Value]
    text: Callable[[Row[Entry]], str]
    style: Callable[[Entry], str] = lambda _entry: ""
    is_words: bool = False
    ascends: bool = False
    """Whether the smallest value comes first, unless the user reverses the order."""


def labels(listed: Sequence[Watched]) -> list[str]:
    """Return a label for each process: its service, and its pid or port if others share that."""
    names = Counter(watched.name for watched in listed)

    def label(watched: Watched) -> str:
        if names[watched.name] == 1:
            return watched.name
        process = watched.process
        return f"{watched.name}:{process.pid or process.url.rpartition(':')[2]}"

    return [label(watched) for watched in listed]


@dataclass(slots=True)
class Rows:
    """The rows of every table."""

    tools: list[Row[Tool]] = field(default_factory=list)
    operations: list[Row[Operation]] = field(default_factory=list)
    caches: list[Row[Cache]] = field(default_factory=list)


def rows(listed: Sequence[Watched], now: float) -> Rows:
    """Return a row for every tool, operation and cache."""
    found = Rows()
    for label, watched in zip(labels(listed), listed, strict=True):
        if watched.reading is None:
            continue
        silent, where = watched.is_silent(now), (watched.process.url, watched.process.pid)
        history = watched.history
        for tool in watched.reading.tools:
            found.tools.append(Row(label, silent, tool, (*where, tool.name), history))
        for operation in watched.reading.operations:
            key = (*where, f"{operation.figures['side']} {operation.name}")
            found.operations.append(Row(label, silent, operation, key, history))
        for cache in watched.reading.caches:
            found.caches.append(Row(label, silent, cache, (*where, cache.name), history))
    return found


def condition(watched: Watched, now: float) -> tuple[str, str, str]:
    """Return the condition of a process: a sign, the style of its line, and a description."""
    if watched.is_silent(now):
        since = watched.silent_since()
        when = f"since {clock(since)} ({text.duration(now - since)})"
        because = f": {watched.problem.reason}" if watched.problem else ""
        if watched.is_gone():
            return FAILED, "red", f"gone {when}"
        if watched.answered is None:
            return "?", "yellow", f"no answer yet{because}"
        return "?", "yellow", f"no answer {when}{because}"
    reading = watched.reading
    if reading is None:
        return " ", "", "asked …"
    words = [f"up {text.duration(reading.uptime_seconds)}"]
    if not reading.enabled:
        words.insert(0, "measuring is switched off")
    if watched.began_anew is not None and now - watched.began_anew < _ANEW_SECONDS:
        words.insert(0, f"began anew {clock(watched.began_anew)}")
    words += filter(None, [reading.workers])
    words.append(f"{text.rate(reading.calls_per_second)} calls/s")
    words.append(f"{reading.active_calls} active")
    if reading.active_sessions:
        words.append(_sessions(reading.active_sessions))
    for session in reading.sessions:
        lasted = percentile_of_sessions(session, "p50").text()
        ended = _sessions(session["ended_sessions"], f"{session['side']} ")
        words.append(f"{ended} ended, p50 {lasted}")
    cpu = text.NONE if reading.cpu_percent is None else f"{reading.cpu_percent:.1f} %"
    words.append(f"cpu {cpu}")
    words.append(text.size(reading.resident_bytes))
    return " ", "", " · ".join(words)


def _sessions(count: int, side: str = "") -> str:
    return f"{count} {side}session{'' if count == 1 else 's'}"


def clock(unix_seconds: float) -> str:
    """Return the local time of day, as HH:MM:SS."""
    return time.strftime("%H:%M:%S", time.localtime(unix_seconds))


def _words(
    title: str, key: str, rank: int, words: Callable[[Row[Entry]], str | None]
) -> Column[Entry]:
    """Make a column of words, which sorts its rows alphabetically without regard to case."""

    def value(row: Row[Entry]) -> Value:
        found = words(row)
        return None if found is None else found.casefold()

    return Column(
        title, key, rank, value, lambda row: words(row) or text.NONE, is_words=True, ascends=True
    )


def _figure(
    title: str, key: str, rank: int, name: str, written: Written = text.count, **more: Any
) -> Column[Entry]:
    """Make a column of the figure that is under `name` in the document."""

    def value(row: Row[Entry]) -> Any:
        figures: Any = row.entry.figures
        return figures[name]

    return Column(title, key, rank, value, lambda row: written(value(row)), **more)


def _now(
    title: str, key: str, rank: int, value: Callable[[Entry], float | None], written: Written
) -> Column[Entry]:
    """Make a column of a momentary figure, which is empty for a process that does not answer."""

    def at_present(row: Row[Entry]) -> float | None:
        return None if row.is_gone else value(row.entry)

    return Column(title, key, rank, at_present, lambda row: written(at_present(row)))


def _process(rank: int) -> Column[Entry]:
    column: Column[Entry] = _words("process", "o", rank, lambda row: row.process)
    return replace(
        column, text=lambda row: f"{FAILED} {row.process}" if row.is_gone else row.process
    )


def _percentile(which: Which, key: str, rank: int) -> Column[Called]:
    return Column(
        which,
        key,
        rank,
        lambda row: row.entry.percentile(which).milliseconds,
        lambda row: row.entry.percentile(which).in_column(),
    )


def _success_rate() -> Column[Called]:
    column: Column[Called] = _figure("ok %", "s", 1, "success_rate", style=_success_style)
    return replace(
        column,
        text=lambda row: (
            (FAILED if row.entry.failed_lately else "")
            + text.percent(row.entry.figures["success_rate"]).rjust(5)
        ),
        ascends=True,
    )


def _success_style(called: Tool | Operation) -> str:
    if not called.failed_lately:
        return ""
    return "red" if (called.figures["success_rate"] or 0) < _POOR_SUCCESS_RATE else "yellow"


def hits_style(hit_rate: float | None, lookups: int) -> str:
    """Return the style of a hit rate: yellow if it is poor and of enough lookups."""
    is_poor = hit_rate is not None and hit_rate < _POOR_HIT_RATE
    return "yellow" if is_poor and lookups >= _FEWEST_LOOKUPS else ""


def _called(title: str, own: Column[Called]) -> tuple[Column[Called], ...]:
    """Make the columns of tools or of operations; `own` is the one that only this table has."""
    return (
        _words(title, "n", 0, lambda row: row.entry.name),
        _now("calls/s", "c", 3, lambda called: called.calls_per_second, text.rate),
        _success_rate(),
        _percentile("p50", "5", 6),
        _percentile("p95", "p", 0),
        _percentile("p99", "9", 4),
        own,
        _figure("calls", "t", 7, "total_calls"),
        _words("errors", "e", 2, lambda row: ", ".join(errors(row.entry.figures)) or None),
        _process(3),
    )


TOOLS: tuple[Column[Tool], ...] = _called(
    "tool", _now("active", "a", 5, lambda tool: tool.figures["active_calls"], text.count)
)
OPERATIONS: tuple[Column[Operation], ...] = _called(
    "operation", _figure("side", "d", 5, "side", str)
)
CACHES: tuple[Column[Cache], ...] = (
    _words("cache", "n", 0, lambda row: row.entry.name),
    _now("lookups/s", "c", 3, lambda cache: cache.lookups_per_second, text.rate),
    _figure(
        "hit %",
        "s",
        0,
        "hit_rate",
        text.percent,
        style=lambda cache: hits_style(cache.figures["hit_rate"], cache.figures["total_requests"]),
        ascends=True,
    ),
    _figure("lookups", "t", 2, "total_requests"),
    _figure("evicted", "v", 4, "evictions"),
    _now("entries", "a", 5, lambda cache: cache.figures["entries"], text.count),
    _words("library", "l", 6, lambda row: row.entry.figures["system"]),
    _process(3),
)
