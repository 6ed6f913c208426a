"""This process as the worker that holds the port, among others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from metertap import outcomes
from metertap.recording import Recorder
from metertap.recording.figures import Whole
from metertap.workers import holder
from metertap.workers.group import WorkerGroup
from metertap.workers.ledger import Ledger
from metertap.workers.sections import of_process, of_recorder
from support.members import SERVICE


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def group(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> WorkerGroup:
    """This process as the holder of the port, with 5 calls, which waits for busy workers."""
    monkeypatch.setattr(holder, "_ASK_SECONDS", 60.0)
    recorder = Recorder()
    for _ in range(5):
        recorder.record_tool(recorder.tool("search", "library"), outcomes.OK, None, 1.0)
    whole = of_process(lambda figures: Whole(figures.start_time, 0, 0, 0.0, None, 1, None))
    ledger = Ledger(recorder, [*of_recorder(recorder), whole])
    group = WorkerGroup(SERVICE, ledger, lambda: "holder", lambda: None)
    stack.callback(group.end)
    assert group.join()
    assert group.join()  # again makes no difference
    return group
