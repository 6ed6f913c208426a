"""Trends as tables: a line of bars for each tool and cache, or a row for each period of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from metertap import text
from metertap.cli.top.history import bars
from metertap.history import times
from metertap.history.answers import Kind, Slice
from metertap.history.trends import Trend, Trends, milliseconds, percent
from metertap.tables.percentiles import FEWEST, PERCENTILES, Percentile, Which, explain
from metertap.tables.table import Table

_NAMED: dict[Kind, str] = {"tool": "tool", "operation": "MCP operation", "cache": "cache"}
Figure = Callable[[Slice], float | None]


def tables(found: Trends, *, periods: bool) -> Iterator[Table]:
    """Return a table of each kind that has data; with `periods`, a row for each period."""
    title = _title(found)
    for kind in _NAMED:
        trends = found.of(kind)
        if trends:
            made = (
                _of_caches(found, trends, periods)
                if kind == "cache"
                else _of_calls(found, trends, kind, periods)
            )
            made.title, title = title, ""
            explain([made])
            yield made


def _title(found: Trends) -> str:
    services = sorted({trend.service for trend in found.trends})
    span = f"{times.shown(found.since)} to {times.shown(found.until)}"
    parts = [f"{', '.join(services)}: {span}, each bar {text.time_span(found.step)}"]
    parts += [
        f"{version.version} of {version.service} since {times.shown(version.first_seen)}"
        for version in found.versions
    ]
    return "; ".join(parts)


def _of_calls(found: Trends, trends: Sequence[Trend], kind: Kind, periods: bool) -> Table:
    headers = (
        *(*_labels(found, _NAMED[kind], periods), "calls", "failed %"),
        *PERCENTILES,
        *("" if periods else "p95 over time", "errors"),
    )
    table = Table("", headers, right=frozenset({"calls", "failed %", "p50", "p95", "p99"}))
    lines = _lines(found, trends, periods)
    for (_, each, label), line in zip(_rows(found, trends, periods), lines, strict=True):
        if each.failed:
            table.styles[len(table.rows)] = "yellow"
        table.rows.append(
            (
                *label,
                text.count(each.calls),
                text.percent(percent(each.error_rate)),
                *(_percentile(each, which) for which in PERCENTILES),
                line,
                ", ".join(f"{name} {count}" for name, count in each.error_types.items()),
            )
        )
    return table


def _percentile(of: Slice, which: Which) -> str:
    """Return a percentile as `snapshot` shows it: none for one call, and marked for few calls."""
    calls = 0 if of.latency is None else of.latency.count
    shown = Percentile(milliseconds(of, int(which[1:])), calls < FEWEST[which])
    return shown.text() if calls > 1 else text.NONE


def _of_caches(found: Trends, trends: Sequence[Trend], periods: bool) -> Table:
    headers = (
        *_labels(found, _NAMED["cache"], periods),
        *("lookups", "hit %", "" if periods else "hit rate over time"),
    )
    table = Table("", headers, right=frozenset({"lookups", "hit %"}))
    for trend, each, label in _rows(found, trends, periods):
        line = "" if periods else _bars(found, trend, lambda of: of.hit_rate)
        lookups = text.count(each.hits + each.misses)
        table.rows.append((*label, lookups, text.percent(percent(each.hit_rate)), line))
    return table


def _labels(found: Trends, named: str, periods: bool) -> tuple[str, ...]:
    service = ("service",) if len({trend.service for trend in found.trends}) > 1 else ()
    version = ("version",) if any(trend.version for trend in found.trends) else ()
    return (*(("from",) if periods else ()), named, *service, *version)


def _rows(
    found: Trends, trends: Sequence[Trend], periods: bool
) -> Iterator[tuple[Trend, Slice, tuple[str, ...]]]:
    columns = _labels(found, "", periods)
    for trend in trends:
        of = {"service": trend.service, "version": trend.version or text.NONE}
        for each in trend.slices if periods else (trend.whole(),):
            known = {**of, "from": times.shown(each.start), "": trend.subject.name}
            yield trend, each, tuple(known[column] for column in columns)


def _bars(found: Trends, trend: Trend, figure: Figure) -> str:
    """Return a bar for each period; blank where there is no data."""
    values = {each.start: figure(each) for each in trend.slices}
    return bars([values.get(start) for start in found.starts()])


def _lines(found: Trends, trends: Sequence[Trend], periods: bool) -> Iterator[str]:
    """Yield the bars of p95 for each row: of the trend's periods, or of one of them."""
    for trend in trends:
        if periods:
            yield from bars([milliseconds(each, 95) for each in trend.slices])
        else:
            yield _bars(found, trend, lambda of: milliseconds(of, 95))
