"""Answers from an engine that speaks PromQL, such as Prometheus or VictoriaMetrics.

Scraped processes have their version in `target_info`; for those that export OTLP, some engines
write it on every series. Latencies come from native histograms, VictoriaMetrics' ranges, or classic
buckets, in which calls are assumed to be spread evenly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import NamedTuple

from metertap import catalogue, promql
from metertap.history import buckets
from metertap.history.answers import KINDS, By, HistoryError, Kind, Slice, Subject, Version
from metertap.history.engine_costs import METRICS, costs
from metertap.history.engine_sums import Held, Sums
from metertap.history.promql_api import NO_PROMQL, Api, Ask, Point
from metertap.promql import quoted, selector

MOST_PERIODS = 10_000
"""The most periods: Prometheus returns at most 11,000 points of a series."""
_MOST_SLICES = 100_000
"""The most figures of an answer: each takes some kilobytes."""
_MOST_BUCKETS = 2_000_000
"""The most buckets of an answer: they take half a gigabyte."""
_FEWER = "ask for fewer periods"
_REACH_SECONDS = 31 * 86_400
"""The time before now in which versions are looked for, in seconds."""
_FINE_PERIODS = 400
"""The most parts into which periods are divided for queries."""
_LOOK_SECONDS = 3600
_SAMPLES = 4
"""The fewest samples in a period: the increase before the first one is lost."""
_SERVICE, _VERSION, _INSTANCE = "service_name", "service_version", "service_instance_id"
_INFO = "target_info"

Labels = Mapping[str, str]


class _Source(NamedTuple):
    """A histogram of one kind of subject: the labels that name the subject, and further ones."""

    kind: Kind
    source: str
    metric: str
    names: tuple[str, ...]
    more: tuple[str, ...]


_OPERATION = (promql.METHOD, promql.TOOL, promql.label(catalogue.PROMPT_NAME))
_SOURCES = (
    _Source("tool", "", promql.DURATION, (promql.TOOL,), (promql.OUTCOME, promql.ERROR_TYPE)),
    *(
        _Source("operation", metric.side, promql.seconds(metric), _OPERATION, (promql.ERROR_TYPE,))
        for metric in (catalogue.SERVER_DURATION, catalogue.CLIENT_DURATION)
    ),
)
_COUNTS = "|".join(
    [promql.CACHE_REQUESTS, promql.COST, *(f"{source.metric}(_count)?" for source in _SOURCES)]
)
_OF_MODELS = "|".join(f"{metric}(_count)?" for metric in METRICS)


class EngineAnswers:
    """Answers by PromQL over the engine's HTTP API. Raises HistoryError."""

    def __init__(self, ask: Ask, now: Callable[[], float] = time.time) -> None:
        """Use the engine behind `ask`. Raises HistoryError if it has no metric of metertap."""
        self._api = Api(ask)
        self._now = now
        found = self._api.instant(
            f'group by (__name__) (last_over_time({{__name__=~"{_COUNTS}|{_OF_MODELS}|{_INFO}"}}'
            f"[{_REACH_SECONDS}s]))",
            now(),
        )
        self._metrics = {labels.get("__name__", "") for labels, _ in found}
        if not self._metrics - {_INFO, ""}:
            raise HistoryError("the engine has no metrics of metertap's")
        versioned = selector("", f'__name__=~"{_COUNTS}"', f'{_VERSION}!=""')
        self._is_joined = _INFO in self._metrics and not self._api.instant(
            f"group(last_over_time({versioned}[{_REACH_SECONDS}s]))", now()
        )

    def close(self) -> None:
        """Hold nothing open."""

    def services(self) -> list[str]:
        """List the services by name."""
        return sorted({version.service for version in self.versions()})

    def versions(self, service: str | None = None) -> list[Version]:
        """List the versions of one service, or of all, first seen first."""
        self._api.start()
        end = math.ceil(self._now() / _LOOK_SECONDS) * _LOOK_SECONDS
        by = f"job, {_SERVICE}, {_VERSION}"
        query = f"group by ({by}) (last_over_time({self._info()}[{_LOOK_SECONDS}s]))"
        made = []
        for labels, points in self._api.range(query, end - _REACH_SECONDS, end, _LOOK_SECONDS):
            if service in (None, _service(labels)):
                first = self._seen("min", labels, points[0].at)
                last = self._seen("max", labels, points[-1].at)
                made.append(Version(_service(labels), labels.get(_VERSION, ""), first, last))
        return sorted(made, key=lambda version: version.first_seen)

    def slices(
        self,
        *,
        since: float,
        until: float,
        step: float,
        service: str | None = None,
        kinds: Collection[Kind] = KINDS,
        name: str | None = None,
        by: By = "none",
    ) -> Iterator[Slice]:
        """Yield the measurements, as `Answers` describes."""
        self._api.start()
        is_whole = step >= until - since
        least = self._seconds_between_samples(since, until) * _SAMPLES
        length = math.ceil(until - since) if is_whole else step * max(1, math.ceil(least / step))
        first = since if is_whole else since // length * length
        periods = math.ceil((until - first) / length)
        if periods > MOST_PERIODS:
            raise HistoryError(f"{periods} periods are more than an engine returns")
        parts = _parts(length, least, _FINE_PERIODS // periods)
        span = _Span(first, first + periods * length, length / parts)
        found: dict[tuple[float, str, str, str, Subject], Sums] = {}

        def sums(subject: Subject, labels: Labels, at: float) -> Sums:
            start = first + (at - first) // length * length
            version = labels.get(_VERSION, "")
            instance = labels.get(_INSTANCE) or labels.get("instance", "")
            key = (start, _service(labels), version, instance, subject)
            if len(found) >= _MOST_SLICES and key not in found:
                raise HistoryError(f"more than {_MOST_SLICES} figures: {_FEWER}")
            end = until if is_whole else start + length
            return found.setdefault(key, Sums(Slice(subject, *key[1:4], start, end)))

        if "cache" in kinds:
            for subject, labels, at, lookups in self._lookups(span, name, by):
                sums(subject, labels, at).add_lookups(labels, lookups)
        kept = 0
        for source in _SOURCES:
            if source.kind in kinds:
                for subject, labels, at, held in self._calls(source, span, name, by):
                    kept += sums(subject, labels, at).add_calls(labels, held)
                    if kept > _MOST_BUCKETS:
                        raise HistoryError(f"more than {_MOST_BUCKETS} buckets: {_FEWER}")
        if "tool" in kinds or "model" in kinds:
            for subject, labels, at, more in costs(partial(self._grown, span, by)):
                if subject.kind in kinds and name in (None, subject.name):
                    sums(subject, labels, at).add_costs(more)
        self._api.start()
        for each in sorted(found.values(), key=lambda each: each.piece.start):
            self._api.check()
            piece = each.rounded()
            has_any = piece.calls or piece.hits or piece.misses or any(piece.extra.values())
            if has_any and service in (None, piece.service):
                yield piece

    def _lookups(
        self, span: _Span, name: str | None, by: By
    ) -> Iterator[tuple[Subject, Labels, float, float]]:
        only = [] if name is None else [f"{promql.CACHE}={quoted(name)}"]
        told = (promql.CACHE, promql.SYSTEM, promql.LOOKUP)
        query = self._increase(selector(promql.CACHE_REQUESTS, *only), told, by, span)
        for labels, start, point in self._periods(query, span):
            subject = Subject("cache", labels.get(promql.CACHE, ""), labels.get(promql.SYSTEM, ""))
            if point.value:
                yield subject, labels, start, point.value

    def _calls(
        self, source: _Source, span: _Span, name: str | None, by: By
    ) -> Iterator[tuple[Subject, Labels, float, Held]]:
        """Yield the calls of one period that have the same labels: their buckets, and their sum."""
        length = math.ceil(span.end - span.start)
        metrics = f'__name__=~"{source.metric}(_count)?"'
        listed = self._api.instant(
            f"group by ({', '.join(source.names)}) "
            f"(last_over_time({selector('', metrics)}[{length}s]))",
            span.end,
        )
        for names, _ in listed:
            words = [names.get(label, "") for label in source.names]
            subject = Subject(source.kind, " ".join(filter(None, words)), source.source)
            if name not in (None, subject.name):
                continue
            pairs = zip(source.names, words, strict=True)
            only = [f"{label}={quoted(word)}" for label, word in pairs]
            # One query for each, since the answer to all at once may be too long.
            told = set()
            if source.metric in self._metrics:
                query = self._increase(selector(source.metric, *only), source.more, by, span)
                for labels, start, point in self._periods(query, span):
                    told.add(start)
                    yield subject, labels, start, Held(buckets.of_native(point.buckets))
            if f"{source.metric}_count" in self._metrics:
                for labels, start, held in self._classic(source, only, by, span):
                    if start not in told:  # both forms exist while one replaces the other
                        yield subject, labels, start, held
            for labels, start, seconds in self._grown(
                span, by, source.metric, "sum", source.more, *only
            ):
                yield subject, labels, start, Held(seconds=seconds)

    def _classic(
        self, source: _Source, only: list[str], by: By, span: _Span
    ) -> Iterator[tuple[Labels, float, Held]]:
        """Yield the buckets of series whose label gives the bound."""
        told = (*source.more, "le", "vmrange")
        query = self._increase(selector(f"{source.metric}_bucket", *only), told, by, span)
        totals: dict[tuple[frozenset[tuple[str, str]], float], dict[str, float]] = {}
        ranges: dict[tuple[frozenset[tuple[str, str]], float], dict[str, float]] = {}
        for labels, start, point in self._periods(query, span):
            rest = frozenset(item for item in labels.items() if item[0] not in {"le", "vmrange"})
            if "vmrange" in labels:
                ranges.setdefault((rest, start), {})[labels["vmrange"]] = point.value
            elif "le" in labels:
                totals.setdefault((rest, start), {})[labels["le"]] = point.value
        try:
            for (rest, start), by_bound in totals.items():
                yield dict(rest), start, Held(buckets.of_classic(by_bound))
            for (rest, start), by_range in ranges.items():
                yield dict(rest), start, Held(buckets.of_ranges(by_range))
        except ValueError:
            raise HistoryError(NO_PROMQL) from None

    def _grown(
        self, span: _Span, by: By, metric: str, part: str, told: tuple[str, ...], *only: str
    ) -> Iterator[tuple[Labels, float, float]]:
        """Yield the growth of a counter in each period, or of a part of a histogram."""
        seen, queries = set(), []
        if part and metric in self._metrics:
            series = selector(metric, *only)
            queries.append(f"histogram_{part}({self._increase(series, told, by, span)})")
        if (f"{metric}_count" if part else metric) in self._metrics:
            series = selector(f"{metric}_{part}" if part else metric, *only)
            queries.append(self._increase(series, told, by, span))
        for query in queries:
            for labels, start, point in self._periods(query, span):
                key = frozenset(labels.items()), start
                if key not in seen:  # both forms exist while one replaces the other
                    seen.add(key)
                    yield labels, start, point.value

    def _periods(self, query: str, span: _Span) -> Iterator[tuple[Labels, float, Point]]:
        """Yield the point of each series in each period, and when that period started."""
        for labels, points in self._api.range(query, span.start + span.step, span.end, span.step):
            for point in points:
                yield labels, point.at - span.step, point

    def _increase(self, series: str, told: tuple[str, ...], by: By, span: _Span) -> str:
        """Return the query for the increase of series in each period, by the separated labels."""
        length = math.ceil(span.step)
        labels = ["job", _SERVICE, *told]
        labels += [_VERSION] if by != "none" else []
        labels += ["instance", _INSTANCE] if by == "instance" else []
        grown = f"increase({series}[{length}s])"
        if self._is_joined:
            # A process may have another version now, or be gone: its newest one counts.
            newest = f"timestamp({_INFO})[{length}s:{max(1, length // 60)}s]"
            newest = f"topk by (job, instance) (1, max_over_time({newest})) * 0 + 1"
            grown += f" * on (job, instance) group_left ({_SERVICE}, {_VERSION}) ({newest})"
        return f"sum by ({', '.join(labels)}) ({grown})"

    def _info(self, *matchers: str) -> str:
        """Select the series that tell when each version ran."""
        if self._is_joined:
            return selector(_INFO, *matchers)
        return selector("", f'__name__=~"{_COUNTS}"', *matchers)

    def _seen(self, which: str, labels: Labels, at: float) -> float:
        """Return the first or last sample of a version in the time before `at`."""
        names = ("job", _SERVICE, _VERSION)
        series = self._info(*(f"{name}={quoted(labels.get(name, ''))}" for name in names))
        times = f"timestamp({series})[{_LOOK_SECONDS}s:10s]"
        found = self._api.instant(f"{which}({which}_over_time({times}))", at)
        return found[0][1].value if found else at

    def _seconds_between_samples(self, since: float, until: float) -> float:
        window = max(1, math.ceil(min(300.0, (until - since) / 4)))
        often = f"count_over_time({self._info()}[{window}s])"
        span = math.ceil(until - since)
        often = f"max(max_over_time({often}[{span}s:{max(1, span // 20)}s]))"
        found = self._api.instant(often, until)
        return window / found[0][1].value if found and found[0][1].value >= 1 else 0.0


class _Span(NamedTuple):
    """Periods of `step` seconds."""

    start: float
    end: float
    step: float


def _parts(length: float, least: float, most: int) -> int:
    """Return the number of equal parts, of whole seconds, into which a period is divided.

    Parts are at least so long: a process whose version changed in a part counts as the new one for
    all of it.
    """
    most = max(1, min(most, int(length / max(1.0, least))))
    return next(parts for parts in range(most, 0, -1) if parts == 1 or length % parts == 0)


def _service(labels: Labels) -> str:
    return labels.get(_SERVICE) or labels.get("job", "")
