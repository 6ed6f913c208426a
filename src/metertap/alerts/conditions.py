"""The conditions: what is past a threshold at one moment, and what is still close to one.

Alerts have the names, severities and meanings that `metertap rules` gives to Prometheus. What needs
days of data (slower than last week, burn rates over six hours and more) is left to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from metertap import text
from metertap.alerts.burn_windows import WINDOWS
from metertap.alerts.counters import (
    CALLS,
    FAILED,
    FINISHED,
    HITS,
    MISSES,
    SAMPLED,
    CacheKey,
    Counters,
    ToolKey,
)
from metertap.alerts.findings import (
    Finding,
    no_longer_burning,
    no_longer_failing,
    no_longer_missing,
    no_longer_slow,
    p95,
)
from metertap.alerts.increase import Counts, Growing, Window
from metertap.alerts.thresholds import WARNING, Thresholds, ToolThresholds

MARGIN = 0.1
"""Who fires goes on firing until the value is better than the threshold by so much of it."""
FAULTS_SECONDS = 900
"""How long a fault of metertap's own is told of."""
_BURN = WINDOWS[0]
"""The one pair of windows that fits into a process's memory."""

_BURN_LABELS = (
    ("long_window", text.prometheus_duration(_BURN.long)),
    ("short_window", text.prometheus_duration(_BURN.short)),
)

PERCENT, MILLISECONDS, SECONDS, COUNT = "%", "ms", "s", "count"


