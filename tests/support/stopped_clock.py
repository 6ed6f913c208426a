"""A clock that stands still until a test moves it."""

from __future__ import annotations

from types import ModuleType

import pytest


class StoppedClock:
    """Takes the place of `calls.clock`, in seconds."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self.now += seconds


def stopped(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> StoppedClock:
    """Put one such clock into each of `modules`."""
    clock = StoppedClock()
    for module in modules:
        monkeypatch.setattr(module, "clock", clock)
    return clock
