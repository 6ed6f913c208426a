"""Counts of workers that have ended or left stay, and each is counted once."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from metertap.recording import Recorder
from metertap.workers import members, records
from metertap.workers.group import WorkerGroup
from metertap.workers.members import TOTALS, Files
from metertap.workers.sections import FIGURES, of_recorder
from support.members import MEMBER, SERVICE, Member, another, calls
from support.programs import started
from support.waiting import wait_for

pytestmark = pytest.mark.programs


def test_a_worker_that_holds_no_port_counts_the_ended_once(
    group: WorkerGroup, stack: ExitStack
) -> None:
    witness, other = another(stack, calls=1), another(stack, calls=10)
    assert witness.does("join") is other.does("join") is False
    assert witness.does("counted") == [16, 0]
    other.kill()
    assert witness.does("counted") == [16, 1]  # maybe before the holder has seen it
    assert calls(group.gathered(FIGURES)) == 16
    assert witness.does("counted") == [16, 1]  # from what the holder keeps


def test_counts_of_killed_workers_stay_in_one_file(group: WorkerGroup, stack: ExitStack) -> None:
    others = [another(stack, calls=10) for _ in range(3)]
    assert calls(group.gathered(FIGURES)) == 35
    for other in others:
        other.kill()
    for _ in range(3):
        gathered = group.gathered(FIGURES)
        assert calls(gathered) == 35
        assert gathered is not None
        assert (len(gathered.workers), gathered.ended) == (1, 3)
    names = sorted(path.suffix for path in Path(Files(SERVICE).folder).iterdir())
    assert names == [".lock", ".past", ".sock", ".totals"]


def test_workers_that_were_killed_are_told_from_those_that_left(
    group: WorkerGroup, stack: ExitStack
) -> None:
    left, killed, hasty = another(stack, calls=10), another(stack, calls=10), another(stack)
    assert calls(group.gathered(FIGURES)) == 25
    Path(Files(SERVICE).name(members.member(hasty.process.pid), TOTALS)).unlink(missing_ok=True)
    left.does("end")
    for one in (left, killed, hasty):
        one.kill()
    gathered = group.gathered(FIGURES)
    assert calls(gathered) == 25
    assert gathered is not None
    assert (gathered.ended, gathered.killed) == (3, 2)


def test_what_nobody_has_asked_is_known_a_second_later(
    group: WorkerGroup, stack: ExitStack
) -> None:
    other = another(stack, calls=10)
    wait_for(other.has_written)
    other.kill()
    assert calls(group.gathered(FIGURES)) == 15


@pytest.mark.parametrize("has_joined", [True, False])
def test_a_process_that_only_starts_others_leaves_them_what_it_counted_before(
    has_joined: bool, stack: ExitStack
) -> None:
    supervisor = Member(stack.enter_context(started((*MEMBER, "60"))))
    supervisor.does("call 10")
    if has_joined:
        assert supervisor.does("join")
    supervisor.does("rest")
    one, two = another(stack, calls=1), another(stack, calls=2)
    assert one.does("counted") == two.does("counted") == [13, 0]
    supervisor.kill()
    assert two.does("counted") == [13, 1]
    one.kill()
    assert two.does("holds 60")
    assert two.does("counted") == [13, 2]


def test_a_worker_that_ends_before_it_has_joined_leaves_its_totals(
    group: WorkerGroup, stack: ExitStack
) -> None:
    hasty = Member(stack.enter_context(started((*MEMBER, "60"))))
    hasty.does("call 7")
    hasty.does("tell")  # as at its end
    hasty.kill()
    gathered = group.gathered(FIGURES)
    assert calls(gathered) == 12
    assert gathered is not None
    assert gathered.ended == 1


def test_totals_that_are_contained_already_do_not_count_twice(
    group: WorkerGroup, stack: ExitStack
) -> None:
    other = another(stack, calls=10)
    wait_for(other.has_written)
    files = Files(SERVICE)
    path = Path(files.name(members.member(other.process.pid), TOTALS))
    text = path.read_bytes()
    other.kill()
    assert calls(group.gathered(FIGURES)) == 15
    path.write_bytes(text)  # as if the holder had been killed before it removed the file
    assert calls(group.gathered(FIGURES)) == 15
    wait_for(lambda: not path.exists())


def test_a_worker_that_is_contained_for_a_while_does_not_count_twice(
    group: WorkerGroup, stack: ExitStack
) -> None:
    one, other = another(stack, calls=10), another(stack, calls=100)
    wait_for(lambda: one.has_written() and other.has_written())
    path = Path(Files(SERVICE).name(members.member(one.process.pid), TOTALS))
    text = path.read_bytes()
    one.kill()
    wait_for(lambda: not path.exists())
    other.kill()
    wait_for(lambda: len(Files(SERVICE).members()) <= 1)
    path.write_bytes(text)  # as if a thread of its had been slow to end
    assert calls(group.gathered(FIGURES)) == 115
    wait_for(lambda: not path.exists())
    assert calls(group.gathered(FIGURES)) == 115


THREAD_ALONE = """
import ctypes, sys, threading
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).pthread_exit(None)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system has no /proc")
def test_a_process_of_which_one_thread_is_left_has_not_ended(stack: ExitStack) -> None:
    process = stack.enter_context(started([sys.executable, "-c", THREAD_ALONE]))
    member = members.member(process.pid)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_for(lambda: b") Z " in stat.read_bytes())
    assert member.is_alive
    assert process.stdin is not None
    process.stdin.close()
    process.stdin = None
    wait_for(lambda: not member.is_alive)


