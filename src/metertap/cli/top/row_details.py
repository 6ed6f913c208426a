"""What unfolds under a row: the rest of a tool's figures, or of a cache's."""

from __future__ import annotations

from rich.text import Text

from metertap import outcomes
from metertap import text as figures
from metertap.cli.top.columns import Row, hits_style
from metertap.cli.top.details import CacheDetails, Latencies
from metertap.cli.top.history import bars
from metertap.cli.top.readings import Cache, Tool
from metertap.cli.top.wrapped import Item, grid, items, sentence

_UNSUPPORTED = "unsupported"
_SAMPLES = {"p95": 19, "p99": 99}
"""A percentile of fewer samples lies beyond the longest."""
_LEAST_BARS = 8
_BESIDE_BARS = 48
"""For the label, what the highest bar is, and since when."""


def of_tool(row: Row[Tool], width: int, now: float) -> list[Text]:
    """Outcomes, errors, latency with caches and without, and the last minutes."""
    found = row.thing.details
    lines = items("outcomes", _outcomes(row.thing), width)
    errors = sorted(found.error_types.items(), key=lambda item: (-item[1], item[0]))
    shown: list[Item] = [(f"{kind} {number}", "") for kind, number in errors]
    lines += items("errors", shown or [("none", "dim")], width)
    lines += _latencies(row.thing, width)
    history = row.history
    for label, values, text in (
        ("calls/s", history.calls_per_second(row.thing.name), figures.rate),
        ("p95", history.p95_latency_ms(row.thing.name), figures.latency),
    ):
        values = values[-max(_LEAST_BARS, width - _BESIDE_BARS) :]
        most = max((value for value in values if value is not None), default=None)
        if most is not None:
            span = figures.duration(len(values) * history.step_seconds)
            about: list[Item] = [(bars(values), ""), (f"most {text(most).strip()}", "")]
            lines += items(label, [*about, (f"last {span}", "dim")], width)
    lines += items("all calls", _lifetime(row.thing, now), width)
    return lines


def of_cache(row: Row[Cache], width: int, _now: float) -> list[Text]:
    """Whose lookups hit, and how full it is."""
    cache, found = row.thing, row.thing.details
    entries = figures.NONE if row.is_gone else _shown(cache.entries)
    facts: list[Item] = [
        (f"{found.hits} hits", ""),
        (f"{found.misses} misses", ""),
        (f"entries {entries}", ""),
        (f"evicted {_shown(cache.evictions)}", ""),
        (f"rejected for their size {_shown(found.size_rejections)}", ""),
        (f"library {cache.system}", "dim"),
    ]
    lines = items("lookups", facts, width)
    if found.by_tool is None:
        told = "not known by tool: the cache's statistics do not say who asked"
        return lines + sentence("hit rate", told, width)
    if not found.by_tool:
        return lines + sentence("hit rate", "no tool call has asked it yet", width)
    return lines + _by_tool(found, width)


def _outcomes(tool: Tool) -> list[Item]:
    found = tool.details
    if found.outcomes is None:
        about = f"from a histogram of {found.source}: no more is known"
        return [
            (f"ok {found.successful_calls}", ""),
            (f"failed {found.failed_calls}", "red" if found.failed_calls else ""),
            (about, "dim"),
        ]
    return [
        (f"{name.replace('_', ' ')} {number}", "red" if name in outcomes.FAILED else "")
        for name, number in found.outcomes.items()
        if number or name == outcomes.OK
    ]


def _latencies(tool: Tool, width: int) -> list[Text]:
    found = tool.details
    if found.all_hit is None and found.missed is None and found.first_item is None:
        return []  # the row itself has the percentiles
    rows = [
        _latency_row(name, part)
        for name, part in (
            ("every lookup hit", found.all_hit),
            ("a lookup missed", found.missed),
            ("to the first item", found.first_item),
        )
        if part is not None
    ]
    titles = ("latency", "calls", "mean  ", "p50  ", "p95  ", "p99  ")
    return grid(titles, (0, 1, 3, 2, 0, 2), rows, width)


def _latency_row(name: str, part: Latencies) -> list[Item]:
    def latency(value: float | None, which: str = "") -> Item:
        is_about = value is not None and part.calls < _SAMPLES.get(which, 0)
        return (figures.ABOUT if is_about else "") + figures.latency(value), ""

    return [
        (name, ""),
        (str(part.calls), ""),
        latency(part.avg_latency_ms),
        latency(part.p50_latency_ms),
        latency(part.p95_latency_ms, "p95"),
        latency(part.p99_latency_ms, "p99"),
    ]


def _lifetime(tool: Tool, now: float) -> list[Item]:
    found = tool.details
    shown = [
        (f"{name} {figures.latency(value).strip()}", "")
        for name, value in (
            ("shortest", found.min_latency_ms),
            ("mean", found.avg_latency_ms),
            ("longest", found.max_latency_ms),
        )
    ]
    if found.window_samples is not None:
        shown.append((f"percentiles of the last {found.window_samples}", ""))
    if found.last_call_timestamp is not None:
        shown.append((f"last call {figures.duration(now - found.last_call_timestamp)} ago", ""))
    return [*shown, (f"source {found.source}", "dim")]


def _by_tool(found: CacheDetails, width: int) -> list[Text]:
    by_tool = dict(found.by_tool or {})
    order = sorted(by_tool, key=lambda tool: (-(by_tool[tool].hits + by_tool[tool].misses), tool))
    rows = [_lookup_row(tool, by_tool[tool].hits, by_tool[tool].misses) for tool in order]
    hits = found.hits - sum(it.hits for it in by_tool.values())
    misses = found.misses - sum(it.misses for it in by_tool.values())
    if hits >= 0 and misses >= 0 and hits + misses:
        rows.append(
            [(text, style or "dim") for text, style in _lookup_row("(others)", hits, misses)]
        )
    return grid(
        ("looked up by", "hit %", "lookups", "hits", "misses"), (0, 0, 1, 3, 2), rows, width
    )


def _lookup_row(name: str, hits: int, misses: int) -> list[Item]:
    total = hits + misses
    rate = 100.0 * hits / total if total else None
    return [
        (name, ""),
        (figures.percent(rate), hits_style(rate, total)),
        (str(total), ""),
        (str(hits), ""),
        (str(misses), ""),
    ]


def _shown(value: int | None) -> str:
    return _UNSUPPORTED if value is None else str(value)
