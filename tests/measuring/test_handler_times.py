"""A call of a framework takes as long as its handler, and not as long as what is around that."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import Any

import pytest

import metertap
from metertap import faults
from metertap.measuring import calls, frameworks, wrappers
from support.stopped_clock import StoppedClock, stopped

pytestmark = pytest.mark.interpreter


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    return stopped(monkeypatch, calls, frameworks)


def milliseconds(framework: Any, body: Any) -> float:
    """What is published of one call of a tool with that body."""
    framework.tools["search"] = body
    with contextlib.suppress(KeyError):
        framework.run("search")
    took: float = metertap.get_all_metrics()["tool_metrics"]["search"]["total_latency_ms"]
    assert faults.fault_counts() == {}
    return took


def test_a_call_takes_as_long_as_its_handler(framework: Any, clock: StoppedClock) -> None:
    handlers = framework.handlers
    handlers.handler_ended()  # of no call

    def body() -> None:
        clock.takes(2)
        handlers.handler_ended()
        clock.takes(4)
        handlers.handler_ended()

    assert milliseconds(framework, body) == 2000


def test_a_handler_that_is_tried_again_takes_all_of_its_tries(
    framework: Any, clock: StoppedClock
) -> None:
    def name_of(_instance: Any, _args: Any, _kwargs: Any) -> str:
        return "search"

    watched = wrappers.plain_wrapper(frameworks.HandlerTime(framework.handlers, name_of))

    def body() -> None:
        for seconds in (1, 2):
            clock.takes(8)
            watched(clock.takes, None, (seconds,), {})

    assert milliseconds(framework, body) == 11000  # with what the framework does between them


@pytest.mark.parametrize("error", [None, KeyError("k")])
def test_what_is_untimed_is_not_the_handlers(
    error: KeyError | None, framework: Any, clock: StoppedClock
) -> None:
    def log() -> int:
        clock.takes(4)
        if error is not None:
            raise error
        return 5

    def body() -> None:
        clock.takes(1)
        with contextlib.suppress(KeyError):
            assert framework.handlers.untimed(log, None, (), {}) == 5
        framework.handlers.handler_ended()
        with contextlib.suppress(KeyError):
            framework.handlers.untimed(log, None, (), {})

    assert milliseconds(framework, body) == 1000
    with contextlib.suppress(KeyError):
        framework.handlers.untimed(log, None, (), {})  # in no call
    if error is not None and sys.version_info >= (3, 11):
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        assert frameworks.__file__ not in files


@pytest.mark.parametrize("error", [None, KeyError("k")])
def test_a_handler_that_is_watched_tells_its_time(
    error: KeyError | None, framework: Any, clock: StoppedClock
) -> None:
    def handle() -> None:
        clock.takes(2)
        if error is not None:
            raise error

    def name_of(_instance: Any, args: Any, _kwargs: Any) -> str:
        return "another" if args else "search"

    def another() -> None:
        clock.takes(8)

    watched = wrappers.plain_wrapper(frameworks.HandlerTime(framework.handlers, name_of))

    def body() -> None:
        clock.takes(1)
        try:
            watched(handle, None, (), {})
        finally:
            clock.takes(4)
            watched(lambda _: another(), None, (1,), {})

    assert milliseconds(framework, body) == 2000
    if error is not None and sys.version_info >= (3, 11):
        files = {frame.filename for frame in traceback.extract_tb(error.__traceback__)}
        assert files.isdisjoint({frameworks.__file__, wrappers.__file__})
