"""Trends as CSV: a line for each period of each tool, cache and operation."""

from __future__ import annotations

import csv
import sys
from datetime import datetime, timezone

from metertap.history.trends import Trends, figures
from metertap.text import printable

_OF = ("start", "end", "service", "version", "kind", "name", "source")
_FIGURES = (
    *("calls", "failed_calls", "error_rate"),
    *("p50_latency_ms", "p95_latency_ms", "p99_latency_ms", "hits", "misses", "hit_rate"),
)


def write_csv(found: Trends) -> None:
    """Write to stdout. Times are UTC, rates percent; no data is an empty field."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow((*_OF, *_FIGURES))
    for trend in found.trends:
        subject = trend.subject
        for each in trend.slices:
            times = (_utc(each.start), _utc(each.end))
            of = (trend.service, trend.version, subject.kind, subject.name, subject.source)
            values = figures(each)
            out.writerow((*times, *map(_field, of), *(values.get(name) for name in _FIGURES)))


def _utc(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, timezone.utc).isoformat()


def _field(text: str) -> str:
    """Return a name without control characters, which no spreadsheet takes for a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
