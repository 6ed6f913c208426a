"""The details below a selected row: the figures of a tool, operation or cache without a column."""

from __future__ import annotations

from rich.text import Text

from metertap import outcomes, text
from metertap.cli.top.columns import Row, hits_style
from metertap.cli.top.history import bars
from metertap.cli.top.layout import Item, grid, items, sentence
from metertap.cli.top.readings import Cache, Operation, Tool
from metertap.tables import document as documents
from metertap.tables.figures import errors
from metertap.tables.percentiles import PERCENTILES, percentile_of_part
from metertap.tables.sections import ToolWeight

_UNSUPPORTED = "unsupported"
_LEAST_BARS = 8
_BESIDE_BARS = 48
"""The width of the text beside the bars: their label, the highest value, and the time they span."""


def of_tool(row: Row[Tool], width: int, now: float) -> list[Text]:
    """Lay out a tool's outcomes, errors, latencies by cache hits, and its last minutes as bars."""
    name, tool = row.entry.name, row.entry.figures
    lines = items("outcomes", _outcomes(tool), width)
    lines += items("errors", _errors(tool), width)
    lines += _latencies(tool, width)
    history = row.history
    for label, values, written in (
        ("calls/s", history.calls_per_second(name), text.rate),
        ("p95", history.p95_latency_ms(name), text.latency),
    ):
        values = values[-max(_LEAST_BARS, width - _BESIDE_BARS) :]
        most = max((value for value in values if value is not None), default=None)
        if most is not None:
            # The first step is usually incomplete, so the text names at most the time since the
            # first reading.
            seconds = min(len(values) * history.step_seconds, history.seconds)
            about: list[Item] = [(bars(values), ""), (f"most {written(most).strip()}", "")]
            if seconds >= 1:
                about.append((f"last {text.duration(seconds)}", "dim"))
            lines += items(label, about, width)
    lifetime = [*_lifetime(tool, now), (f"source {tool['source']}", "dim")]
    lines += items("all calls", lifetime, width)
    if row.entry.weight is not None:
        lines += items("weight", _weight(row.entry.weight), width)
    return lines


def of_operation(row: Row[Operation], width: int, now: float) -> list[Text]:
    """Lay out an operation's errors, and the latencies of all its requests."""
    operation = row.entry.figures
    lines = items("errors", _errors(operation), width)
    lifetime = [*_lifetime(operation, now), (f"seen by the {operation['side']}", "dim")]
    return lines + items("all requests", lifetime, width)


def of_cache(row: Row[Cache], width: int, _now: float) -> list[Text]:
    """Lay out a cache's lookups, entries and evictions, and the hit rate of each tool in it."""
    cache = row.entry.figures
    entries = text.NONE if row.is_gone else _shown(cache["entries"])
    facts: list[Item] = [
        (f"{cache['hits']} hits", ""),
        (f"{cache['misses']} misses", ""),
        (f"entries {entries}", ""),
        (f"evicted {_shown(cache['evictions'])}", ""),
        (f"rejected for their size {_shown(cache['size_rejections'])}", ""),
        (f"library {cache['system']}", "dim"),
    ]
    lines = items("lookups", facts, width)
    if cache["by_tool"] is None:
        told = "not known by tool: the cache's statistics do not say who asked"
        return lines + sentence("hit rate", told, width)
    if not cache["by_tool"]:
        return lines + sentence("hit rate", "no tool call has asked it yet", width)
    return lines + _by_tool(cache, cache["by_tool"], width)


def _weight(weight: ToolWeight) -> list[Item]:
    found: list[Item] = []
    definition, results = weight["definition"], weight["results"]
    if definition is not None:
        share = text.percent(definition["context_share"])
        found.append((f"definition {text.ABOUT}{definition['tokens']} tokens", ""))
        found.append((f"{share} % of the context", ""))
        found.append((f"{definition['bytes']} bytes", "dim"))
    if results is not None:
        for name, value in (("p95", results["p95_tokens"]), ("largest", results["max_tokens"])):
            if value is not None:
                found.append((f"result {name} {text.ABOUT}{value} tokens", ""))
        if results["unknown"]:
            found.append((f"{results['unknown']} results of no known size", ""))
    return found


