"""Collecting between two writes: calls as they are folded, and the increase of counters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metertap import catalogue, outcomes
from metertap.history.answers import ERROR, NO_SOURCE, Subject
from metertap.history.savings import after_miss
from metertap.history.tally import Tally, add_to
from metertap.history.weights import DefinitionSums
from metertap.recording import Recorder
from metertap.recording.buffer import Buffer
from metertap.recording.operation_series import OperationSeries, Sample
from metertap.recording.tool_series import Ended, ToolSeries
from metertap.recording.weight_series import Sized, WeightSeries

_OPERATIONS = (catalogue.SERVER_DURATION, catalogue.CLIENT_DURATION)
_MANY = 50_000
"""The most calls that wait to be sorted: about a megabyte."""


class Gathering:
    """A collector of everything that `recorder` records. It calls `crowded` when much of it waits.

    Threads of the program call `heard`. All other methods are for one thread at a time.
    """

    def __init__(self, recorder: Recorder, crowded: Callable[[], None]) -> None:
        self._recorder = recorder
        self._definitions = DefinitionSums(recorder)
        self._crowded = crowded
        self._folded: list[tuple[Buffer, Sequence[Any]]] = []
        self._waiting = 0
        self._tallies: dict[Subject, Tally] = {}
        self._of_tools: dict[ToolSeries, Tally] = {}
        """The tallies of tools by series as well, which are found faster than by subject."""
        self._sums: dict[Subject, dict[str, float]] = {}

    def start(self) -> None:
        """Start collecting: earlier measurements are left out."""
        self._recorder.fold()
        self._sums = self._sums_now()
        self._recorder.fold_listeners += (self.heard,)

    def stop(self) -> None:
        """Stop collecting."""
        listeners = self._recorder.fold_listeners
        self._recorder.fold_listeners = tuple(one for one in listeners if one != self.heard)

    def forked(self) -> None:
        """Forget the parent's measurements in a forked child."""
        self._folded, self._waiting = [], 0
        self._tallies, self._of_tools, self._sums = {}, {}, {}

    def heard(self, series: Buffer, items: Sequence[Any]) -> None:
        """Keep calls that were just folded. With the recorder's lock held."""
        count, folded = len(items), self._folded
        if self._waiting + count > _MANY:
            self._crowded()
        folded += [(series, items)]  # no call, so that an interrupt cannot repeat it
        self._waiting += count

    def sort(self) -> None:
        """Count the calls that wait."""
        self._waiting = 0
        count = len(self._folded)
        folded = self._folded[:count]
        del self._folded[:count]
        for series, items in folded:
            if isinstance(series, ToolSeries):
                tally = self._of_tools.get(series)
                if tally is None:
                    tally = self._tally(Subject("tool", series.name, series.source))
                    self._of_tools[series] = tally
                _count_calls(tally, items)
            elif isinstance(series, OperationSeries) and series.metric in _OPERATIONS:
                name = " ".join(filter(None, (series.method, series.name)))
                subject = Subject("operation", name, series.metric.side)
                _count_operations(self._tally(subject), items)
            elif isinstance(series, WeightSeries) and series.side == catalogue.SERVER:
                tally = self._tally(Subject("tool", series.name, series.source))
                _count_sizes(tally, items)

    def take(self) -> dict[Subject, Tally]:
        """Return the measurements since the last call of this method."""
        self._recorder.fold()
        self.sort()
        before, self._sums = self._sums, self._sums_now()
        for subject, sums in self._sums.items():
            _count_growth(self, subject, before.get(subject, {}), sums)
        taken, self._tallies, self._of_tools = self._tallies, {}, {}
        return taken

    def _tally(self, subject: Subject) -> Tally:
        tally = self._tallies.get(subject)
        if tally is None:
            tally = self._tallies[subject] = Tally()
        return tally

    def _sums_now(self) -> dict[Subject, dict[str, float]]:
        found: dict[Subject, dict[str, float]] = {}
        lookups: dict[str, dict[str, float]] = {}
        for cache in self._recorder.cache_figures():
            found[Subject("cache", cache.name, cache.system)] = {
                "hits": cache.hits,
                "misses": cache.misses,
                "evictions": cache.evictions or 0,
                "size_rejections": cache.rejections or 0,
            }
            for tool, (hits, misses) in (cache.by_tool or {}).items():
                add_to(
                    lookups.setdefault(tool, {}), {"hits_in_calls": hits, "misses_in_calls": misses}
                )
        used, fees = self._recorder.usage_figures(), self._recorder.spent_on_fees()
        is_told = used or fees or lookups
        sources = dict(key for key, _, _ in self._recorder.tool_counts()) if is_told else {}

        def of_tool(name: str) -> Subject:
            return Subject("tool", name, sources.get(name, NO_SOURCE))

        for name, sums in lookups.items():
            found[of_tool(name)] = sums
        for key, both in self._recorder.looked_up():
            add_to(found.setdefault(Subject("tool", *key), {}), both)
        for usage in used:
            subjects = of_tool(usage.tool), Subject("model", usage.model, usage.provider)
            sums = {
                "model_calls": usage.calls,
                "failed_model_calls": usage.failed,
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cost_usd": float(usage.spent),
                "cost_of_failed_usd": float(usage.spent_in_failed),
                "unpriced_calls": usage.unpriced + usage.unreported,
            }
            for subject in subjects:
                add_to(found.setdefault(subject, {}), sums)
            found[subjects[0]][after_miss(usage.provider, usage.model)] = float(
                usage.spent_after_miss
            )
        failed = self._recorder.spent_on_fees(outcomes.FAILED)
        for name, fee in fees.items():
            sums = {"cost_usd": float(fee), "cost_of_failed_usd": float(failed[name])}
            add_to(found.setdefault(of_tool(name), {}), sums)
        for subject, seen in self._definitions():
            add_to(found.setdefault(subject, {}), seen)
        return found


