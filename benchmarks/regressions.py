"""`python -m benchmarks.regressions`: how sure `metertap regressions` is of what it tells.

Synthetic histories, of which it is known what changed: shifts of the whole distribution, shifts of
the slowest tenth alone, and none at all among daily cycles, outliers, bad minutes and drifting
traffic. What is told is how often a change is found, how often its beginning is found within one
interval, and how often there is an alarm where nothing changed. The thresholds were chosen with
other seeds than those that are used here.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Collection, Iterator

import numpy as np

from metertap.history.answers import KINDS, By, Kind, Slice, Subject, Version
from metertap.history.comparison import Array
from metertap.history.regressions import Period, Question, Report, report
from metertap.history.sketch import Sketch

SEED = 694_814_511
"""Of the evaluation; the thresholds were tuned with the seeds 1 to 9."""
FOUND, FALSE_ALARMS, SINCE = 0.95, 0.01, 0.9
"""What is promised: changes found, alarms without one, beginnings within one interval."""
INTERVAL, HOUR, DAY = 10.0, 3600.0, 86_400.0
_SEARCH = Subject("tool", "search", "mcp")
_START = 1_750_000_000 // DAY * DAY


class Known:
    """Answers of slices that are known."""

    def __init__(self, slices: list[Slice]) -> None:
        self._slices = slices

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
        yield from (item for item in self._slices if since <= item.start < until)

    def services(self) -> list[str]:
        return [self._slices[0].service]

    def versions(self, service: str | None = None) -> list[Version]:
        names = dict.fromkeys(item.version for item in self._slices)
        starts = {
            name: [item.start for item in self._slices if item.version == name] for name in names
        }
        return [Version("shop", name, min(of), max(of)) for name, of in starts.items()]

    def close(self) -> None:
        """Hold nothing open."""


def slice_of(start: float, length: float, version: str, log_seconds: Array, failed: int) -> Slice:
    """Make the slice of calls with these logarithms of latencies."""
    sketch = Sketch()
    buckets, counts = np.unique(np.floor(log_seconds * (64 / math.log(2))), return_counts=True)
    for bucket, count in zip(buckets, counts, strict=True):
        sketch.add_many(2.0 ** ((bucket + 0.5) / 64), int(count))
    calls = {"ok": len(log_seconds) - failed, "exception": failed}
    return Slice(_SEARCH, "shop", version, "", start, start + length, calls, {}, sketch)


def changed(
    chance: np.random.Generator,
    sigma: float,
    shift: float,
    *,
    slowest_only: bool = False,
    intervals: int = 10,
    calls: int = 500,
) -> Report:
    """Compare two versions of `calls` calls each, of which the second is slower by `shift`."""
    pieces = []
    for side in range(2):
        which = chance.integers(0, intervals, calls)
        logs = chance.normal(math.log(0.05), sigma, calls)
        if side:
            slow = math.log(0.05) + 1.2816 * sigma if slowest_only else -math.inf
            logs = np.where(logs > slow, logs + math.log1p(shift), logs)
        for interval in range(intervals):
            start = _START + (side * intervals + interval) * INTERVAL
            taken = logs[which == interval]
            if len(taken):
                failed = int(chance.binomial(len(taken), 0.02))
                pieces.append(slice_of(start, INTERVAL, f"{side + 1}", taken, failed))
    middle = _START + intervals * INTERVAL
    question = Question(
        Period(_START, middle, "1"), Period(middle, middle + intervals * INTERVAL, "2")
    )
    return report(Known(pieces), question)


def unchanged(chance: np.random.Generator, *, versions: bool) -> Report:
    """Compare eight days in which nothing changed: the last with the others, or two versions."""
    hours = np.arange(8 * 24)
    sigma = chance.uniform(0.3, 1.5)
    cycle = np.sin(2 * np.pi * (hours / 24 + chance.random()))
    drift = chance.uniform(-1.1, 1.1) * hours / len(hours)
    calls_an_hour = np.exp(chance.uniform(math.log(12), math.log(800)))
    sizes = chance.poisson(calls_an_hour * np.exp(chance.uniform(0, 1.5) * cycle + drift))
    # Latencies follow the load, and no hour is like another.
    level = math.log(0.05) + chance.uniform(0, 0.3) * np.roll(cycle, chance.integers(0, 3))
    level = level + chance.normal(0, chance.uniform(0, 0.1), len(hours))
    bad_hours = chance.random(len(hours)) < chance.uniform(0, 0.03)
    level = level + bad_hours * math.log(chance.uniform(1.5, 5))
    failing = chance.uniform(0, 0.05)
    cut = int(chance.integers(24, 7 * 24)) if versions else 7 * 24
    pieces = []
    for hour, size in zip(hours, sizes, strict=True):
        logs = chance.normal(level[hour], sigma, size)
        outliers = chance.random(size) < 0.01
        logs = logs + outliers * chance.uniform(1.5, 4, size)
        if size:
            version = "2" if versions and hour >= cut else "1"
            failed = int(chance.binomial(size, failing))
            pieces.append(slice_of(_START + hour * HOUR, HOUR, version, logs, failed))
    change, end = _START + cut * HOUR, _START + len(hours) * HOUR
    names = ("1", "2") if versions else (None, None)
    question = Question(Period(_START, change, names[0]), Period(change, end, names[1]))
    return report(Known(pieces), question)


def power(sigma: float, shift: float, times: int, *, slowest_only: bool = False) -> float:
    """Return how often a slower version is told to be slower."""
    chance = np.random.default_rng((SEED, int(sigma * 100), int(shift * 100)))
    return (
        sum(
            bool(changed(chance, sigma, shift, slowest_only=slowest_only).regressions)
            for _ in range(times)
        )
        / times
    )


def beginnings(sigma: float, times: int) -> float:
    """Return how often the beginning of a 20 % shift is found within one interval."""
    chance = np.random.default_rng((SEED, 1, int(sigma * 100)))
    near = told = 0
    for _ in range(times):
        found = [item for item in changed(chance, sigma, 0.2).regressions if item.what == "latency"]
        told += len(found)
        near += sum(abs(item.since - (_START + 10 * INTERVAL)) <= INTERVAL for item in found)
    return near / max(told, 1)


def false_alarms(times: int, *, versions: bool) -> float:
    """Return how often something is told to be worse where nothing changed."""
    chance = np.random.default_rng((SEED, 2, versions))
    return sum(bool(unchanged(chance, versions=versions).regressions) for _ in range(times)) / times


def main() -> int:
    """Print the figures; return 1 if one of those that are promised is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regressions", description=__doc__)
    parser.add_argument("--times", type=int, default=1000, help="histories of each kind (1000)")
    times: int = parser.parse_args().times
    missed = 0

    def told(
        text: str, figure: float, limit: float | None = None, *, at_most: bool = False
    ) -> None:
        nonlocal missed
        met = limit is None or (figure <= limit if at_most else figure >= limit)
        missed += not met
        sign = "≤" if at_most else "≥"
        promised = "" if limit is None else f"  {sign} {limit:.0%}{'' if met else '  MISSED'}"
        print(f"{text:<66} {figure:6.1%}{promised}", flush=True)

    for sigma in (0.3, 0.5, 0.7, 1.0, 1.5):
        limit = FOUND if sigma <= 0.5 else None
        told(f"found: +20 % of all, σ {sigma}, 500 calls a side", power(sigma, 0.2, times), limit)
    for sigma in (0.3, 0.5, 1.0):
        for shift in (0.2, 0.5, 1.0):
            found = power(sigma, shift, times, slowest_only=True)
            told(f"found: +{shift:.0%} of the slowest tenth, σ {sigma}, 500 calls a side", found)
    for sigma in (0.3, 0.5):
        told(f"since when, within one interval: +20 %, σ {sigma}", beginnings(sigma, times), SINCE)
    for sigma in (0.5, 1.5):
        alarms = power(sigma, 0.0, times)
        told(f"false alarms: 500 calls a side, σ {sigma}", alarms, FALSE_ALARMS, at_most=True)
    for versions, name in ((False, "a day against seven"), (True, "two versions in eight days")):
        alarms = false_alarms(times, versions=versions)
        told(f"false alarms: {name}, nothing changed", alarms, FALSE_ALARMS, at_most=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