def _outcomes(tool: documents.Tool) -> list[Item]:
    if tool["outcomes"] is None:
        failed = tool["failed_calls"]
        return [
            (f"ok {tool['successful_calls']}", ""),
            (f"failed {failed}", "red" if failed else ""),
            (f"from a histogram of {tool['source']}: no more is known", "dim"),
        ]
    return [
        (f"{name.replace('_', ' ')} {count}", "red" if name in outcomes.FAILED else "")
        for name, count in tool["outcomes"].items()
        if count or name == outcomes.OK
    ]


def _latencies(tool: documents.Tool, width: int) -> list[Text]:
    by_cache, first_item = tool["with_cache"], tool["first_item"]
    parts: list[tuple[str, documents.Latencies]] = []
    if by_cache is not None:
        parts.append(("every lookup hit", by_cache["all_hit"]))
        parts.append(("a lookup missed", by_cache["missed"]))
    if first_item is not None:
        parts.append(("to the first item", first_item))
    if not parts:
        return []  # the row itself has the percentiles
    titles = ("latency", "calls", "mean  ", "p50  ", "p95  ", "p99  ")
    rows = [_latency_row(name, part, tool["max_latency_ms"]) for name, part in parts]
    return grid(titles, (0, 1, 3, 2, 0, 2), rows, width)


def _latency_row(name: str, part: documents.Latencies, longest_ms: float | None) -> list[Item]:
    cells = [name, str(part["calls"]), text.latency(part["avg_latency_ms"])]
    cells += [percentile_of_part(part, longest_ms, which).in_column() for which in PERCENTILES]
    return [(cell, "") for cell in cells]


def _errors(figures: documents.Tool | documents.Operation) -> list[Item]:
    return [(error, "") for error in errors(figures)] or [("none", "dim")]


def _lifetime(figures: documents.Tool | documents.Operation, now: float) -> list[Item]:
    shown: list[Item] = [
        (f"{name} {text.latency(value).strip()}", "")
        for name, value in (
            ("shortest", figures["min_latency_ms"]),
            ("mean", figures["avg_latency_ms"]),
            ("longest", figures["max_latency_ms"]),
        )
    ]
    if figures["window_samples"] is not None:
        shown.append((f"percentiles of the last {figures['window_samples']}", ""))
    if figures["last_call_timestamp"] is not None:
        shown.append((f"last call {text.duration(now - figures['last_call_timestamp'])} ago", ""))
    return shown


def _by_tool(
    cache: documents.Cache, by_tool: dict[str, documents.Lookups], width: int
) -> list[Text]:
    counts = {tool: (it["hits"], it["misses"]) for tool, it in by_tool.items()}
    order = sorted(counts, key=lambda tool: (-sum(counts[tool]), tool))
    rows = [_lookup_row(tool, *counts[tool]) for tool in order]
    hits = cache["hits"] - sum(hits for hits, _ in counts.values())
    misses = cache["misses"] - sum(misses for _, misses in counts.values())
    if hits >= 0 and misses >= 0 and hits + misses:
        others = _lookup_row("(others)", hits, misses)
        rows.append([(cell, style or "dim") for cell, style in others])
    titles = ("looked up by", "hit %", "lookups", "hits", "misses")
    return grid(titles, (0, 0, 1, 3, 2), rows, width)


def _lookup_row(name: str, hits: int, misses: int) -> list[Item]:
    total = hits + misses
    rate = 100.0 * hits / total if total else None
    return [
        (name, ""),
        (text.percent(rate), hits_style(rate, total)),
        (str(total), ""),
        (str(hits), ""),
        (str(misses), ""),
    ]


def _shown(value: int | None) -> str:
    return _UNSUPPORTED if value is None else str(value)
