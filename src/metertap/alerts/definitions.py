"""Every alert: its name, severity, PromQL, and the sentences for people.

`ALERTS` is the one table for the evaluator of this process, for Prometheus's rules, and for the
runbooks. Words in braces are filled in from figures: in `firing`, `resolved` and `too_few` by
`Finding`, in the other texts by `metertap_exporters.rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from metertap import text

CRITICAL, WARNING = "critical", "warning"
"""Severities of alerts, in the words of Prometheus's own examples."""

PERCENT, MILLISECONDS, SECONDS, COUNT, USD = "%", "ms", "s", "count", "USD"

BUDGET_SECONDS = 86_400
"""The time for which a budget is, in seconds."""
FAULTS_SECONDS = 900
"""How long a fault of metertap's own keeps its alert firing, in seconds."""
MARGIN = 0.1
"""The share of the threshold by which a figure must be better before its alert resolves."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One alert of the table. One without a `firing` sentence is evaluated by Prometheus alone."""

    name: str
    unit: str
    expr: str
    summary: str
    """The title in Prometheus."""
    description: str
    """The description in Prometheus."""
    severity: str = WARNING
    firing: str = ""
    """The sentence of this process while the alert fires."""
    resolved: str = ""
    """The sentence of this process when the alert resolves."""
    too_few: str = ""
    """The sentence at the end, if there are too few calls or lookups to tell."""
    is_low: bool = False
    """Whether it fires below its threshold, a percentage, and not above."""

    def relief(self, threshold: float) -> float:
        """Return the figure that has to be passed before a firing alert resolves.

        If a tenth of the threshold would lead beyond 100 %, it is half-way to 100 %.
        """
        if self.is_low:
            return threshold + min(MARGIN * threshold, (100 - threshold) / 2)
        return threshold * (1 - MARGIN)


