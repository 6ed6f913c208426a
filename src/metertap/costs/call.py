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
"""Reads a usage from an object of the client. Raises Unusable."""


class Call:
    """One call of a model: the tool that made it, the request, the provider, and its end."""

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
        """The frame of the tool's call that made it."""
        self.era = recorder().era
        """The era of the recorder in which it began, and in which it counts."""
        self.tool = NO_TOOL if frame is None else frame[SERIES].name
        self.after_miss = frame is not None and frame[MISSED]
        self.is_retry = self.is_repeat = self.is_over = False
        self.usage: Usage | None = None
        """The usage; None if the provider has not reported it."""
        self.reported: tuple[Read, dict[str, Any]] | None = None
        """A usage that is not read yet, with the function that reads it."""
        self.model = self.answered = self.tier = ""
        """The model that is charged, and the one that the response names, if any."""
        self.error_type: str | None = None
        """The type of the exception that ended the call; None if it went well."""
        self.seconds: float | None = None
        """The duration; None without a clock."""
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
        """Read a usage now. An unusable one is a warning, and the call has none."""
        try:
            usage = read(*found)
            if usage is not None:
                self.usage = usage
        except Unusable as problem:
            self.usage = None
            unusable(self.provider, problem)


def unusable(provider: str, problem: Unusable) -> None:
    """Warn once that a provider reports an impossible usage, which is left out."""
    faults.warn_once(
        f"usage {provider}",
        "a usage that %s reports cannot be used (%s); such calls count without tokens",
        faults.shown(provider, str),
        str(problem),
    )
