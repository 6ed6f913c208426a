"""Views of everything recorded, since the last reset or since recording began."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

from metertap import catalogue, faults, outcomes
from metertap.pacing import paced
from metertap.recording.activity import Activity
from metertap.recording.baseline import Past
from metertap.recording.buffer import Delivery
from metertap.unmocked import unmocked

if TYPE_CHECKING:
    from decimal import Decimal

    from metertap.recording.cache_series import CacheSeries
    from metertap.recording.figures import (
        CacheFigures,
        Figures,
        OperationFigures,
        ToolFigures,
        WeightFigures,
    )
    from metertap.recording.latency_series import LatencySeries
    from metertap.recording.operation_series import OperationSeries
    from metertap.recording.tool_series import ToolSeries
    from metertap.recording.usage_series import UsageKey, UsageSeries
    from metertap.recording.weight_series import WeightSeries
    from metertap.recording.window import Run

F = TypeVar("F")
ToolKey = tuple[str, str]
"""A tool's name and source."""
NO_FEES: Mapping[str, Decimal] = {}


class Views(Activity, Delivery):
    """The series of one process, and their figures. Any thread may call its methods."""

    def __init__(self, window_size: int) -> None:
        self.window_size = window_size
        self.fees: Mapping[str, Decimal] = NO_FEES
        """USD that each call of a tool costs, by the tool's name."""
        self.weighs = True
        """Whether the sizes of results and definitions are recorded."""
        self._usage_callbacks: list[Callable[[], None]] = []
        self.has_usage = False
        """Whether models were called."""
        Activity.__init__(self)
        Delivery.__init__(self)
        self._clear()

    def _clear(self) -> None:
        self.folding = False
        self._tools: dict[ToolKey, ToolSeries] = {}
        self._caches: dict[tuple[str, str], CacheSeries] = {}
        self._weights: dict[tuple[str, str, str], WeightSeries] = {}
        self._operations: dict[tuple[str, str, str | None], OperationSeries] = {}
        self._usage: dict[UsageKey, UsageSeries] = {}
        self._sessions = self.sessions_by_hand = self.requests_by_hand = 0
        self._expect_activity()
        self.start_time = time.time()
        """The Unix time at which recording began; `start_over` begins the figures later."""
        self._past = Past(self.start_time)
        self._started = self._past.until_monotonic

    def figures(self, *, caches: bool = True) -> Figures:
        """Copy everything since the last `start_over`; caches only if they are asked for.

        The lock is held for one series at a time.
        """
        past = self._past  # first: total counts must not be less than the past ones
        return self._figures(
            lambda: self._tools_with(self._figures_of),
            lambda: faults.each(
                "figures.caches", past.left_out_of, self.cache_figures() if caches else ()
            ),
            lambda: past.usage_since(self._usage_now()),
            past.until,
            past.until_monotonic,
        )

    def lifetime(self, *, is_bare: bool = False) -> Figures:
        """Return a copy of the figures since recording began, as counters have them.

        With `is_bare`, percentiles are left out. Operations and sessions are since the last
        `start_over`, since instruments count them themselves.
        """
        return self._figures(
            lambda: self._tools_with(partial(self._lifetime_of, is_bare=is_bare)),
            self.cache_figures,
            self._usage_now,
            self.start_time,
            self._started,
            is_bare=is_bare,
        )

    def _figures(
        self,
        tools: Callable[[], Iterable[ToolFigures]],
        caches: Callable[[], Iterable[CacheFigures]],
        usage: Callable[[], tuple[UsageSeries, ...]],
        start_time: float,
        started: float,
        *,
        is_bare: bool = False,
    ) -> Figures:
        """Build figures; a fault leaves out the one at which it happens."""
        from metertap.recording.figures import Figures  # imported when figures are read

        kept = faults.kept
        requests = (catalogue.SERVER_DURATION, catalogue.CLIENT_DURATION)
        sessions = (catalogue.SERVER_SESSION, catalogue.CLIENT_SESSION)
        operations = partial(self._operations_of, is_bare=is_bare)
        return Figures(
            tools=kept("figures.tools", lambda: tuple(tools()), ()),
            caches=kept("figures.caches", lambda: tuple(caches()), ()),
            active_sessions=kept("figures.sessions", self.active_sessions, 0),
            start_time=start_time,
            uptime_seconds=unmocked.monotonic() - started,
            requests_by_hand=self.requests_by_hand,
            operations=kept("figures.operations", lambda: operations(*requests), ()),
            sessions=kept("figures.sessions", lambda: operations(*sessions), ()),
            usage=kept("figures.usage", usage, ()),
            weights=kept("figures.weights", lambda: self.weight_figures(is_bare=is_bare), ()),
        )

    def figures_of_tool(self, name: str, source: str) -> tuple[ToolFigures, list[float]] | None:
        """Return one tool's figures and the latencies in its window, oldest first."""
        series = self._tools.get((name, source))
        if series is None:
            return None
        with self.lock:
            return series.figures(), series.window.milliseconds()

    def with_runs(self, all_figures: Iterable[Any]) -> Iterator[tuple[Any, tuple[Run, ...]]]:
        """Yield the lifetime's bare figures of the same series, with the samples of their windows.

        `ToolSeries.runs` describes the samples.
        """
        from metertap.recording.figures import ToolFigures, WeightFigures

        for figures in all_figures:
            series: LatencySeries[Any] | None
            if isinstance(figures, ToolFigures):
                series = self._tools.get((figures.name, figures.source))
            elif isinstance(figures, WeightFigures):
                series = self._weights.get((figures.name, figures.source, figures.side))
            else:
                series = self._operation_of(figures)
            if series is None:  # everything was reset meanwhile
                yield figures, ()
                continue
            known = series.bare_runs
            if known[0] is figures:
                yield known
            else:
                with self.lock:
                    now = series.figures(is_bare=True)
                    if isinstance(now, ToolFigures):
                        now = self._past.added_to(now)
                    runs = series.runs()
                yield now, runs

    def _operation_of(self, figures: Any) -> OperationSeries | None:
        wanted = (figures.side, figures.method, figures.name)
        for series in list(self._operations.values()):
            if (series.metric.side, series.method, series.name) == wanted:
                return series
        return None

    def tool_counts(self) -> list[tuple[ToolKey, dict[str, int], int]]:
        """Return each tool's counts by outcome, and the number of known latencies, since the start.

        Much cheaper than figures.
        """
        found = []
        for key, series in list(self._tools.items()):
            with self.lock:
                series.fold()
                counts = self._past.counts_with(key, series.counts, series.latencies.count)
            found.append((key, *counts))
        return found

    def looked_up(self) -> Iterator[tuple[ToolKey, dict[str, float]]]:
        """Yield the number and the seconds of calls that asked caches, by tool, since the start."""
        for key, series in list(self._tools.items()):
            if series.looked_up_calls is not None or series.lookup_sums_before:
                with self.lock:
                    sums = series.lookup_sums()
                yield key, sums

    def newest_latencies(self, key: ToolKey, count: int, above: float = -1.0) -> list[float]:
        """Return the last `count` latencies of a tool's window, in milliseconds, oldest first.

        Returns an empty list, at a fraction of the cost, if none of them is `above`.
        """
        series = self._tools.get(key)
        if series is None:
            return []
        with self.lock:
            series.fold()
            return series.window.newest(count, above)

    def figures_of_cache(self, name: str, system: str) -> CacheFigures | None:
        """Return one cache's figures, without looking for new cache objects."""
        past, series = self._past, self._caches.get((name, system))
        return None if series is None else past.left_out_of(series.figures())

    def cache_figures(self) -> list[CacheFigures]:
        """Return the figures of caches, since recording began."""
        self.look()
        caches = list(self._caches.values())
        return list(faults.each("figures.cache", methodcaller("figures"), caches))

    def weight_figures(self, *, is_bare: bool = False) -> tuple[WeightFigures, ...] | None:
        """Return the weights of tools; None if they are not measured."""
        if not self.weighs:
            return None
        figures_of = partial(self._figures_of, is_bare=is_bare)
        return tuple(faults.each("figures.weights", figures_of, paced(self.weighed())))

    def weighed(self) -> list[WeightSeries]:
        """List the series of tools' weights, after measuring new definitions."""
        series = list(self._weights.values()) if self.weighs else []
        for one in series:
            one.look()
        return series

    def on_usage(self, prepare: Callable[[], None], record: Callable[[], None]) -> None:
        """Call `prepare` before the use of models is read.

        `record` is called before waiting items go to the instruments.
        """
        if prepare in self._usage_callbacks:
            return
        self._usage_callbacks.append(prepare)
        self.has_usage = True
        self.before_fold = (*self.before_fold, record)
        self.on_look(prepare)

    def usage_figures(self) -> tuple[UsageSeries, ...]:
        """Copy the series of model calls, since recording began."""
        for prepare in list(self._usage_callbacks):
            with faults.guarded("usage.look"):
                prepare()
        return self._usage_now()

    def _usage_now(self) -> tuple[UsageSeries, ...]:
        with self.lock:
            return tuple(series.copy() for series in self._usage.values())

    def spent(self) -> Decimal | int:
        """Return what tools spent on models and fees, in USD, as far as prices are known."""
        used, fees = self.usage_figures(), self.spent_on_fees()
        if not used and not fees:
            return 0
        from metertap.recording.arithmetic import exact  # imports `decimal`, which takes time

        with exact():
            return sum(fees.values(), sum(series.spent for series in used))

    def spent_on_fees(self, of: Collection[str] = outcomes.RAN) -> dict[str, Decimal]:
        """Return the fees for calls of these outcomes, by tool, since the start."""
        if not self.fees:
            return {}
        from metertap.recording.arithmetic import exact

        ran: Counter[str] = Counter()
        for (name, _), counts, _ in self.tool_counts():
            ran[name] += sum(counts[outcome] for outcome in of)
        with exact():
            return {
                name: self.fees[name] * calls for name, calls in ran.items() if name in self.fees
            }

    def _tools_with(self, of: Callable[[ToolSeries], ToolFigures]) -> tuple[ToolFigures, ...]:
        series = list(self._tools.values())
        self._fold(series)
        found = faults.each("figures.tool", of, paced(series))
        # Calls of `_OTHER` may still be in progress until their tool is known.
        return tuple(
            tool
            for tool in found
            if tool.name != catalogue.OTHER or tool.active or any(tool.counts.values())
        )

    def _operations_of(
        self, *metrics: catalogue.Metric, is_bare: bool
    ) -> tuple[OperationFigures, ...]:
        series = [item for item in list(self._operations.values()) if item.metric in metrics]
        self._fold(series)
        figures_of = partial(self._figures_of, is_bare=is_bare)
        found = faults.each("figures.operation", figures_of, paced(series))
        return tuple(figures for figures in found if figures.calls)

    def _fold(self, series: Sequence[LatencySeries[Any]]) -> None:
        """Fold all series before figures are built: doing one kind of work at a time is faster."""
        for one in paced(series):
            if one.waiting:
                with self.lock:
                    one.fold()

    def _figures_of(self, series: LatencySeries[F], *, is_bare: bool = False) -> F:
        same = series.same_figures(is_bare=is_bare)
        if same is None:
            with self.lock:
                same = series.figures(is_bare=is_bare)
        return same

    def _lifetime_of(self, series: ToolSeries, *, is_bare: bool = False) -> ToolFigures:
        same = series.same_figures(is_bare=is_bare) if self._past.is_empty else None
        if same is None:
            with self.lock:
                same = self._past.added_to(series.figures(is_bare=is_bare))
        return same

    def active_calls(self) -> list[tuple[str, int]]:
        """Return calls in progress by tool name, of all sources together."""
        totals: Counter[str] = Counter()
        for series in paced(list(self._tools.values())):
            with self.lock:  # a fold moves calls from one count to another
                totals[series.name] += series.active
        return list(totals.items())

    def active_sessions(self) -> int:
        """Return the number of open sessions: those measured, or the number by hand if larger."""
        return max(self._sessions, self.sessions_by_hand)
