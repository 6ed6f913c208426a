"""Changes as a table, as JSON and as Markdown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from metertap.history.comparison import Estimate
from metertap.history.findings import Finding
from metertap.history.regressions import Period, Report
from metertap.history.weights import DefinitionChange
from metertap.tables.table import Table
from metertap.text import ABOUT, NONE, latency, markdown, money, percent, printable, time_span
from metertap.weight import tokens

_NAME, _VERSION = 24, 10
_SHARES = frozenset({"errors", "misses"})
_MOST_NAMED = 5
_HEADERS = ("tool or cache", "what", "before", "after", "change (95 %)", "since", "at", "lost/day")
_RIGHT = frozenset({"before", "after", "change (95 %)", "lost/day"})


def as_table(found: Report) -> Table:
    """Make a table of at most 100 columns."""
    table = Table(_title(found), _HEADERS if found.findings else ("",), right=_RIGHT)
    for number, item in enumerate(found.findings):
        table.rows.append(_cells(item))
        table.styles[number] = "red" if item.is_worse else "green"
    table.legend = _summary(found)
    return table


def as_markdown(found: Report) -> str:
    """Make the text of a comment on a pull request."""
    mark = ":x:" if found.worse else ":white_check_mark:" if found.compared else ":grey_question:"
    lines = [f"### {mark} metertap: {markdown(_title(found))}", ""]
    if found.findings:
        lines += ["| " + " | ".join(_HEADERS) + " |", "|" + " --- |" * len(_HEADERS)]
        for item in found.findings:
            lines.append("| " + " | ".join(markdown(cell.strip()) for cell in _cells(item)) + " |")
        lines.append("")
    lines += [markdown(line) + "  " for line in _summary(found).splitlines()]
    return "\n".join(lines) + "\n"


def as_json(found: Report) -> dict[str, Any]:
    """Make a document: times in seconds, shares from 0 to 1, sizes in bytes, costs in USD."""
    return {
        "before": _period(found.question.before),
        "after": _period(found.question.after),
        "worse": found.worse,
        "compared": found.compared,
        "findings": [
            {
                "service": item.service,
                "kind": item.subject.kind,
                "name": item.subject.name,
                "source": item.subject.source,
                "what": item.what,
                "is_worse": item.is_worse,
                "before": item.before,
                "after": item.after,
                "change": item.change.value,
                "change_low": item.change.low,
                "change_high": item.change.high,
                "p_value": item.p_value,
                "since": item.since,
                "version": item.version or None,
                "lost_seconds_a_day": item.lost_seconds_a_day,
            }
            for item in found.findings
        ],
        "definitions": [
            {
                "service": item.service,
                "before_bytes": item.before,
                "after_bytes": item.after,
                "tools": dict(item.by_tool),
            }
            for item in found.definitions
        ],
        "untold": [
            {"service": item.service, "name": item.subject.name, "reason": item.reason}
            for item in found.untold
        ],
    }


def _period(period: Period) -> dict[str, Any]:
    return {"version": period.version, "start": period.start, "end": period.end}


def _title(found: Report) -> str:
    worse = "no regressions" if found.compared else "nothing to compare"
    if found.worse:
        worse = f"{found.worse} of {found.compared} are worse"
    return f"{worse}: {_side(found.question.after)} against {_side(found.question.before)}"


def _side(period: Period) -> str:
    if period.version is not None:
        return period.version
    return f"{_time(period.start)} to {_time(period.end)}"


def _summary(found: Report) -> str:
    lines = [f"{found.compared} tools and caches compared", *map(_definitions, found.definitions)]
    if found.untold:
        names = ", ".join(f"{item.subject.name} ({item.reason})" for item in found.untold[:5])
        more = len(found.untold) - 5
        lines.append(f"not compared: {names}" + (f" and {more} more" if more > 0 else ""))
    return "\n".join(lines)


def _definitions(item: DefinitionChange) -> str:
    """Say how much heavier the tool definitions became for every session, and by which tools."""
    more = tokens.of_definition(item.after) - tokens.of_definition(item.before)
    parts = [f"{printable(name, _NAME)} {size:+}" for name, size in item.by_tool[:_MOST_NAMED]]
    rest = len(item.by_tool) - len(parts)
    return (
        f"definitions of {printable(item.service)}: {ABOUT}{more:+} tokens in every session, "
        f"{item.before} to {item.after} bytes ({', '.join(parts)}"
        + (f" and {rest} more)" if rest > 0 else ")")
    )


def _cells(item: Finding) -> tuple[str, ...]:
    figures = [_figure(item.what, value) for value in (item.before, item.after)]
    lost = item.lost_seconds_a_day
    return (
        printable(item.subject.name, _NAME),
        "p50" if item.what == "latency" else item.what,
        *figures,
        _change(item.change, "pt" if item.what in _SHARES else "%"),
        _time(item.since),
        printable(item.version, _VERSION) or NONE,
        NONE if lost is None else f"{'-' if lost < 0 else ''}{_span(abs(lost))}",
    )


def _figure(what: str, value: float) -> str:
    if what == "cost":
        return money(value)
    if what == "result bytes":
        return f"{value:,.0f}"
    return (f"{percent(value * 100)} %" if what in _SHARES else latency(value * 1000)).strip()


def _span(seconds: float) -> str:
    return latency(seconds * 1000).strip() if seconds < 60 else time_span(seconds)


def _change(change: Estimate, unit: str) -> str:
    value, low, high = (f"{share * 100:+.0f}" for share in (change.value, change.low, change.high))
    return f"{value} {unit} ({low} to {high})"


def _time(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds).strftime("%m-%d %H:%M:%S")
