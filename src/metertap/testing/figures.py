"""Figures of one tool or one cache, for assertions: times in seconds, rates from 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping

from metertap.parsing import did_you_mean, nearest
from metertap.tables.document import Cache, Document, Tool
from metertap.tables.figures import tables
from metertap.tables.percentiles import Which, percentile
from metertap.tables.table import plain


class NoData(AssertionError):
    """A figure that does not exist: there were too few calls, or none under that name."""


class _OfTable:
    """Mixin of figures that keep the table they belong to."""

    table = ""

    def explained(self, comparison: str) -> list[str]:
        """Return the lines that pytest shows when a comparison fails."""
        return [comparison, "", *self.table.splitlines()]


class Figure(_OfTable, float):
    """A number that keeps the table it belongs to."""


class Counts(_OfTable, dict[str, int]):
    """Numbers by name that keep the table they belong to."""


class Calls:
    """The calls of one tool since the test began."""

    def __init__(self, name: str, document: Document) -> None:
        self._name = name
        self._document = document
        self._tool: Tool | None = document["tool_metrics"].get(name)

    def __repr__(self) -> str:
        return f"<{self.count} calls of {self._name!r}>"

    @property
    def count(self) -> int:
        """The number of calls of any outcome."""
        return 0 if self._tool is None else self._tool["total_calls"]

    @property
    def failed(self) -> int:
        """The number of failed calls: an error of the tool, an exception or a timeout."""
        return 0 if self._tool is None else self._tool["failed_calls"]

    @property
    def outcomes(self) -> Counts:
        """The number of calls by outcome, such as `{"ok": 3, "exception": 1}`; no zeros."""
        found = {} if self._tool is None else self._tool["outcomes"] or {}
        return self._counts({outcome: count for outcome, count in found.items() if count})

    @property
    def errors(self) -> Counts:
        """The number of calls by type of error, such as `{"ValueError": 1}`."""
        return self._counts({} if self._tool is None else self._tool["error_types"])

    @property
    def p50(self) -> Figure:
        """The median latency. Raises NoData below 2 calls, as all percentiles do."""
        return self._percentile("p50")

    @property
    def p95(self) -> Figure:
        """The 95th percentile of the latency, at most the longest call."""
        return self._percentile("p95")

    @property
    def p99(self) -> Figure:
        """The 99th percentile of the latency, at most the longest call."""
        return self._percentile("p99")

    @property
    def longest(self) -> Figure:
        """The latency of the longest call that succeeded or failed. Raises NoData without any."""
        return self._seconds("longest call", self._tool and self._tool["max_latency_ms"])

    @property
    def mean(self) -> Figure:
        """The mean latency of calls that succeeded or failed. Raises NoData without any."""
        return self._seconds("mean", self._tool and self._tool["avg_latency_ms"])

    def _percentile(self, which: Which) -> Figure:
        found = None if self._tool is None else percentile(self._tool, which).milliseconds
        return self._seconds(which, found)

    def _seconds(self, what: str, milliseconds: float | None) -> Figure:
        if milliseconds is None:
            calls = "1 call" if self.count == 1 else f"{self.count} calls"
            reason = f"{self._name!r} has no {what}: it has {calls}"
            raise NoData(_no_data(reason, self._name, self._document, "tool_metrics"))
        return _figure(milliseconds / 1000, self._document)

    def _counts(self, found: Mapping[str, int]) -> Counts:
        made = Counts(found)
        made.table = text_of(self._document)
        return made


class Lookups:
    """The lookups in one cache since the test began."""

    def __init__(self, name: str, document: Document) -> None:
        self._name = name
        self._document = document
        self._cache: Cache | None = document["cache_metrics"].get(name)

    def __repr__(self) -> str:
        return f"<{self.count} lookups in {self._name!r}>"

    @property
    def count(self) -> int:
        """The number of lookups."""
        return 0 if self._cache is None else self._cache["total_requests"]

    @property
    def hits(self) -> int:
        """The number of lookups that found their entry."""
        return 0 if self._cache is None else self._cache["hits"]

    @property
    def misses(self) -> int:
        """The number of lookups that did not find their entry."""
        return 0 if self._cache is None else self._cache["misses"]

    @property
    def hit_rate(self) -> Figure:
        """The share of hits, from 0 to 1. Raises NoData where there was no lookup."""
        rate = None if self._cache is None else self._cache["hit_rate"]
        if rate is None:
            reason = f"{self._name!r} has no hit rate: it has no lookups"
            raise NoData(_no_data(reason, self._name, self._document, "cache_metrics"))
        return _figure(rate / 100, self._document)


def text_of(document: Document) -> str:
    """Return the document's tables as text, without what was not used."""
    tools, caches = document["tool_metrics"], document["cache_metrics"]
    used: Document = {
        **document,
        "tool_metrics": {name: tool for name, tool in tools.items() if tool["total_calls"]},
        "cache_metrics": {name: one for name, one in caches.items() if one["total_requests"]},
    }
    shown = [table for table in tables(used) if table.rows]
    for table in shown:
        table.title = ""  # the program is pytest
    return "\n".join(map(plain, shown)).rstrip("\n") or "no tool was called, no cache was asked"


def _figure(value: float, document: Document) -> Figure:
    made = Figure(value)
    made.table = text_of(document)
    return made


def _no_data(reason: str, name: str, document: Document, key: str) -> str:
    names = document["tool_metrics"] if key == "tool_metrics" else document["cache_metrics"]
    near = None if name in names else nearest(name, names)
    return f"{reason}{did_you_mean(near)}\n\n{text_of(document)}"
