"""Time limits by signals, as job queues set them: what a handler raises is the program's."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any

import pytest

from metertap import faults
from support.programs import NO_LIBRARIES, run

pytestmark = [pytest.mark.interpreter, pytest.mark.faults]


class TimeLimit(Exception):
    pass


class Job:
    """What a queue has for a job: its handler is a method, and may call another one."""

    def over(self, number: int, frame: FrameType | None) -> None:
        raise TimeLimit

    def warned(self, *arguments: Any) -> None:
        self.over(*arguments)


class Clock:
    """A handler that is an object, and lets go of what it does not need."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        raise TimeLimit


def over(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise TimeLimit


def over_later(_limit: float, number: int, frame: FrameType | None) -> None:
    frame = None
    raise TimeLimit(number, frame)


HANDLERS = [
    Job().over,
    Job().warned,
    lambda *given: Job().over(*given),
    over,
    Clock(),
    Clock().__call__,
    partial(partial(over_later), 0.5),
]


@pytest.fixture(params=HANDLERS)
def limited(request: pytest.FixtureRequest) -> Iterator[None]:
    before = signal.signal(signal.SIGUSR1, request.param)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("limited")
def test_what_a_signal_handler_raises_in_the_middle_of_ours_passes() -> None:
    def swallows() -> None:
        try:
            signal.raise_signal(signal.SIGUSR1)
        except Exception as error:
            faults.fault("here", error)

    for call in (swallows, lambda: faults.kept("here", swallows, None)):
        with pytest.raises(TimeLimit):
            call()
    with pytest.raises(TimeLimit), faults.guarded("here"):
        signal.raise_signal(signal.SIGUSR1)
    assert faults.fault_counts() == {}


def test_what_an_object_of_the_programs_raises_when_it_is_asked_is_a_fault() -> None:
    def raises(*_frames: object) -> None:
        raise TimeLimit

    with faults.guarded("here"):
        raises((one for one in ()).gi_frame)  # nobody was interrupted there
    assert faults.fault_counts() == {"here": 1}


class Curious:
    """It looks at who asks for what it does not have."""

    def __getattr__(self, name: str) -> Any:
        caller = sys._getframe(1)
        raise TimeLimit(caller.f_lineno, name)


def test_what_an_object_raises_that_looks_at_its_caller_is_a_fault() -> None:
    with faults.guarded("here"):
        Curious().handler  # noqa: B018
    assert faults.fault_counts() == {"here": 1}


def _refuses(_error: object) -> None:
    raise TimeLimit


# An exception of the program's that cannot be asked where it was raised.
Lying: Any = type("Lying", (Exception,), {"__traceback__": property(_refuses)})


def test_what_cannot_be_told_of_a_signal_is_a_fault() -> None:
    odd: dict[str, Any] = {"__name__": None, "Lying": Lying}
    exec("def raises(*_):\n    raise Lying", odd)
    for _ in range(2):
        with faults.guarded("here"):
            odd["raises"](1)
        faults.fault("there", Lying())
    assert faults.fault_counts() == {"here": 2, "there": 2}


def test_a_fault_at_the_limit_of_recursion_is_one() -> None:
    def deeper() -> None:
        with faults.guarded("here"):
            deeper()

    deeper()
    assert faults.fault_counts().keys() <= {"here"}


@pytest.mark.programs
def test_no_time_limit_is_lost_wherever_it_comes() -> None:
    program = """
import json, signal, time
import metertap

metertap.instrument(json_endpoint=False)

@metertap.tool
def parse(number):
    if number % 3 == 0:
        raise ValueError(number)

class TimeLimit(Exception):
    pass

def over(*_):
    global fired
    fired = True
    raise TimeLimit

def works(until):
    number = 0
    while time.monotonic() < until:
        number += 1
        try:
            parse(number)
        except ValueError:
            pass

signal.signal(signal.SIGALRM, over)
lost = 0
for turn in range(150):
    fired = False
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.003 + turn * 7e-6)
            works(time.monotonic() + 0.05)
            lost += fired
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeLimit:
        pass
print(json.dumps([lost, metertap.get_all_metrics()["tool_metrics"]["parse"]["total_calls"] > 0]))
"""
    done = run(sys.executable, "-c", program, env=NO_LIBRARIES)
    assert json.loads(done.stdout) == [0, True], done.told
