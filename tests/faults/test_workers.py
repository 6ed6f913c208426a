"""Faults of our own in workers, which ask each other and answer, cost one answer of theirs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from metertap import faults, outcomes
from metertap.recording import Recorder
from metertap.workers.group import WorkerGroup
from metertap.workers.ledger import Ledger
from metertap.workers.sections import FIGURES, of_recorder
from support import breaking
from support.members import ASK_SECONDS, SERVICE, Member, another

pytestmark = pytest.mark.programs

LONG = 60.0
"""More seconds than any of this takes."""
LATE = 20.0
"""Seconds in which workers do answer each other."""
BRIEF = 0.01
"""Seconds that the end waits for what hangs."""


@pytest.fixture
def other() -> Iterator[Member]:
    """The worker that holds the port, with 7 calls. It soon gives up one that hangs."""
    with ExitStack() as stack:
        yield another(stack, calls=7, ask_seconds=ASK_SECONDS)


told = faults.fault_counts


class Worker:
    """This process as a worker beside `other`, with a call of each of two tools."""

    def __init__(self, other: Member) -> None:
        self.other = other
        self.recorder = recorder = Recorder()
        self.calls()
        self.group = WorkerGroup(
            SERVICE, Ledger(recorder, of_recorder(recorder)), lambda: "worker", lambda: None
        )

    def calls(self) -> None:
        """Call each tool."""
        for name in ("search", "fetch"):
            self.recorder.record_tool(self.recorder.tool(name, "library"), outcomes.OK, None, 1.0)

    def asks(self) -> dict[str, int]:
        """Calls of each tool that this worker knows."""
        gathered = self.group.gathered(FIGURES)
        tools = {} if gathered is None else gathered.merged["tools"]
        return {part.figures.name: part.figures.succeeded for part in tools.values()}

    def lives(self, usual: list[object] | None = None) -> list[object]:
        """Join, ask twice and be asked twice, and leave; what the second answers were.

        Where they are not the usual ones, they are asked for again: on a busy machine a worker may
        answer late.
        """
        with faults.guarded("join"):
            self.group.join()
        until = time.monotonic() + LATE
        for number in itertools.count(1):
            found = [self.asks(), self.other.does("counted")]
            with faults.guarded("write"):
                self.group.saving.write()
            if number > 1 and (found == usual or time.monotonic() > until):
                break
        with faults.guarded("end"):
            self.group.end()
        return found


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_fault_anywhere_in_ours_costs_workers_one_answer(other: Member) -> None:
    workers = [Worker(other)]
    usual: list[object] = [{"search": 8, "fetch": 1}, [9, 0]]
    wrong: list[str] = []
    assert workers[-1].lives(usual) == usual
    workers.append(Worker(other))
    walk = breaking.each_broken(
        lambda: workers[-1].lives(usual), once=True, prepare=lambda: workers.append(Worker(other))
    )
    for code in walk:
        name = breaking.name_of(code)
        try:
            found = workers[-1].lives(usual)
        except Exception as error:
            found = [repr(error)]
        if found != usual:
            wrong.append(f"{name}: {found} instead of {usual}")
        if breaking.reached and not told():
            wrong.append(f"{name}: was told to nobody")
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_what_hangs_anywhere_in_ours_delays_no_call_and_no_end(other: Member) -> None:
    workers, wrong = [Worker(other)], []

    def use() -> None:
        """Call a tool and end, as a program does; the other worker is told what is known."""
        workers[-1].group.join()
        assert other.does("counted")[0] > 7
        workers[-1].calls()
        ends = threading.Thread(target=workers[-1].group.end)  # as `listing.briefly` does
        ends.start()
        ends.join(BRIEF)

    usual: list[object] = [{"search": 8, "fetch": 1}, [9, 0]]
    walk = breaking.each_hanging(
        lambda: workers[-1].lives(usual), lambda: workers.append(Worker(other))
    )
    for code in walk:
        name = breaking.name_of(code)
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(LONG)
        if thread.is_alive():
            wrong.append(f"{name}: hangs")
    assert not wrong, "\n".join(wrong)