HIGH_ERROR_RATE = Definition(
    name="MetertapHighErrorRate",
    unit=PERCENT,
    expr="{failure_ratio}{of} > {threshold}\nand {calls}{of} * {seconds} >= {minimum}",
    summary="Tool {tool} of {job} fails too often",
    description="{value} of its calls in the last {window} failed; the threshold is {percent}.",
    firing="{tool} fails: {value} of {count} calls in {window}, more than {threshold}",
    resolved="{tool} no longer fails too often: {value} of {count} calls in {window}",
    too_few="{tool}: too few calls to tell whether it still fails, {calls} in {window}",
)
SLOW_TOOL = Definition(
    name="MetertapSlowTool",
    unit=MILLISECONDS,
    expr="{p95}{of} > {threshold}\nand {calls}{of} * {seconds} >= {minimum}",
    summary="Tool {tool} of {job} is slower than its target",
    description="Its 95th percentile, estimated from the histogram, is {value} over the last "
    "{window}; the target is {threshold}s.",
    firing="{tool} is slow: 95 % of {samples} calls in {window} took up to {value}, more than "
    "{threshold}",
    resolved="{tool} is no longer slow: 95 % of {samples} calls in {window} took up to {value}",
    too_few="{tool}: too few calls to tell whether it is still slow, {calls} in {window}",
)
SLOWER_THAN_LAST_WEEK = Definition(
    name="MetertapSlowerThanLastWeek",
    unit=MILLISECONDS,
    expr="{p95}{of} > {threshold} * {p95}{of} offset 1w\n"
    "and {calls}{of} * {seconds} >= {minimum}\n"
    "and {calls}{of} offset 1w * {seconds} >= {minimum}",
    summary="Tool {tool} of {job} is slower than a week ago",
    description="Its 95th percentile, estimated from the histogram, is {value} over the last "
    "{window}: more than {threshold} times that of the same time a week ago.",
)
ERROR_BUDGET_BURN = Definition(
    name="MetertapErrorBudgetBurn",
    severity=CRITICAL,  # in Prometheus, each pair of windows has its own
    unit=PERCENT,
    expr="{failure_ratio}{of} > {factor} * {budget}\n"
    "and {latest_failure_ratio}{of} > {factor} * {budget}\n"
    "and {calls}{of} * {seconds} >= {minimum}",
    summary="Tool {tool} of {job} spends its error budget too fast",
    description="{value} of its calls in the last {window} failed, and it goes on: {factor} times "
    "what an objective of {percent} allows, or more.",
    firing="{tool} spends its error budget too fast: {value} of {count} calls in {window} failed, "
    "and it goes on; an objective of {objective} allows {threshold} for so long",
    resolved="{tool} no longer spends its error budget too fast: {value} of {count} calls in "
    "{window} failed, and {latest}",
    too_few="{tool}: too few calls to tell whether it still spends its error budget too fast, "
    "{calls} in {window}",
)
NO_TRAFFIC = Definition(
    name="MetertapNoTraffic",
    unit=SECONDS,
    # Compared with itself, since increase() misses the first call of a new series.
    expr="sum by ({by}) ({called}) == sum by ({by}) ({called} offset {window})\n"
    "or absent_over_time({called}[{window}])",
    summary="Tool {tool} is not called",
    description="There was no call of any outcome in the last {window}.",
    firing="{tool} is not called: no call of any outcome in {value}",
    resolved="{tool} is called again",
)
LOW_HIT_RATE = Definition(
    name="MetertapLowHitRate",
    unit=PERCENT,
    expr="{hit_ratio}{of} < {threshold}\nand {lookups}{of} * {seconds} >= {minimum}",
    summary="Cache {cache} of {job} hardly helps",
    description="{value} of its lookups in the last {window} hit; the threshold is {percent}.",
    firing="{cache} hardly helps: {value} of {count} lookups in {window} hit, less than "
    "{threshold}",
    resolved="{cache} helps: {value} of {count} lookups in {window} hit",
    too_few="{cache}: too few lookups to tell whether it helps, {lookups} in {window}",
    is_low=True,
)
OVER_BUDGET = Definition(
    name="MetertapOverBudget",
    unit=USD,
    expr="sum by (job) (increase({cost}[{window}])) > {threshold}",
    summary="Tools of {job} spend more than their budget",
    description="They spent {value} in the last {window}; the budget is {threshold} USD.",
    firing="the tools spent {value} in {window}, more than the budget of {threshold} a day",
    resolved="the tools spent {value} in {window}, within the budget of {threshold} a day",
)
PROCESS_DOWN = Definition(
    name="MetertapProcessDown",
    severity=CRITICAL,
    unit=COUNT,
    expr="{up} == 0",
    summary="Process {instance} of {job} does not answer",
    description="Prometheus cannot scrape it: it has ended, hangs, or cannot be reached.",
)
PROCESS_ABSENT = Definition(
    name="MetertapProcessAbsent",
    severity=CRITICAL,
    unit=COUNT,
    expr="absent({up})",
    summary="No process of {job} is there",
    description="Prometheus has no target of this job.",
)
SERIES_OVERFLOW = Definition(
    name="MetertapSeriesOverflow",
    unit=COUNT,
    expr="count by (job, instance) ({overflown} or {calls} > 0 or {lookups} > 0)",
    summary="Names or series of {instance} of {job} are past a limit",
    description="Figures of {value} series stand under otel_metric_overflow or _OTHER instead of "
    "their own name.",
    firing="names are past a limit: figures of {value} series stand under _OTHER instead of their "
    "own name",
    resolved="no name is past a limit any more",
)
METER_FAULTS = Definition(
    name="MetertapMeterFaults",
    unit=COUNT,
    # Not by increase(), since a fault that happens once makes a series that begins with 1.
    expr="sum by ({by}) ({faults}) - "
    "(sum by ({by}) ({faults} offset {window}) or 0 * sum by ({by}) ({faults})) > 0",
    summary="metertap itself has faults in {instance} of {job}",
    description="{value} in the last {window} at {place}. The program is not disturbed; some "
    "figures may be missing.",
    firing="metertap itself has faults: {value} at {place} in {window}; the program is not "
    "disturbed",
    resolved="metertap itself has had no new fault at {place} in {window}",
)

