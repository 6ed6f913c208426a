"""The thresholds of `[tool.metertap.alerts]`: read, checked, and ready for any evaluator.

A key at the top of the table is the default of every tool or cache. A table of one tool or cache
(`[tool.metertap.alerts.tools.NAME]`, `[tool.metertap.alerts.caches.NAME]`) overrides it. `false`
turns a threshold off. This module does not know where the figures come from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

from metertap import catalogue, parsing
from metertap.alerts.definitions import CRITICAL, WARNING

T = TypeVar("T")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d{1,9}[smhdw])+")


class BadThresholds(ValueError):
    """Unusable thresholds: `messages` has a line for each key."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


@dataclass(frozen=True, slots=True)
class ToolThresholds:
    """Thresholds of a tool's alerts; with None an alert never fires. Rates are of ok and failed."""

    error_rate: float | None = 0.05
    """Share of calls that fail."""
    p95_seconds: float | None = None
    """The highest acceptable 95th percentile."""
    slower_than_last_week: float | None = 2.0
    """How many times the 95th percentile of a week ago is too much."""
    success_objective: float | None = 0.99
    """The share of calls that should be ok over 30 days; the rest is the error budget."""
    no_traffic_seconds: int | None = None
    """How long, in seconds, it may be without calls of any outcome."""
    minimum_calls: int = 20
    """The fewest calls in the window for a rate or percentile to be compared."""
    for_seconds: int = 300
    """How long, in seconds, a condition has to hold."""


@dataclass(frozen=True, slots=True)
class CacheThresholds:
    """Thresholds of a cache's alerts; with None an alert never fires."""

    hit_rate: float | None = 0.1
    """The smallest share of lookups that should hit."""
    minimum_lookups: int = 100
    """The fewest lookups in the window for the hit rate to be compared."""
    for_seconds: int = 300


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The whole table. `tools` and `caches` hold complete thresholds, defaults included."""

    tool: ToolThresholds = field(default_factory=ToolThresholds)
    cache: CacheThresholds = field(default_factory=CacheThresholds)
    tools: Mapping[str, ToolThresholds] = field(default_factory=dict)
    caches: Mapping[str, CacheThresholds] = field(default_factory=dict)
    window_seconds: int = 300
    """The time, in seconds, over which rates and percentiles are taken."""
    jobs: tuple[str, ...] = ("metertap",)
    """Scrape jobs whose processes should answer; without any, that alert is off."""
    overflow: bool = True
    """Whether names or series past a limit raise an alert."""
    meter_faults: bool = True
    """Whether faults of metertap's own raise an alert."""
    daily_budget: float | None = None
    """The most USD that the tools may spend in a day."""
    runbooks: str = "docs/runbooks.md"
    """Path or address of the document that says what to do."""

    def of_tool(self, name: str) -> ToolThresholds:
        return self.tools.get(name, self.tool)

    def of_cache(self, name: str) -> CacheThresholds:
        return self.caches.get(name, self.cache)


@dataclass(frozen=True, slots=True)
class WindowPair:
    """Two windows of a burn-rate alert, in seconds.

    `factor` is how many times the allowed spending is too much in both.
    """

    long: int
    short: int
    factor: float
    for_seconds: int
    severity: str


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
WINDOWS = (
    WindowPair(_HOUR, 5 * _MINUTE, 14.4, 2 * _MINUTE, CRITICAL),
    WindowPair(6 * _HOUR, 30 * _MINUTE, 6, 15 * _MINUTE, CRITICAL),
    WindowPair(_DAY, 2 * _HOUR, 3, _HOUR, WARNING),
    WindowPair(3 * _DAY, 6 * _HOUR, 1, 3 * _HOUR, WARNING),
)
"""Those of Google's SRE workbook, for an objective over 30 days."""
ALL_WINDOWS = {window for pair in WINDOWS for window in (pair.long, pair.short)}


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9:
        return value
    raise ValueError("a whole number from 0 to 1000000000 is needed")


def _duration(lowest: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, str) and _DURATION.fullmatch(value):
            parts = re.findall(r"(\d+)(\w)", value)
            seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
            if lowest <= seconds <= 4 * _UNITS["w"]:
                return seconds
        raise ValueError(f'a time from "{lowest}s" to "4w" is needed, such as "5m" or "1h30m"')

    return parse


def _off(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    def parse_or_off(value: object) -> T | None:
        if value is False:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise ValueError(f"{error}, or false for off") from None

    return parse_or_off


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("true or false is needed")


def _text(value: object) -> str:
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value.strip()
    raise ValueError("a text is needed")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value):
        return tuple(dict.fromkeys(item.strip() for item in value))
    raise ValueError("a list of names is needed")


