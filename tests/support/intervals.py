"""Whether the published time of a call is its handler's, and holds nothing of what is slow around.

A loaded machine makes everything longer, so no duration is compared with a limit. It is compared
with what it would be at least if a slow step had been counted, by the same clock and in the same
run.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

TOLERANCE_SECONDS = 1e-6
"""What rounding to milliseconds and back may take away."""


class Interval(NamedTuple):
    """From a start to an end, in seconds of `time.perf_counter`."""

    start: float
    end: float


@dataclass
class Steps:
    """The steps of one kind that were made, in their order."""

    made: list[Interval] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.made.append(Interval(start, time.perf_counter()))


class SlowLog(logging.Handler):
    """A logging handler that takes its time, as one does that draws boxes around tracebacks."""

    def __init__(self, seconds: float, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.seconds = seconds
        self.records = Steps()

    def emit(self, _record: logging.LogRecord) -> None:
        with self.records.step():
            time.sleep(self.seconds)


def is_the_handlers(seconds: float, handler: Interval, around: Steps) -> bool:
    """Return whether a call's time holds all of its handler's, and no step before or after."""
    start, end = handler
    with_a_step = [step.end - start for step in around.made if step.start >= end]
    with_a_step += [end - step.start for step in around.made if step.end <= start]
    return end - start - TOLERANCE_SECONDS <= seconds < min(with_a_step, default=math.inf)
