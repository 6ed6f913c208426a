"""Percentiles as they are shown to people.

The document has the exact formula's result, which with few calls lies beyond the longest call. A
table shows the longest call then, since its readers do not expect a latency that no call had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from metertap import text
from metertap.tables.document import Latencies, Operation, Session, Tool
from metertap.tables.table import Table

Which = Literal["p50", "p95", "p99"]
PERCENTILES: tuple[Which, ...] = ("p50", "p95", "p99")
FEWEST = {"p50": 2, "p95": 19, "p99": 99}
"""The number of calls below which a percentile lies beyond the longest call."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile in milliseconds; None is no data."""

    milliseconds: float | None
    is_about: bool
    """Whether it is an estimate, or limited to the longest call."""

    def text(self) -> str:
        """Return the percentile as text, with its unit."""
        return self.in_column().strip()

    def in_column(self) -> str:
        """Return the percentile as text with a unit of two characters, for a column of them."""
        mark = text.ABOUT if self.is_about and self.milliseconds is not None else ""
        return mark + text.latency(self.milliseconds)


def percentile(tool: Tool, which: Which) -> Percentile:
    """Return one percentile of a tool's calls, at most its longest call."""
    is_about = tool["method"] == "estimate" or which in tool["extrapolated"]
    return _bounded(_value(tool, which), tool["max_latency_ms"], is_about)


def percentile_of_operation(operation: Operation, which: Which) -> Percentile:
    """Return one percentile of an operation's calls, at most its longest call."""
    value, longest_ms = _value(operation, which), operation["max_latency_ms"]
    return _bounded(value, longest_ms, which in operation["extrapolated"])


def percentile_of_sessions(session: Session, which: Which) -> Percentile:
    """Return one percentile of the durations of sessions, at most the longest session."""
    is_about = which in session["extrapolated"]
    return _bounded(_value(session, which, "duration"), session["max_duration_ms"], is_about)


def percentile_of_part(part: Latencies, longest_ms: float | None, which: Which) -> Percentile:
    """Return one percentile of some of a tool's calls, at most the tool's longest call."""
    return _bounded(_value(part, which), longest_ms, part["calls"] < FEWEST[which])


def explain(tables: Sequence[Table], none: str = text.TWO_CALLS) -> None:
    """Explain the signs of percentiles below the last table that has them; `none` explains `–`."""
    for sign, legend in ((text.ABOUT, text.LEGEND), (text.NONE, none)):
        for table in [table for table in tables if _has(sign, table)][-1:]:
            table.legend = "\n".join(filter(None, (table.legend, legend)))


def _has(sign: str, table: Table) -> bool:
    columns = [column for column, name in enumerate(table.headers) if name in PERCENTILES]
    return any(sign in row[column] for row in table.rows for column in columns)


def _value(figures: Mapping[str, object], which: Which, of: str = "latency") -> float | None:
    return cast("float | None", figures[f"{which}_{of}_ms"])


def _bounded(value: float | None, longest_ms: float | None, is_about: bool) -> Percentile:
    if value is not None and longest_ms is not None and value > longest_ms:
        return Percentile(longest_ms, True)
    return Percentile(value, is_about)