def test_what_was_told_is_written_down_for_whoever_asks_next(
    group: WorkerGroup, stack: ExitStack
) -> None:
    other = another(stack, calls=10)
    assert calls(group.gathered(FIGURES)) == 15
    path = Path(Files(SERVICE).name(members.member(other.process.pid), TOTALS))
    sections = {section.name: section for section in of_recorder(Recorder())}

    def told() -> int:
        tools = records.read(path.read_bytes(), sections).sheet["tools"]
        return sum(part.figures.succeeded for part in tools.values())

    wait_for(path.exists)
    assert wait_for(told) == 10
    other.does("call 1")
    assert calls(group.gathered(FIGURES)) == 16
    wait_for(lambda: told() == 11)


def test_who_has_left_writes_nothing_any_more(group: WorkerGroup, stack: ExitStack) -> None:
    another(stack, calls=10)
    assert calls(group.gathered(FIGURES)) == 15
    group.end()
    own = Path(Files(SERVICE).name(members.me(), TOTALS))
    own.unlink()
    group.saving.taken(FIGURES)  # for a request that is answered yet
    group.saving.write(is_last=True)
    written = {path.name.partition("-")[0] for path in own.parent.glob(f"*{TOTALS}")}
    assert not written & {"0", str(os.getpid())}


def test_who_leaves_the_port_answers_what_was_gathered_last(
    group: WorkerGroup, stack: ExitStack
) -> None:
    another(stack, calls=10)
    assert calls(group.gathered(FIGURES)) == 15
    group.end()
    assert calls(group.gathered(FIGURES)) == 15


def test_totals_that_cannot_be_written_count_all_the_same(
    group: WorkerGroup, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another(stack, calls=10)
    assert calls(group.gathered(FIGURES)) == 15

    def full(_self: Files, path: str, _text: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patched:
        patched.setattr(Files, "write", full)
        other.kill()
        wait_for(lambda: not members.member(other.process.pid).is_alive)
        for _ in range(2):
            assert calls(group.gathered(FIGURES)) == 15
    assert calls(group.gathered(FIGURES)) == 15
    assert Path(Files(SERVICE).past).exists()


def test_a_service_that_is_started_anew_counts_from_zero(stack: ExitStack) -> None:
    first, second = another(stack, calls=7), another(stack, calls=9)
    wait_for(lambda: first.has_written() and second.has_written())
    first.kill()
    second.kill()
    third, fourth = another(stack, calls=1), another(stack, calls=2)
    assert wait_for(lambda: third.does("counted")) == [3, 0]
    fourth.does("end")
    third.does("end")
    left = {path.suffix for path in Path(Files(SERVICE).folder).iterdir()}
    assert ".past" not in left