ALERTS = (
    HIGH_ERROR_RATE,
    SLOW_TOOL,
    SLOWER_THAN_LAST_WEEK,
    NO_TRAFFIC,
    ERROR_BUDGET_BURN,
    LOW_HIT_RATE,
    OVER_BUDGET,
    PROCESS_DOWN,
    PROCESS_ABSENT,
    SERIES_OVERFLOW,
    METER_FAULTS,
)

Labels = tuple[tuple[str, str], ...]
Key = tuple[str, Labels]


class Finding(NamedTuple):  # cheap to make, since each evaluation makes several for each tool
    """A figure of a tool, a cache or the process at one moment, with its threshold."""

    definition: Definition
    labels: Labels
    for_seconds: float
    """How long, in seconds, the figure has to be past the threshold."""
    value: float | None
    """The figure in the definition's unit; None if unknown."""
    threshold: float
    span: float = 0.0
    """The seconds over which the value was taken."""
    counted: int = 0
    """The number of calls or lookups behind the value."""
    minimum: int = 0
    compared: float | None = None
    """The figure to compare with the threshold, if that is not the value."""
    words: Callable[[], Mapping[str, str]] = dict
    """Further words for the definition's sentences."""
    said: str = ""
    """The sentence, if it is not the definition's `firing`."""

    @property
    def name(self) -> str:
        """The alert's name."""
        return self.definition.name

    @property
    def key(self) -> Key:
        """The identity of the alert, the same at each evaluation and after a restart."""
        return self.name, self.labels

    @property
    def is_past(self) -> bool:
        """Whether it is on the wrong side of its threshold."""
        return self._is_beyond(self.threshold)

    @property
    def is_close(self) -> bool:
        """Whether it is past its threshold, or not yet better by the margin."""
        return self._is_beyond(self.definition.relief(self.threshold))

    @property
    def summary(self) -> str:
        """The finding in one sentence."""
        return self.said or self._filled(self.definition.firing)

    def over(self) -> Finding:
        """Copy the finding for an alert that resolves: its sentence says how it is now."""
        definition, is_known = self.definition, self.value is not None and self._is_of_enough
        told = definition.resolved if is_known else definition.too_few or definition.resolved
        return self._replace(said=self._filled(told))

    def forgotten(self) -> Finding:
        """Copy the finding for an alert that resolves because its figure is gone."""
        return self._replace(value=None, said=f"this holds no more: {self.summary}")

    @property
    def _is_of_enough(self) -> bool:
        return self.counted >= self.minimum

    def _is_beyond(self, limit: float) -> bool:
        figure = self.value if self.compared is None else self.compared
        if figure is None or not self._is_of_enough:
            return False
        return figure < limit if self.definition.is_low else figure > limit

    def _filled(self, sentence: str) -> str:
        return sentence.format(
            **{name: text.printable(label) for name, label in self.labels},
            value=self._shown(self.value),
            threshold=self._shown(self.threshold),
            window=text.time_span(self.span),
            count=self.counted,
            calls=_number(self.counted, "call"),
            lookups=_number(self.counted, "lookup"),
            **self.words(),
        )

    def _shown(self, figure: float | None) -> str:
        if figure is None:
            return text.NONE
        unit = self.definition.unit
        if unit == PERCENT:
            return text.share(figure / 100)
        if unit == USD:
            return text.money(figure)
        if unit == MILLISECONDS:
            return text.seconds(figure / 1000)
        return text.time_span(figure) if unit == SECONDS else str(figure)


def _number(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"
