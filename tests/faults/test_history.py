"""Faults of our own in the thread that writes the history cost one interval, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metertap import catalogue, faults, outcomes
from metertap.history import writer
from metertap.history.file_answers import FileAnswers
from metertap.history.writer import HistoryWriter
from metertap.recording import Recorder
from support import breaking

LONG = 60.0
"""More seconds than any of this takes."""
BRIEF = 0.01
"""Seconds that what hangs is waited for."""


def kept(path: Path) -> int:
    """Calls of the tool in the file."""
    with closing(FileAnswers(path)) as answers:
        until = time.time() + 100
        found = [*answers.slices(since=until - 1e6, until=until, step=1e7, by="version")]
    return sum(each.calls for each in found if each.subject.name == "search")


class Process:
    """A recorder, and what writes its history."""

    def __init__(self, path: Path) -> None:
        self.recorder = Recorder()
        self.writer = HistoryWriter(path, 10**7, self.recorder, lambda: {"name": "shop"})
        self.writer.start()

    def works(self) -> None:
        """Record one of everything."""
        with faults.guarded("recording"):
            recorder, metric = self.recorder, catalogue.SERVER_DURATION
            recorder.record_tool(recorder.tool("search", "library"), outcomes.OK, None, 0.1)
            recorder.record_operation("ping", metric, {catalogue.MCP_METHOD: "ping"}, 1.0)
            recorder.cache_looked_up(recorder.cache("prices", "redis"), True, None)

    def lives(self, seconds: float) -> None:
        """Work, and end."""
        for _ in range(2):
            self.works()
            with faults.guarded("flush"):
                self.writer.flush(time.monotonic() + seconds)
        with faults.guarded("close"):
            self.writer.close(time.monotonic() + seconds)


def problem_of(process: Process) -> Any:
    """What `metertap doctor` has to say."""
    return faults.fault_counts() or process.writer.described()["problem"]


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Process]:
    """Make a process whose functions all work yet."""
    return lambda: Process(tmp_path / "history.db")


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_anywhere_in_ours_costs_the_history_one_interval(
    tmp_path: Path, fresh: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_EVERY", 1)  # when it is tried again
    path, wrong = tmp_path / "history.db", []
    processes = [fresh()]

    def use() -> None:
        processes[-1].lives(LONG)

    use()
    assert kept(path) == 2
    processes.append(fresh())
    before = 0

    def prepare() -> None:
        nonlocal before
        before = kept(path)
        processes.append(fresh())

    for code in breaking.each_broken(use, once=True, prepare=prepare):
        name = breaking.name_of(code)
        use()
        starts_it = code.co_name in {"_begin", "start"}  # the thread that keeps them
        if kept(path) - before < 1 and not starts_it:
            wrong.append(f"{name}: {kept(path) - before} of 2 calls are kept")
        if breaking.reached and not problem_of(processes[-1]):
            wrong.append(f"{name}: was told to nobody")
    assert not wrong, "\n".join(wrong)


@pytest.mark.faults
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_hangs_anywhere_in_ours_delays_no_call_and_no_end(
    fresh: Callable[[], Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_SLOW_SECONDS", 0.0)
    wrong: list[str] = []
    processes = [fresh()]

    walk = breaking.each_hanging(
        lambda: processes[-1].lives(LONG), lambda: processes.append(fresh())
    )
    for code in walk:
        name = breaking.name_of(code)
        thread = threading.Thread(target=processes[-1].lives, args=(BRIEF,))
        thread.start()
        thread.join(LONG)
        if thread.is_alive():
            wrong.append(f"{name}: hangs")
        elif breaking.reached and not problem_of(processes[-1]):
            wrong.append(f"{name}: was told to nobody")
    assert not wrong, "\n".join(wrong)
