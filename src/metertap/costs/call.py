"""What is known of one model call, from its request to its record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metertap import faults
from metertap.costs.usage import Unusable, Usage
from metertap.measuring.calls import MISSED, SERIES, clock, in_progress
from metertap.recording.usage_series import NO_TOOL
from metertap.state import recorder

Read = Callable[..., Usage | None]
"""Reads a usage from what was found. Raises Unusable."""


class Call:
    """One call of a model: where it was made, what was asked of whom, and how it ended."""

    __slots__ = (
        "after_miss",
        "answered",
        "at",
        "ended",
        "era",
        "error_type",
        "frame",
        "is_over",
        "is_repeat",
        "is_retry",
        "model",
        "operation",
        "provider",
        "reported",
        "requested",
        "seconds",
        "server",
        "started",
        "tier",
        "tool",
        "usage",
    )

    def __init__(
        self, provider: str, operation: str, requested: str, server: tuple[str, int] | None
    ) -> None:
        self.provider = provider
        self.operation = operation
        self.requested = requested
        self.server = server
        self.frame = frame = in_progress()
        """The tool's call that it is part of."""
        self.era = recorder().era
        """The era of the recorder that it began in, and counts in."""
        self.tool = NO_TOOL if frame is None else frame[SERIES].name
        self.after_miss = frame is not None and frame[MISSED]
        self.is_retry = self.is_repeat = self.is_over = False
        self.usage: Usage | None = None
        """The usage; None if the provider has not reported it."""
        self.reported: tuple[Read, dict[str, Any]] | None = None
        """A usage that is not read yet, and by which function it is."""
        self.model = self.answered = self.tier = ""
        """The model to be charged; the one that the response names, if any."""
        self.error_type: str | None = None
        """What the call raised; None if it went well."""
        self.seconds: float | None = None
        """How long it took; None without a clock."""
        self.started = clock()
        self.ended: float
        """When it ended, by `clock`."""
        self.at: float
        """When it ended, in Unix seconds."""

    def settle(self) -> None:
        """Read the usage that was reported last, if that is not done yet. Never raises."""
        if self.reported is not None:
            read, found = self.reported
            with faults.guarded("model call"):
                self.take(read, found)
            self.reported = None

    def take(self, read: Read, *found: Any) -> None:
        """Read a usage now. If it cannot be used, the call has none, and one warning is given."""
        try:
            usage = read(*found)
            if usage is not None:
                self.usage = usage
        except Unusable as problem:
            self.usage = None
            unusable(self.provider, problem)


def unusable(provider: str, problem: Unusable) -> None:
    """Warn once that a provider reports an impossible usage: such calls have none."""
    faults.warn_once(
        f"usage {provider}",
        "a usage that %s reports cannot be used (%s); such calls count without tokens",
        provider,
        str(problem),
    )