class Conditions:
    """Compares the counters of one process with thresholds, moment after moment."""

    def __init__(
        self, thresholds: Thresholds, every: float, time: float, counters: Counters
    ) -> None:
        self._thresholds = thresholds
        self._tools: Growing[ToolKey] = Growing()
        self._caches: Growing[CacheKey] = Growing()
        self._faults: Growing[str] = Growing()
        tools, caches = self._tools.of(counters.tools), self._caches.of(counters.caches)
        everyone = (thresholds.tool, *thresholds.tools.values())
        lengths = {thresholds.window_seconds}
        if any(tool.success_objective is not None for tool in everyone):
            lengths |= {_BURN.short, _BURN.long}
        self._tool_windows = {
            seconds: Window(float(seconds), every, time, tools) for seconds in sorted(lengths)
        }
        self._cache_window = Window(float(thresholds.window_seconds), every, time, caches)
        # What went wrong before anybody watched is told of as well.
        self._fault_window: Window[str] = Window(float(FAULTS_SECONDS), every, time, {})
        calls = _calls_by_name(tools)
        self._called: dict[str, tuple[int, float]] = {
            name: (calls.get(name, 0), time)
            for name, tool in thresholds.tools.items()
            if tool.no_traffic_seconds is not None
        }

    def at(self, time: float, counters: Counters) -> Iterator[Finding]:
        """What is past or close to a threshold now."""
        tools = self._tools.of(counters.tools)
        for window in self._tool_windows.values():
            window.move(time, tools)
        self._cache_window.move(time, self._caches.of(counters.caches))
        self._fault_window.move(time, self._faults.of(counters.faults))
        yield from self._of_tools(tools, counters)
        yield from self._not_called(time, tools)
        yield from self._of_caches(counters)
        yield from self._of_the_process(counters)

    def over(self, finding: Finding, time: float, counters: Counters) -> Finding:
        """What to say of `finding`, which holds no more, after the look at this very moment."""
        labels = dict(finding.labels)
        if finding.name == "MetertapNoTraffic":
            name = labels["tool"]
            _, since = self._called.get(name, (0, time))
            return finding.over(time - since, f"{name} is called again")
        if "tool" in labels:
            return self._tool_over(finding, labels["tool"], counters)
        if "cache" in labels:
            return self._cache_over(finding, (labels["cache"], labels["cache_system"]))
        if "place" in labels:
            span = text.time_span(self._fault_window.span)
            place = labels["place"]
            return finding.over(0, f"metertap itself has had no new fault at {place} in {span}")
        return finding.over(counters.overflown, "no name is past a limit any more")

    def _tool_over(self, finding: Finding, name: str, counters: Counters) -> Finding:
        minimum = max(1, self._thresholds.of_tool(name).minimum_calls)
        keys = [key for key in counters.tools if key[0] == name]
        if finding.name == "MetertapErrorBudgetBurn":
            windows = self._tool_windows[_BURN.long], self._tool_windows[_BURN.short]
            long, short = (
                (_total(_by_name(keys, window).get(name, [])), window.span) for window in windows
            )
            return no_longer_burning(finding, name, long, short, minimum)
        window = self._tool_windows[self._thresholds.window_seconds]
        parts = _by_name(keys, window).get(name, [])
        counts = _total(parts)
        if finding.name == "MetertapSlowTool":
            samples = [
                sample
                for key, grown in parts
                for sample in counters.newest(key, grown[SAMPLED], -1.0)
            ]
            return no_longer_slow(finding, name, counts, samples, window.span, minimum)
        return no_longer_failing(finding, name, counts, window.span, minimum)

    def _cache_over(self, finding: Finding, key: CacheKey) -> Finding:
        window = self._cache_window
        minimum = max(1, self._thresholds.of_cache(key[0]).minimum_lookups)
        counts = window.increase(key) or (0, 0)
        return no_longer_missing(finding, key[0], counts, window.span, minimum)

    def _of_tools(self, tools: Mapping[ToolKey, Counts], counters: Counters) -> Iterator[Finding]:
        window = self._tool_windows[self._thresholds.window_seconds]
        grown = _by_name(tools, window)
        for name, parts in grown.items():
            limits = self._thresholds.of_tool(name)
            counts = _total(parts)
            if counts[FINISHED] < max(1, limits.minimum_calls):
                continue
            yield from _failing(name, limits, counts, window.span)
            yield from _slow(name, limits, parts, counters, window.span)
        if _BURN.long in self._tool_windows:
            yield from self._burning(tools)

    def _burning(self, tools: Mapping[ToolKey, Counts]) -> Iterator[Finding]:
        long, short = self._tool_windows[_BURN.long], self._tool_windows[_BURN.short]
        for name, parts in _by_name(tools, long).items():
            limits = self._thresholds.of_tool(name)
            counts = _total(parts)
            if (
                limits.success_objective is None
                or counts[FINISHED] < max(1, limits.minimum_calls)
                or not counts[FAILED]
            ):
                continue
            latest = _total(
                [(key, grown) for key, _ in parts if (grown := short.increase(key)) is not None]
            )
            if not latest[FINISHED]:
                continue
            limit = _BURN.factor * (1 - limits.success_objective)
            share = counts[FAILED] / counts[FINISHED]
            worse = min(share, latest[FAILED] / latest[FINISHED])
            if worse > limit * (1 - MARGIN):
                objective = text.share(limits.success_objective)
                yield Finding(
                    "MetertapErrorBudgetBurn",
                    _BURN.severity,
                    (*_BURN_LABELS, ("tool", name)),
                    _BURN.for_seconds,
                    100 * share,
                    100 * limit,
                    PERCENT,
                    f"{name} spends its error budget too fast: {text.share(share)} of "
                    f"{counts[FINISHED]} calls in {text.time_span(long.span)} failed, and it goes "
                    f"on; an objective of {objective} allows {text.share(limit)} for so long",
                    is_past=worse > limit,
                )

    def _not_called(self, time: float, tools: Mapping[ToolKey, Counts]) -> Iterator[Finding]:
        calls = _calls_by_name(tools) if self._called else {}
        for name, (calls_then, since) in self._called.items():
            limits = self._thresholds.of_tool(name)
            if calls.get(name, 0) != calls_then:
                self._called[name] = (calls[name], time)
                continue
            quiet = time - since
            if limits.no_traffic_seconds is not None and quiet >= limits.no_traffic_seconds:
                yield Finding(
                    "MetertapNoTraffic",
                    WARNING,
                    (("tool", name),),
                    limits.for_seconds,
                    quiet,
                    limits.no_traffic_seconds,
                    SECONDS,
                    f"{name} is not called: no call of any outcome in {text.time_span(quiet)}",
                )

    def _of_caches(self, counters: Counters) -> Iterator[Finding]:
        window = self._cache_window
        for key in counters.caches:
            grown = window.increase(key)
            limits = self._thresholds.of_cache(key[0])
            if grown is None or limits.hit_rate is None:
                continue
            lookups = grown[HITS] + grown[MISSES]
            if lookups < max(1, limits.minimum_lookups):
                continue
            share = grown[HITS] / lookups
            if share < limits.hit_rate * (1 + MARGIN):
                yield Finding(
                    "MetertapLowHitRate",
                    WARNING,
                    (("cache", key[0]), ("cache_system", key[1])),
                    limits.for_seconds,
                    100 * share,
                    100 * limits.hit_rate,
                    PERCENT,
                    f"{key[0]} hardly helps: {text.share(share)} of {lookups} lookups in "
                    f"{text.time_span(window.span)} hit, "
                    f"less than {text.share(limits.hit_rate)}",
                    is_past=share < limits.hit_rate,
                )

    def _of_the_process(self, counters: Counters) -> Iterator[Finding]:
        if self._thresholds.overflow and counters.overflown:
            yield Finding(
                "MetertapSeriesOverflow",
                WARNING,
                (),
                self._thresholds.tool.for_seconds,
                counters.overflown,
                0,
                COUNT,
                f"names are past a limit: figures of {counters.overflown} series stand under "
                "_OTHER instead of their own name",
            )
        if not self._thresholds.meter_faults:
            return
        for place in counters.faults:
            grown = self._fault_window.increase(place)
            if grown is not None:
                yield Finding(
                    "MetertapMeterFaults",
                    WARNING,
                    (("place", place),),
                    0,
                    grown[0],
                    0,
                    COUNT,
                    f"metertap itself has faults: {grown[0]} at {place} in "
                    f"{text.time_span(self._fault_window.span)}; the program is not disturbed",
                )


