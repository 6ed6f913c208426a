"""Trends: calls, errors, percentiles and hit rates by period, for tables, files and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from metertap.history.answers import KINDS, Answers, By, HistoryError, Kind, Slice, Subject, Version
from metertap.history.tally import Tally

_MOST_PERIODS = 100_000
"""The most periods of each trend: all are shown, also those without data."""

_LATENCIES = ("p50_latency_ms", "p95_latency_ms", "p99_latency_ms")
_SECTIONS: dict[Kind, str] = {"tool": "tools", "cache": "caches", "operation": "operations"}


@dataclass(frozen=True, slots=True)
class Trend:
    """One subject of one service, and of one version where these are told apart."""

    subject: Subject
    service: str
    version: str
    slices: Sequence[Slice]
    """Its periods, the earliest first, without those that have no data."""

    def whole(self) -> Slice:
        """Return all of its periods as one."""
        total = Tally()
        for each in self.slices:
            total.merge(each)
        first, last = self.slices[0], self.slices[-1]
        of = (self.subject, self.service, self.version, "", first.start, last.end)
        return Slice(*of, *total.parts())


@dataclass(frozen=True, slots=True)
class Trends:
    """A question for trends, times in Unix seconds."""

    since: float
    until: float
    step: float
    trends: Sequence[Trend]
    versions: Sequence[Version]

    def of(self, kind: Kind) -> list[Trend]:
        """Return the trends of one kind, the most used first."""
        return [trend for trend in self.trends if trend.subject.kind == kind]

    def starts(self) -> list[float]:
        """Return the start of each period, also of those without data."""
        count = int((self.until - self.since) // self.step) + 1
        starts = (self.since + self.step * number for number in range(count))
        return [start for start in starts if start < self.until]


def trends(
    answers: Answers,
    *,
    since: float,
    until: float,
    step: float,
    service: str | None = None,
    kinds: Collection[Kind] = KINDS,
    name: str | None = None,
    by: By = "none",
) -> Trends:
    """Read the trends in periods of `step` seconds. Raises HistoryError."""
    found: dict[tuple[Subject, str, str], list[Slice]] = {}
    for each in answers.slices(
        since=since, until=until, step=step, service=service, kinds=kinds, name=name, by=by
    ):
        if not each.subject.is_no_tool or each.calls:
            found.setdefault((each.subject, each.service, each.version), []).append(each)
        step = max(step, each.end - each.start)  # longer if the file keeps nothing so fine
    if (until - since) / step > _MOST_PERIODS:
        raise HistoryError(f"more than {_MOST_PERIODS:,} periods cannot be shown")
    versions = [
        version
        for version in answers.versions(service)
        if version.version and version.last_seen >= since and version.first_seen < until
    ]
    order: dict[str, int] = {}
    for version in versions:
        order.setdefault(version.version, len(order))
    uses: Counter[Subject] = Counter()
    for (subject, _, _), slices in found.items():
        uses[subject] += sum(each.calls + each.hits + each.misses for each in slices)
    made = [Trend(*key, slices) for key, slices in found.items()]
    made.sort(
        key=lambda trend: (
            -uses[trend.subject],
            trend.subject.name,
            trend.service,
            order.get(trend.version, -1),
        )
    )
    return Trends(since // step * step, until, step, made, versions)


def as_json(found: Trends) -> dict[str, Any]:
    """Return the same as a document; latencies in milliseconds, rates in percent, times in Unix
    seconds. No data is None."""
    document: dict[str, Any] = {
        "since": found.since,
        "until": found.until,
        "step_seconds": found.step,
        "versions": [
            {
                "service": version.service,
                "version": version.version,
                "first_seen": version.first_seen,
                "last_seen": version.last_seen,
            }
            for version in found.versions
        ],
    }
    for kind, section in _SECTIONS.items():
        document[section] = [
            {
                "name": trend.subject.name,
                "source": trend.subject.source,
                "service": trend.service,
                "version": trend.version or None,
                **figures(trend.whole()),
                "periods": [
                    {"start": each.start, "end": each.end, **figures(each)} for each in trend.slices
                ],
            }
            for trend in found.of(kind)
        ]
    return document


def figures(of: Slice) -> dict[str, Any]:
    """Return the figures of a period: lookups of a cache, calls of anything else."""
    if of.subject.kind == "cache":
        return {"hits": of.hits, "misses": of.misses, "hit_rate": percent(of.hit_rate), **of.extra}
    return {
        "calls": of.calls,
        "failed_calls": of.failed,
        "error_rate": percent(of.error_rate),
        **dict(zip(_LATENCIES, percentiles(of, 50, 95, 99), strict=True)),
        "error_types": of.error_types,
        **of.extra,
    }


def milliseconds(of: Slice, percentile: int) -> float | None:
    """Return a percentile of a period's latencies, by nearest rank."""
    return percentiles(of, percentile)[0]


def percentiles(of: Slice, *percents: int) -> list[float | None]:
    """Return percentiles of a period's latencies in milliseconds, by nearest rank."""
    if of.latency is None:
        return [None] * len(percents)
    found = of.latency.quantiles(*[percent / 100 for percent in percents])
    return [None if seconds is None else seconds * 1000 for seconds in found]


def percent(share: float | None) -> float | None:
    """Return a share (0 to 1) in percent."""
    return None if share is None else share * 100
