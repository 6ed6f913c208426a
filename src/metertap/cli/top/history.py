"""The readings of the last minutes of one process, and their drawing as a line of small bars."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from metertap.cli.top.readings import Reading
from metertap.tables.percentiles import percentile

_STEPS = 60
_STEP_SECONDS = 5.0
_LEVELS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class _Frame:
    """The last reading within one step of time: calls and p95 in milliseconds, by tool."""

    step: int
    at: float
    tools: dict[str, tuple[int, float | None]]


class History:
    """The last reading within each step of time, measured by the clock of the process."""

    def __init__(self, interval: float = 1.0) -> None:
        # A step is at least two intervals long, so that a reading falls into every step.
        self.step_seconds = max(_STEP_SECONDS, 2 * interval)
        self._frames: deque[_Frame] = deque(maxlen=_STEPS + 1)

    def add(self, reading: Reading) -> None:
        """Add a reading, and forget those before a restart or reset of the process."""
        if reading.began_anew:
            self._frames.clear()
        step = int(reading.uptime_seconds // self.step_seconds)
        frame = _Frame(
            step,
            reading.uptime_seconds,
            {
                tool.name: (tool.uses, percentile(tool.figures, "p95").milliseconds)
                for tool in reading.tools
            },
        )
        if self._frames and self._frames[-1].step == step:
            self._frames[-1] = frame
        else:
            self._frames.append(frame)

    @property
    def seconds(self) -> float:
        """The seconds between the first and the last reading that are kept."""
        return self._frames[-1].at - self._frames[0].at if self._frames else 0.0

    def calls_per_second(self, tool: str) -> list[float | None]:
        """Return the rate of calls in each step, latest last; None for a step without a reading."""
        rates: list[float | None] = []
        for before, frame in self._pairs():
            rate = None
            if before is not None and tool in frame.tools and frame.at > before.at:
                # A tool that was not there before has begun at 0 calls since then.
                calls, _ = before.tools.get(tool, (0, None))
                change = frame.tools[tool][0] - calls
                rate = change / (frame.at - before.at) if change >= 0 else None
            rates += [None] * self._missed(before, frame)
            rates.append(rate)
        while rates and rates[0] is None:
            del rates[0]  # a rate needs two readings
        return rates[-_STEPS:]

    def p95_latency_ms(self, tool: str) -> list[float | None]:
        """Return the p95 at the end of each step, in milliseconds, the latest last."""
        found: list[float | None] = []
        for before, frame in self._pairs():
            found += [None] * self._missed(before, frame)
            found.append(frame.tools.get(tool, (0, None))[1])
        while found and found[0] is None:
            del found[0]
        return found[-_STEPS:]

    def _pairs(self) -> Iterator[tuple[_Frame | None, _Frame]]:
        before = None
        for frame in self._frames:
            yield before, frame
            before = frame

    @staticmethod
    def _missed(before: _Frame | None, frame: _Frame) -> int:
        """Return the number of steps between two readings that have none, as in a hung process."""
        return 0 if before is None else min(_STEPS, frame.step - before.step - 1)


def bars(values: list[float | None]) -> str:
    """Return a bar for each value: blank for None, the lowest only for 0, full for the highest."""
    most = max((value for value in values if value is not None), default=0.0)

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        if value <= 0 or most <= 0:
            return _LEVELS[0]
        return _LEVELS[max(1, round(value / most * (len(_LEVELS) - 1)))]

    return "".join(map(bar, values))