def _failing(name: str, limits: ToolThresholds, counts: Counts, span: float) -> Iterator[Finding]:
    if limits.error_rate is None:
        return
    share = counts[FAILED] / counts[FINISHED]
    if share > limits.error_rate * (1 - MARGIN):
        yield Finding(
            "MetertapHighErrorRate",
            WARNING,
            (("tool", name),),
            limits.for_seconds,
            100 * share,
            100 * limits.error_rate,
            PERCENT,
            f"{name} fails: {text.share(share)} of {counts[FINISHED]} calls in "
            f"{text.time_span(span)}, more than {text.share(limits.error_rate)}",
            is_past=share > limits.error_rate,
        )


def _slow(
    name: str,
    limits: ToolThresholds,
    parts: list[tuple[ToolKey, Counts]],
    counters: Counters,
    span: float,
) -> Iterator[Finding]:
    target = limits.p95_seconds
    if target is None:
        return
    samples: list[float] = []
    bound = 1000 * target * (1 - MARGIN)
    # Of several sources, none may be left out of what the others are compared with.
    above = bound if len(parts) == 1 else -1.0
    for key, grown in parts:
        samples += counters.newest(key, grown[SAMPLED], above)
    # Cheaper than sorting, and most tools are well: beyond it must be a twentieth, or one.
    if 20 * sum(map(bound.__lt__, samples)) < len(samples) - 19:
        return
    found = p95(samples)
    if found is not None and found > bound:
        yield Finding(
            "MetertapSlowTool",
            WARNING,
            (("tool", name),),
            limits.for_seconds,
            found,
            1000 * target,
            MILLISECONDS,
            f"{name} is slow: 95 % of {len(samples)} calls in {text.time_span(span)} took up to "
            f"{text.seconds(found / 1000)}, more than {text.seconds(target)}",
            is_past=found > 1000 * target,
        )


def _by_name(
    tools: Iterable[ToolKey], window: Window[ToolKey]
) -> dict[str, list[tuple[ToolKey, Counts]]]:
    """Increases by tool name: all sources of equal names together, as Prometheus has them."""
    found: dict[str, list[tuple[ToolKey, Counts]]] = {}
    for key in tools:
        grown = window.increase(key)
        if grown is not None:
            found.setdefault(key[0], []).append((key, grown))
    return found


def _total(parts: list[tuple[ToolKey, Counts]]) -> Counts:
    if len(parts) == 1:
        return parts[0][1]
    columns = zip(*(counts for _, counts in parts), strict=True)
    return tuple(map(sum, columns)) or (0, 0, 0, 0)


def _calls_by_name(tools: Mapping[ToolKey, Counts]) -> dict[str, int]:
    calls: dict[str, int] = {}
    for (name, _), counts in tools.items():
        calls[name] = calls.get(name, 0) + counts[CALLS]
    return calls
