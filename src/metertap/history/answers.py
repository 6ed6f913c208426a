"""Questions to a history, whether a file or an engine keeps it.

`FileAnswers` reads the file of `METERTAP_HISTORY`; engines that speak PromQL answer the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from metertap import outcomes
from metertap.history.sketch import Sketch
from metertap.recording.usage_series import NO_TOOL

Kind = Literal["tool", "cache", "operation", "model"]
KINDS: tuple[Kind, ...] = ("tool", "cache", "operation")
"""The default kinds of a question: models are left out, which have no calls of their own."""
By = Literal["none", "version", "instance"]
"""The criterion that separates series beside the subject and the service."""

NO_SOURCE = "model"
"""The source of model calls that no tool made."""
ERROR = "error"
"""The outcome of an MCP operation that has an `error.type`."""
_FAILED = outcomes.FAILED | {ERROR}


class HistoryError(Exception):
    """A history that cannot be read or written; the text is one line for people."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject of measurement: a tool, a cache, an MCP operation of a side, a provider's model."""

    kind: Kind
    name: str
    source: str
    """A tool's library, a cache's system, an operation's `server` or `client`, or a provider."""

    @property
    def is_no_tool(self) -> bool:
        """Whether it stands for model calls that no tool made."""
        return (self.kind, self.name) == ("tool", NO_TOOL) and self.source in ("", NO_SOURCE)


@dataclass(slots=True)
class Slice:
    """Measurements of one subject in one period, times in Unix seconds.

    `version` and `instance` are empty where they are not known, or not told apart.
    """

    subject: Subject
    service: str
    version: str
    instance: str
    start: float
    end: float
    outcomes: dict[str, int] = field(default_factory=dict)
    """Calls by outcome (`metertap.outcomes`); of operations `ok` and `error`."""
    error_types: dict[str, int] = field(default_factory=dict)
    latency: Sketch | None = None
    """Latencies of calls that went well or failed; None where no duration is known."""
    hits: int = 0
    misses: int = 0
    extra: dict[str, float] = field(default_factory=dict)
    """Other sums, such as evictions, tokens, costs and bytes."""

    @property
    def calls(self) -> int:
        """The calls of every outcome."""
        return sum(self.outcomes.values())

    @property
    def failed(self) -> int:
        """The calls that failed by the server's fault."""
        return sum([count for name, count in self.outcomes.items() if name in _FAILED])

    @property
    def error_rate(self) -> float | None:
        """Share (0 to 1) of failed calls among those that went well or failed."""
        failed = self.failed
        judged = failed + self.outcomes.get(outcomes.OK, 0)
        return failed / judged if judged else None

    @property
    def hit_rate(self) -> float | None:
        """Share (0 to 1) of lookups that hit."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a service, and the time of its first measurement, in Unix seconds."""

    service: str
    version: str
    """The version; empty if the program does not give it."""
    first_seen: float
    last_seen: float


class Answers(Protocol):
    """A source of measurements. Methods raise `HistoryError`."""

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
        """Yield the measurements from `since` to `until`, in periods of `step` seconds.

        Periods are multiples of `step` since 1970. They are longer where nothing so fine is kept,
        and the first may begin before `since`. A `step` that is not shorter than the whole time
        makes one period. Earlier periods come first, and periods without data are left out.
        """

    def services(self) -> list[str]:
        """List the services by name."""

    def versions(self, service: str | None = None) -> list[Version]:
        """List the versions of one service, or of all, first seen first."""

    def close(self) -> None:
        """Let go of files and connections."""
