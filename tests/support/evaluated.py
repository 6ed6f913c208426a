"""A process that is only counters and a clock, as the evaluator of alerts sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from metertap.alerts import thresholds
from metertap.alerts.counters import Counters
from metertap.alerts.evaluator import Alert, Evaluator

EVERY = 15.0
BEGAN = 1_700_000_000.0


@dataclass
class Process:
    """A process as the evaluator sees it: what it counts each step, and the alerts that follow."""

    table: dict[str, Any] = field(default_factory=dict)
    every: float = EVERY
    time: float = 1000.0

    def __post_init__(self) -> None:
        self.counters = Counters(tools={}, caches={}, faults={}, newest=self._newest)
        self.samples: dict[tuple[str, str], list[float]] = {}
        self.alerts: tuple[Alert, ...] = ()
        self.restart()

    def restart(self) -> None:
        """The process ends and begins again."""
        self.counters = Counters(tools={}, caches={}, faults={}, newest=self._newest)
        self.samples.clear()
        self.evaluator = Evaluator(
            thresholds.read(self.table), self.every, self.time, self.counters
        )

    def _newest(self, key: tuple[str, str], count: int, above: float) -> list[float]:
        found = self.samples.get(key, [])[-count:] if count else []
        return found if found and max(found) > above else []

    def calls(
        self, ok: int = 0, failed: int = 0, name: str = "search", ms: float = 10.0, **other: int
    ) -> None:
        key = (name, other.pop("source", "manual"))  # type: ignore[arg-type]
        before = self.counters.tools.get(key, (0, 0, 0, 0))
        new = (ok + failed + sum(other.values()), ok + failed, failed, ok + failed)
        tools = {**self.counters.tools, key: tuple(map(sum, zip(before, new, strict=True)))}
        self.samples.setdefault(key, []).extend([ms] * (ok + failed))
        self.counters = replace(self.counters, tools=tools)

    def lookups(self, hits: int, misses: int, name: str = "prices") -> None:
        key = (name, "manual")
        before = self.counters.caches.get(key, (0, 0))
        caches = {**self.counters.caches, key: (before[0] + hits, before[1] + misses)}
        self.counters = replace(self.counters, caches=caches)

    def spend(self, dollars: float) -> None:
        spent = self.counters.spent + round(1_000_000 * dollars)
        self.counters = replace(self.counters, spent=spent)

    def fault(self, place: str = "fold") -> None:
        faults = {**self.counters.faults, place: (self.counters.faults.get(place, (0,))[0] + 1,)}
        self.counters = replace(self.counters, faults=faults)

    def run(self, seconds: float, each: Callable[[], object] = lambda: None) -> list[str]:
        """Let time pass; `each` happens before every look. The states on the way, once each."""
        seen: list[str] = []
        until = self.time + seconds
        while self.time < until:
            self.time += self.every
            each()
            self.alerts = self.evaluator.evaluate(self.time, BEGAN + self.time, self.counters)
            for seen_now in sorted(f"{alert.finding.name} {alert.state}" for alert in self.alerts):
                if not seen or seen_now not in seen[-len(self.alerts) :]:
                    seen.append(seen_now)
        return seen

    @property
    def firing(self) -> set[str]:
        return {alert.finding.name for alert in self.alerts if alert.state == "firing"}

    def only(self) -> Alert:
        (alert,) = self.alerts
        return alert


QUIET = {"success_objective": False}  # what is not looked at here


def nothing(_process: Process) -> None:
    """No traffic."""


def failing(process: Process, share: int) -> Callable[[], None]:
    """So many of a hundred calls fail, each step."""
    return lambda: process.calls(ok=100 - share, failed=share)
