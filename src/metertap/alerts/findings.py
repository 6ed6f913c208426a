"""What is found where a figure is compared with a threshold, and what is said when it is over."""

from __future__ import annotations

from dataclasses import dataclass, replace

from metertap import text
from metertap.alerts.counters import FAILED, FINISHED, HITS, MISSES
from metertap.alerts.increase import Counts
from metertap.recording.window import percentiles


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that is past its threshold, or (`is_past` false) not far enough from it."""

    name: str
    severity: str
    labels: tuple[tuple[str, str], ...]
    for_seconds: float
    value: float | None
    """None only of what is over: there is no figure now."""
    threshold: float
    unit: str
    summary: str
    is_past: bool = True

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What makes it the same alert the next time."""
        return self.name, self.labels

    def over(self, value: float | None = None, summary: str | None = None) -> Finding:
        """The same, which holds no more: with what is so instead, where that is known."""
        told = summary or f"this holds no more: {self.summary}"
        return replace(self, value=value, summary=told, is_past=False)


def p95(samples: list[float]) -> float | None:
    """Sorts `samples`. Never beyond the longest: nobody is alarmed by a latency that no call had.

    None with fewer than two.
    """
    samples.sort()
    found = percentiles(samples).p95
    return None if found is None else min(found, samples[-1])


def no_longer_failing(
    finding: Finding, name: str, counts: Counts, span: float, minimum: int
) -> Finding:
    """Of the rate of failures of the tool `name`."""
    value = _share(counts)
    if value is None or counts[FINISHED] < minimum:
        return finding.over(value, _too_few(name, "still fails", counts, span))
    calls = f"{text.share(value / 100)} of {counts[FINISHED]} calls"
    told = f"{name} no longer fails too often: {calls} in {text.time_span(span)}"
    return finding.over(value, told)


def no_longer_slow(
    finding: Finding, name: str, counts: Counts, samples: list[float], span: float, minimum: int
) -> Finding:
    """Of the latency of the tool `name`."""
    value = p95(samples)
    if value is None or counts[FINISHED] < minimum:
        return finding.over(value, _too_few(name, "is still slow", counts, span))
    calls = f"95 % of {len(samples)} calls in {text.time_span(span)}"
    took = text.seconds(value / 1000)
    return finding.over(value, f"{name} is no longer slow: {calls} took up to {took}")


def no_longer_burning(
    finding: Finding,
    name: str,
    long: tuple[Counts, float],
    short: tuple[Counts, float],
    minimum: int,
) -> Finding:
    """Of the error budget of the tool `name`: the counts and the span of both windows."""
    counts, span = long
    value, latest = _share(counts), _share(short[0])
    if value is None or counts[FINISHED] < minimum:
        told = _too_few(name, "still spends its error budget too fast", counts, span)
        return finding.over(value, told)
    told = f"{name} no longer spends its error budget too fast: {text.share(value / 100)} of "
    told += f"{counts[FINISHED]} calls in {text.time_span(span)} failed, "
    of = f"{short[0][FINISHED]} in {text.time_span(short[1])}"
    told += f"and {text.share(latest / 100)} of {of}" if latest is not None else f"of {of}"
    return finding.over(value, told)


def no_longer_missing(
    finding: Finding, name: str, counts: Counts, span: float, minimum: int
) -> Finding:
    """Of the hit rate of the cache `name`."""
    lookups = counts[HITS] + counts[MISSES]
    value = 100 * counts[HITS] / lookups if lookups else None
    during = text.time_span(span)
    if value is None or lookups < minimum:
        asked = _number(lookups, "lookup")
        told = f"{name}: too few lookups to tell whether it helps, {asked} in {during}"
        return finding.over(value, told)
    hit = f"{text.share(value / 100)} of {lookups} lookups"
    return finding.over(value, f"{name} helps: {hit} in {during} hit")


def _share(counts: Counts) -> float | None:
    """Per cent of calls that failed."""
    return 100 * counts[FAILED] / counts[FINISHED] if counts[FINISHED] else None


def _too_few(name: str, what: str, counts: Counts, span: float) -> str:
    calls = _number(counts[FINISHED], "call")
    return f"{name}: too few calls to tell whether it {what}, {calls} in {text.time_span(span)}"


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