def _count_sizes(tally: Tally, items: Sequence[Any]) -> None:
    """Count the buffer of a tool's results: sizes in bytes; below 0 is unknown."""
    sizes = [item.size if type(item) is Sized else item for item in items]
    known = [size for size in sizes if size >= 0]
    if known:
        add_to(tally.extra, {"results": len(known), "result_bytes": sum(known)})


def _count_growth(
    gathering: Gathering, subject: Subject, before: Mapping[str, float], now: Mapping[str, float]
) -> None:
    """Count the growth of sums; a sum that is smaller than before started again at zero."""
    for name, value in now.items():
        was = before.get(name, 0)
        more = value - was if value >= was else value
        if not more or not math.isfinite(more):
            continue
        tally = gathering._tally(subject)
        if name == "hits":
            tally.hits += int(more)
        elif name == "misses":
            tally.misses += int(more)
        else:
            tally.extra[name] = tally.extra.get(name, 0) + more


def _count_calls(tally: Tally, items: Sequence[Any]) -> None:
    """Count the buffer of a tool: seconds of successful calls, or an `Ended`."""
    others = [item for item in items if type(item) is not float]
    seconds = [item for item in items if type(item) is float] if others else [*items]
    ended, types = tally.outcomes, tally.error_types
    if seconds:
        ended[outcomes.OK] = ended.get(outcomes.OK, 0) + len(seconds)
    for item in others:
        if type(item) is Ended:
            ended[item.outcome] = ended.get(item.outcome, 0) + 1
            if item.error_type is not None:
                types[item.error_type] = types.get(item.error_type, 0) + 1
            if item.latency_ms is not None and item.outcome in outcomes.SAMPLED:
                seconds.append(item.seconds)
    if seconds:
        tally.sketch().add(seconds)


def _count_operations(tally: Tally, items: Sequence[Any]) -> None:
    """Count the buffer of operations: seconds, or a `Sample` with its data point."""
    samples = [item for item in items if type(item) is Sample]
    types = [item.point.error_type for item in samples]
    errors = Counter([error for error in types if error is not None])
    failed = len(types) - types.count(None)
    add_to(tally.error_types, errors)
    if failed:
        add_to(tally.outcomes, {ERROR: failed})
    if len(items) > failed:
        add_to(tally.outcomes, {outcomes.OK: len(items) - failed})
    seconds = [float(item.seconds if type(item) is Sample else item) for item in items]
    tally.sketch().add(seconds)