_Parsers = dict[str, tuple[str, Callable[[object], Any]]]
TOOL_KEYS: _Parsers = {
    "error_rate": ("error_rate", _off(parsing.between(0, 1))),
    # The histogram ends there: slower calls cannot be distinguished.
    "p95_seconds": ("p95_seconds", _off(parsing.between(0, catalogue.TOOL_DURATION.buckets[-1]))),
    "slower_than_last_week": ("slower_than_last_week", _off(parsing.between(1, 1000))),
    # Below it the fastest burn-rate alert could never fire: 14.4 times the budget is everything.
    "success_objective": ("success_objective", _off(parsing.between(0.935, 1))),
    "minimum_calls": ("minimum_calls", _count),
    "for": ("for_seconds", _duration(0)),
}
OWN_TOOL_KEYS: _Parsers = {"no_traffic": ("no_traffic_seconds", _off(_duration(1)))}
"""Keys that only a tool's own table may have, since many tools are rarely called."""
CACHE_KEYS: _Parsers = {
    "hit_rate": ("hit_rate", _off(parsing.between(0, 1))),
    "minimum_lookups": ("minimum_lookups", _count),
    "for": ("for_seconds", _duration(0)),
}
PROCESS_KEYS: _Parsers = {
    "window": ("window_seconds", _duration(1)),
    "jobs": ("jobs", _texts),
    "overflow": ("overflow", _boolean),
    "meter_faults": ("meter_faults", _boolean),
    "daily_budget": ("daily_budget", _off(parsing.positive_amount)),
    "runbooks": ("runbooks", _text),
}
_TABLES = ("tools", "caches")
_OF_SETTINGS = ("alertmanager", "webhook", "every")
"""Keys of the same table that are settings: the receivers, and the evaluation interval."""


def read(table: Mapping[str, Any]) -> Thresholds:
    """Read the thresholds of the table. Raise BadThresholds, which names every wrong key."""
    wrong: list[str] = []
    everything = {**TOOL_KEYS, **CACHE_KEYS, **PROCESS_KEYS}
    given = {key: value for key, value in table.items() if key not in (*_TABLES, *_OF_SETTINGS)}
    values = _values("", given, everything, (*_TABLES, *_OF_SETTINGS), wrong)
    tool = _with(ToolThresholds(), values)
    cache = _with(CacheThresholds(), values)
    tools = {
        name: _with(
            tool, _values(f"tools.{_key(name)}.", own, TOOL_KEYS | OWN_TOOL_KEYS, (), wrong)
        )
        for name, own in _tables(table, "tools", wrong).items()
    }
    caches = {
        name: _with(cache, _values(f"caches.{_key(name)}.", own, CACHE_KEYS, (), wrong))
        for name, own in _tables(table, "caches", wrong).items()
    }
    if wrong:
        raise BadThresholds(wrong)
    return _with(Thresholds(tool, cache, tools, caches), values)


def _tables(table: Mapping[str, Any], name: str, wrong: list[str]) -> dict[str, Mapping[str, Any]]:
    found = table.get(name, {})
    if not isinstance(found, Mapping):
        wrong.append(f"{name} = {_shown(found)}: a table is needed")
        return {}
    for key, value in found.items():
        if not isinstance(value, Mapping):
            wrong.append(f"{name}.{_key(key)} = {_shown(value)}: a table is needed")
    return {key: value for key, value in found.items() if isinstance(value, Mapping)}


def _values(
    where: str, given: Mapping[str, Any], parsers: _Parsers, also: Collection[str], wrong: list[str]
) -> dict[str, Any]:
    values = {}
    for key, value in given.items():
        if key not in parsers:
            hint = parsing.did_you_mean(parsing.nearest(key, [*parsers, *also]))
            wrong.append(f"{where}{_key(key)} = {_shown(value)}: there is no such key{hint}")
            continue
        name, parse = parsers[key]
        try:
            values[name] = parse(value)
        except ValueError as error:
            wrong.append(f"{where}{key} = {_shown(value)}: {error}")
    return values


def _with(thresholds: T, values: Mapping[str, Any]) -> T:
    """Copy `thresholds` with those `values` that are fields of it."""
    names = {item.name for item in fields(thresholds)}  # type: ignore[arg-type]
    own = {name: value for name, value in values.items() if name in names}
    return replace(thresholds, **own)  # type: ignore[type-var]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name) else _shown(name)


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    if "://" in text:  # an address may contain credentials
        return "an address"
    return text if len(text) <= 80 else f"{text[:79]}…"
