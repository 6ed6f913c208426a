"""The columns of both tables: what is in them, how they are sorted, which are left out first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from metertap import text as figures
from metertap.cli.top.cursor import Key
from metertap.cli.top.history import History
from metertap.cli.top.readings import Cache, Tool

FAILED = "✕"
_FEWEST_LOOKUPS = 20
"""Of fewer, a hit rate says nothing."""
_POOR_HIT_RATE = 50.0
_POOR_SUCCESS_RATE = 90.0

Thing = TypeVar("Thing", bound=Tool | Cache)
Value = float | str | None


@dataclass(frozen=True, slots=True)
class Row(Generic[Thing]):
    """One tool or cache of one process."""

    process: str
    is_gone: bool
    thing: Thing
    key: Key
    """What it is, wherever it stands and whatever its process is called now."""
    history: History

    def is_unused(self) -> bool:
        """Whether nobody has ever asked it."""
        if isinstance(self.thing, Cache):
            return self.thing.total_requests == 0
        return self.thing.total_calls == 0


@dataclass(frozen=True, slots=True)
class Column(Generic[Thing]):
    """One column. `rank`: those of a higher one are left out first; 0 never is."""

    title: str
    key: str
    about: str
    rank: int
    value: Callable[[Row[Thing]], Value]
    text: Callable[[Row[Thing]], str]
    style: Callable[[Thing], str] = lambda _thing: ""
    is_words: bool = False
    ascends: bool = False
    """Whether the smallest comes first unless it is reversed."""


def _process(rank: int) -> Column[Thing]:
    return Column(
        "process",
        "o",
        "the process that has it",
        rank,
        lambda row: row.process.casefold(),
        lambda row: f"{FAILED} {row.process}" if row.is_gone else row.process,
        is_words=True,
        ascends=True,
    )


def _name(title: str) -> Column[Thing]:
    return Column(
        title,
        "n",
        "name",
        0,
        lambda row: row.thing.name.casefold(),
        lambda row: row.thing.name,
        is_words=True,
        ascends=True,
    )


def _percentile(which: Literal["p50", "p95", "p99"], key: str, rank: int) -> Column[Tool]:
    def value(row: Row[Tool]) -> float | None:
        return {
            "p50": row.thing.p50_latency_ms,
            "p95": row.thing.p95_latency_ms,
            "p99": row.thing.p99_latency_ms,
        }[which]

    def text(row: Row[Tool]) -> str:
        found = value(row)
        mark = figures.ABOUT if which in row.thing.approximate and found is not None else ""
        return mark + figures.latency(found)

    about = f"{which} of the last calls; {figures.ABOUT} is an estimate, or of too few calls"
    return Column(which, key, about, rank, value, text)


def _now(text: Callable[[Thing], str]) -> Callable[[Row[Thing]], str]:
    """What a process that is gone has none of."""
    return lambda row: figures.NONE if row.is_gone else text(row.thing)


def _success_style(tool: Tool) -> str:
    if not tool.failed_lately:
        return ""
    return "red" if (tool.success_rate or 0) < _POOR_SUCCESS_RATE else "yellow"


def hits_style(hit_rate: float | None, lookups: int) -> str:
    """Of a hit rate: one that is poor is seen."""
    is_poor = hit_rate is not None and hit_rate < _POOR_HIT_RATE
    return "yellow" if is_poor and lookups >= _FEWEST_LOOKUPS else ""


TOOLS: tuple[Column[Tool], ...] = (
    _name("tool"),
    Column(
        "calls/s",
        "c",
        "calls a second, between the last two looks",
        3,
        lambda row: None if row.is_gone else row.thing.calls_per_second,
        _now(lambda tool: figures.rate(tool.calls_per_second)),
    ),
    Column(
        "ok %",
        "s",
        f"ok among ok and failed, since counting began; {FAILED} failed in the last minute",
        1,
        lambda row: row.thing.success_rate,
        lambda row: (
            (FAILED if row.thing.failed_lately else "")
            + figures.percent(row.thing.success_rate).rjust(5)
        ),
        style=_success_style,
        ascends=True,
    ),
    _percentile("p50", "5", 6),
    _percentile("p95", "p", 0),
    _percentile("p99", "9", 4),
    Column(
        "active",
        "a",
        "calls in progress",
        5,
        lambda row: None if row.is_gone else row.thing.active_calls,
        _now(lambda tool: figures.count(tool.active_calls)),
    ),
    Column(
        "calls",
        "t",
        "calls of every outcome, since counting began",
        7,
        lambda row: row.thing.total_calls,
        lambda row: figures.count(row.thing.total_calls),
    ),
    Column(
        "last error",
        "e",
        "the error type seen last; at first, the most frequent",
        2,
        lambda row: row.thing.last_error_type,
        lambda row: row.thing.last_error_type or figures.NONE,
        is_words=True,
        ascends=True,
    ),
    _process(3),
)
CACHES: tuple[Column[Cache], ...] = (
    _name("cache"),
    Column(
        "lookups/s",
        "c",
        "lookups a second, between the last two looks",
        3,
        lambda row: None if row.is_gone else row.thing.lookups_per_second,
        _now(lambda cache: figures.rate(cache.lookups_per_second)),
    ),
    Column(
        "hit %",
        "s",
        "hits among lookups, since counting began",
        0,
        lambda row: row.thing.hit_rate,
        lambda row: figures.percent(row.thing.hit_rate),
        style=lambda cache: hits_style(cache.hit_rate, cache.total_requests),
        ascends=True,
    ),
    Column(
        "lookups",
        "t",
        "lookups since counting began",
        2,
        lambda row: row.thing.total_requests,
        lambda row: figures.count(row.thing.total_requests),
    ),
    Column(
        "evicted",
        "v",
        "entries evicted, since counting began",
        4,
        lambda row: row.thing.evictions,
        lambda row: figures.count(row.thing.evictions),
    ),
    Column(
        "entries",
        "a",
        "entries now",
        5,
        lambda row: None if row.is_gone else row.thing.entries,
        _now(lambda cache: figures.count(cache.entries)),
    ),
    Column(
        "library",
        "l",
        "the cache's library",
        6,
        lambda row: row.thing.system.casefold(),
        lambda row: row.thing.system,
        is_words=True,
        ascends=True,
    ),
    _process(3),
)
