"""Workers whose files something else removes, as cleaners of temporary files do, stay counted."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from metertap.workers import holder, members
from metertap.workers.group import WorkerGroup
from metertap.workers.holder import LEFT, NOT_REACHED, REACHED
from metertap.workers.members import LOCK, PAST, SOCKET, TOTALS, Files
from metertap.workers.sections import FIGURES
from support.members import ASK_SECONDS, SERVICE, Member, another, calls
from support.waiting import stop, wait_for

pytestmark = pytest.mark.programs


def path_of(member: Member, suffix: str) -> Path:
    return Path(Files(SERVICE).name(members.member(member.process.pid), suffix))


def states(group: WorkerGroup) -> list[tuple[str, str | None]]:
    gathered = group.gathered(FIGURES)
    assert gathered is not None
    return [(worker.state, worker.reason) for worker in gathered.workers[1:]]


@pytest.mark.parametrize("suffixes", [(SOCKET,), (TOTALS,), (SOCKET, TOTALS)])
def test_a_worker_whose_files_are_removed_puts_them_back(
    group: WorkerGroup, stack: ExitStack, suffixes: tuple[str, ...]
) -> None:
    other = another(stack, calls=7)
    wait_for(other.has_written)
    assert calls(group.gathered(FIGURES)) == 12
    for suffix in suffixes:
        path_of(other, suffix).unlink()
    assert calls(group.gathered(FIGURES)) == 12
    assert states(group) == [(REACHED, None)]  # by the connection that was there
    for suffix in suffixes:
        wait_for(path_of(other, suffix).exists)
    other.does("call 1")
    witness = another(stack)  # which has no connection yet
    assert witness.does("counted") == [13, 0]
    other.kill()
    assert calls(group.gathered(FIGURES)) == 13


def test_a_worker_without_files_that_does_not_answer_is_not_reached_and_stays_counted(
    group: WorkerGroup, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another(stack, calls=7)
    wait_for(other.has_written)
    assert calls(group.gathered(FIGURES)) == 12
    stop(other.process.pid)
    monkeypatch.setattr(holder, "_ASK_SECONDS", ASK_SECONDS)
    for suffix in (SOCKET, TOTALS):
        path_of(other, suffix).unlink()
    for _ in range(2):
        assert calls(group.gathered(FIGURES)) == 12
        assert states(group) == [(NOT_REACHED, f"no answer within {ASK_SECONDS} s")]
    other.kill()
    for _ in range(2):
        assert calls(group.gathered(FIGURES)) == 12
    gathered = group.gathered(FIGURES)
    assert gathered is not None
    assert (gathered.ended, gathered.killed) == (1, 1)


def test_a_worker_that_nobody_has_asked_is_no_worker_that_left(
    group: WorkerGroup, stack: ExitStack
) -> None:
    other, gone = another(stack, calls=7), another(stack, calls=3)
    wait_for(other.has_written)
    stop(other.process.pid)
    path_of(other, SOCKET).unlink()
    gone.does("end")
    found = dict(states(group))
    assert found == {NOT_REACHED: "its socket was removed", LEFT: None}
    assert calls(group.gathered(FIGURES)) == 15


def test_a_folder_that_is_removed_is_there_again_and_no_count_decreases(
    group: WorkerGroup, stack: ExitStack
) -> None:
    group.keep_port("json", 9110)
    ended, other = another(stack, calls=10), another(stack, calls=7)
    assert calls(group.gathered(FIGURES)) == 22
    ended.kill()
    wait_for(lambda: Path(Files(SERVICE).past).exists())
    assert other.does("counted") == [22, 1]
    shutil.rmtree(Files(SERVICE).folder)
    expected = sorted([LOCK, PAST, SOCKET, SOCKET, TOTALS, TOTALS])
    until = time.monotonic() + 60
    while sorted(path.suffix for path in Path(Files(SERVICE).folder).iterdir()) != expected:
        assert time.monotonic() < until
        assert calls(group.gathered(FIGURES)) == 22
        assert other.does("counted") == [22, 1]
    third = another(stack)
    assert not third.does("join")  # the lock is this process's still
    third.kill()  # else it might be the one that takes the lock
    group.end()
    assert other.does("holds 60") is True
    assert other.does("port") == [9110, True]
    assert other.does("counted") == [22, 2]


def test_a_folder_that_cannot_be_made_again_is_told_once(
    group: WorkerGroup, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    other = another(stack, calls=7)
    assert calls(group.gathered(FIGURES)) == 12
    folder = Path(Files(SERVICE).folder)
    shutil.rmtree(folder)
    folder.write_text("something else")
    wait_for(lambda: "other workers do not find this one" in caplog.text)
    assert calls(group.gathered(FIGURES)) == 12
    folder.unlink()
    wait_for(lambda: folder.is_dir() and other.has_written())
    assert caplog.text.count("other workers do not find this one") == 1
