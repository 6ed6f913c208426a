"""Regressions: tools and caches that became worse between two versions or two periods.

A change is reported if it is significant after the correction for all comparisons, large enough to
matter, and visible in most blocks of time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from scipy import stats

from metertap.history.answers import Answers, HistoryError, Slice, Subject
from metertap.history.findings import Finding, Tested, compared
from metertap.history.weights import DefinitionChange, definition_changes

SIGNIFICANCE = 0.01
"""The share of false alarms among reported changes, of both directions."""
_DAY = 86_400.0
_STEPS = (10.0, 60.0, 600.0, 3600.0, 14_400.0)
_MOST_STEPS = 400


@dataclass(frozen=True, slots=True)
class Period:
    """One side of a comparison: times in Unix seconds, of one version or of all (None)."""

    start: float
    end: float
    version: str | None = None

    def holds(self, piece: Slice) -> bool:
        """Return whether that slice belongs to this side."""
        if self.version is not None:
            return piece.version == self.version
        return self.start <= piece.start < self.end


@dataclass(frozen=True, slots=True)
class Question:
    """The two periods or versions to compare."""

    before: Period
    after: Period
    service: str | None = None

    @property
    def step(self) -> float:
        """Return the length of the periods that are asked for, in seconds."""
        whole = self.until - self.since
        return next((step for step in _STEPS if whole <= step * _MOST_STEPS), _STEPS[-1])

    @property
    def since(self) -> float:
        """Return the Unix time at which the earlier of the two sides begins."""
        return min(self.before.start, self.after.start)

    @property
    def until(self) -> float:
        """Return the Unix time at which the later of the two sides ends."""
        return max(self.before.end, self.after.end)


class Untold(NamedTuple):
    """A tool or cache that cannot be compared, and why."""

    service: str
    subject: Subject
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """The result: changes, the most time lost first, and the number of comparisons."""

    question: Question
    findings: list[Finding]
    untold: list[Untold]
    compared: int
    """The number of tools and caches with enough calls on both sides."""
    definitions: tuple[DefinitionChange, ...] = ()
    """Changes of the weights of tools' definitions, by service."""

    @property
    def regressions(self) -> list[Finding]:
        """Return the changes for the worse."""
        return [item for item in self.findings if item.is_worse]

    @property
    def worse(self) -> int:
        """Return how many tools and caches became worse."""
        return len({(item.service, item.subject) for item in self.regressions})


def between_versions(
    answers: Answers, before: str, after: str, service: str | None = None
) -> Question:
    """Compare two versions. Raises HistoryError where one was never seen."""
    periods: list[Period] = []
    seen = answers.versions(service)
    for name in (before, after):
        found = [item for item in seen if item.version == name]
        if not found:
            known = ", ".join(dict.fromkeys(item.version for item in seen if item.version))
            raise HistoryError(f"there is no version {name} in it, but {known or 'none'}")
        start = min(item.first_seen for item in found)
        # `last_seen` is the beginning of a period.
        periods.append(Period(start, max(item.last_seen for item in found) + 1.0, name))
    return Question(periods[0], periods[1], service)


def of_newest(
    answers: Answers, baseline_seconds: float, now: float, service: str | None = None
) -> Question:
    """Compare the newest day, or seventh of the baseline, with the time before it."""
    seen = answers.versions(service)
    if not seen:
        raise HistoryError("there is nothing in it")
    end = min(now, max(item.last_seen for item in seen) + _STEPS[0])
    change = end - min(_DAY, baseline_seconds / 7)
    return Question(Period(change - baseline_seconds, change), Period(change, end), service)


def report(answers: Answers, question: Question) -> Report:
    """Compare all measurements of both sides."""
    pieces: dict[tuple[str, Subject], list[Slice]] = defaultdict(list)
    for piece in answers.slices(
        since=question.since,
        until=question.until,
        step=question.step,
        service=question.service,
        kinds=("tool", "cache"),
        by="version",
    ):
        if not piece.subject.is_no_tool or piece.calls:
            pieces[piece.service, piece.subject].append(piece)
    tested: list[Tested] = []
    untold: list[Untold] = []
    sides = {
        key: (
            [piece for piece in found if question.before.holds(piece)],
            [piece for piece in found if question.after.holds(piece)],
        )
        for key, found in pieces.items()
    }
    for (service, subject), (before, after) in sides.items():
        made = compared(service, subject, (before, after))
        tested += made
        if not made:
            untold.append(Untold(service, subject, _reason(before, after)))
    whole = question.after.version is not None
    return Report(
        question,
        _significant(tested),
        untold,
        len(pieces) - len(untold),
        tuple(definition_changes(sides, whole=whole)),
    )


def _significant(tested: Sequence[Tested]) -> list[Finding]:
    """Make findings of the significant changes, the worse ones and those of most time first."""
    if not tested:
        return []
    corrected = stats.false_discovery_control([item.p_value for item in tested])
    findings = [
        finding
        for item, p_value in zip(tested, corrected, strict=True)
        if p_value <= SIGNIFICANCE and (finding := item.finding(float(p_value))) is not None
    ]
    return sorted(
        findings, key=lambda item: (not item.is_worse, -abs(item.lost_seconds_a_day or 0.0))
    )


def _reason(before: Sequence[Slice], after: Sequence[Slice]) -> str:
    if before and after:
        return "too few calls"
    return "nothing was measured " + ("after" if before else "before")
