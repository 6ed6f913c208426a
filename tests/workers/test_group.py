"""Workers find each other, take each other's place, and believe nothing that they are told."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from metertap import faults, outcomes
from metertap.recording import Recorder
from metertap.recording.figures import Whole
from metertap.workers import holder, members, records
from metertap.workers.group import WorkerGroup
from metertap.workers.holder import NOT_REACHED, REACHED, Gathered, Holder
from metertap.workers.holding import Hold
from metertap.workers.ledger import Ledger
from metertap.workers.lines import Line
from metertap.workers.members import SOCKET, TOTALS, Files
from metertap.workers.sections import FIGURES, of_process, of_recorder
from metertap.workers.wire import framed
from support.programs import started
from support.waiting import stop, wait_for

pytestmark = pytest.mark.programs

SERVICE = members.key("shop", "json 127.0.0.1 9109")
ASK_SECONDS = holder._ASK_SECONDS
MEMBER = (sys.executable, str(Path(__file__).parent / "programs" / "member.py"), SERVICE)


class Member:
    """Another worker."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def does(self, command: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def has_written(self) -> bool:
        found = Files(SERVICE).members()
        return any(TOTALS in files for one, files in found.items() if one.pid == self.process.pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def another(stack: ExitStack, *, calls: int = 0, ask_seconds: float = 60.0) -> Member:
    """Start a worker; by default it has the patience that a busy machine needs."""
    member = Member(stack.enter_context(started((*MEMBER, str(ask_seconds)))))
    if calls:
        member.does(f"call {calls}")
    member.does("join")
    return member


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


def calls(gathered: Gathered | None) -> int:
    assert gathered is not None
    return sum(part.figures.succeeded for part in gathered.merged["tools"].values())


def test_one_holds_the_port_and_sees_the_others(group: WorkerGroup, stack: ExitStack) -> None:
    assert group.gathered(FIGURES) is None  # alone
    other = another(stack, calls=7)
    assert other.does("join") is False
    gathered = group.gathered(FIGURES)
    assert calls(gathered) == 12
    assert gathered is not None
    assert [item.state for item in gathered.workers] == ["holds the port", REACHED]
    other.does("call 3")
    assert calls(group.gathered(FIGURES)) == 15
    assert other.does("counted") == [15, 0]  # whoever is asked sees all
    folder = Path(Files(SERVICE).folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_port_passes_on_with_all_counts(group: WorkerGroup, stack: ExitStack) -> None:
    first, second = another(stack, calls=7), another(stack, calls=11)
    assert calls(group.gathered(FIGURES)) == 23
    group.end()
    now, other = (
        (first, second) if wait_for(lambda: _holds(first, second)) is first else (second, first)
    )
    assert now.does("counted") == [23, 0]  # of the one that left, what it wrote
    now.kill()
    assert other.does("holds 10") is True
    assert wait_for(lambda: other.does("counted")) == [23, 1]


def test_the_port_of_the_service_is_known_to_who_takes_it_over_and_to_nobody_later(
    group: WorkerGroup, stack: ExitStack
) -> None:
    assert group.kept_port("json") is None
    group.keep_port("json", 9110)
    group.keep_port("prometheus", 9111)
    other = another(stack)
    assert other.does("port") is None  # it holds none
    group.end()
    assert other.does("holds 60") is True
    assert other.does("port") == [9110, True]  # this process is about to leave it
    other.kill()
    later = another(stack)  # the service begins again
    assert later.does("join") is True
    assert later.does("port") is None


@pytest.mark.parametrize("noted", ["", "{", "[1]", '{"json": "1"}', '{"json": 70000}'])
def test_a_port_that_cannot_be_one_is_not_believed(noted: str, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(noted)
    hold = Hold(str(path))
    assert hold.take()
    group = WorkerGroup(SERVICE, Ledger(Recorder(), []), str, lambda: None)
    group._ports = hold.noted()
    assert group.kept_port("json") is None
    hold.free()


def _holds(*found: Member) -> Member | None:
    return next((one for one in found if one.does("holds 0")), None)


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
    group.taken(FIGURES)  # for a request that is answered yet
    group.write(is_last=True)
    written = {path.name.partition("-")[0] for path in own.parent.glob(f"*{TOTALS}")}
    assert not written & {"0", str(os.getpid())}


def test_who_has_left_takes_no_port_any_more(group: WorkerGroup) -> None:
    group.end()  # as a thread of this process was about to take the place of another worker
    assert not group.join()
    group.forked()  # a child begins anew
    assert group.join()


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


LISTENER = """
import os, socket, sys, time
path, hang = sys.argv[1], sys.argv[2] == "hang"
listener = socket.socket(socket.AF_UNIX)
os.chdir(os.path.dirname(path))
start = open("/proc/self/stat", "rb").read().rpartition(b")")[2].split()[19].decode()
listener.bind(f"{os.getpid()}-{start}-{os.path.basename(path)}")
listener.listen()
print("ready", flush=True)
answer = sys.stdin.buffer.read()
while True:
    line = listener.accept()[0]
    line.recv(4096)
    try:
        while not hang:
            line.sendall(answer)
            if len(answer) < 1000000:
                break
    except OSError:
        pass
    if hang:
        time.sleep(1000)
"""


def lies(stack: ExitStack, answer: bytes, *, hangs: bool = False) -> subprocess.Popen[bytes]:
    path = os.path.join(Files(SERVICE).folder, SERVICE + SOCKET)
    command = (sys.executable, "-c", LISTENER, path, "hang" if hangs else "")
    process = stack.enter_context(started(command))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    process.stdin.write(answer)
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\x00\x00\x00\x02{}",
        b"\xff\xff\xff\xff" + b"x" * 2_000_000,
        b"\x00\x03\x0d\x40" + b"[" * 200_000,
        framed({"at": 1.0, "sections": {"tools": [True, [["search"]]]}}),
        framed({"at": 1.0, "sections": {"no such": [True, []]}}),
        framed({"at": "now", "sections": {}}),
        framed({"sections": None}),
        framed({"at": 0.5, "sections": {"tools": None}}).replace(b"0.5", b"1e9999", 1),
    ],
    ids=range(10),
)
def test_a_worker_that_answers_nonsense_is_named_and_nothing_else(
    answer: bytes, group: WorkerGroup, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "_ASK_SECONDS", ASK_SECONDS)
    process = lies(stack, answer)
    began = time.monotonic()
    gathered = group.gathered(FIGURES)
    assert time.monotonic() - began < 20  # 0.3 s where nothing else runs
    assert calls(gathered) == 5
    assert gathered is not None
    assert [(item.pid, item.state) for item in gathered.workers[1:]] == [(process.pid, NOT_REACHED)]
    assert gathered.workers[1].reason
    assert math.isfinite(gathered.workers[1].age_seconds)  # as JSON has it


def test_one_that_hangs_delays_no_answer_for_long(
    group: WorkerGroup, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holder, "_ASK_SECONDS", ASK_SECONDS)
    lies(stack, b"", hangs=True)
    other = another(stack, calls=7)

    def has_answered() -> bool:
        """Return whether the other worker was reached: on a busy machine it may be late."""
        gathered = group.gathered(FIGURES)
        assert gathered is not None
        states = {item.pid: item.state for item in gathered.workers[1:]}
        own = states.pop(other.process.pid)
        assert [*states.values()] == [NOT_REACHED]
        return own == REACHED and calls(gathered) == 12

    for _ in range(2):
        wait_for(has_answered)


def test_one_that_owes_an_answer_is_not_waited_for_again(
    group: WorkerGroup, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, silent = another(stack, calls=7), another(stack, calls=3)
    assert calls(group.gathered(FIGURES)) == 15
    monkeypatch.setattr(holder, "_ASK_SECONDS", ASK_SECONDS)
    monkeypatch.setattr(holder, "_TRUSTED_SECONDS", 1e9)
    read: list[int] = []
    totals = Holder._totals

    def watched(self: Holder, of: members.Member) -> object:
        read.append(of.pid)
        return totals(self, of)

    monkeypatch.setattr(Holder, "_totals", watched)
    stop(silent.process.pid)
    group.gathered(FIGURES)
    other.does("call 1")
    began = time.monotonic()
    found = [group.gathered(FIGURES) for _ in range(40)]
    assert time.monotonic() - began < 8  # 10 s if each had waited a quarter of a second
    assert min(map(calls, found)) >= 15  # nothing is taken back
    assert not read  # the last answer is new enough
    monkeypatch.setattr(holder, "_TRUSTED_SECONDS", 0.0)
    group.gathered(FIGURES)
    assert silent.process.pid in read
    wait_for(lambda: calls(group.gathered(FIGURES)) == 16)
    silent.process.send_signal(signal.SIGCONT)
    wait_for(lambda: _states(group.gathered(FIGURES)) == {REACHED})


def _states(gathered: Gathered | None) -> set[str]:
    assert gathered is not None
    return {item.state for item in gathered.workers[1:]}


def test_a_socket_of_another_process_is_not_asked(group: WorkerGroup, stack: ExitStack) -> None:
    sleeper = stack.enter_context(started(["sleep", "60"]))
    files = Files(SERVICE)
    folder = os.getcwd()
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    os.chdir(files.folder)
    try:
        listener.bind(os.path.basename(files.name(members.member(sleeper.pid), SOCKET)))
    finally:
        os.chdir(folder)
    listener.listen()
    gathered = group.gathered(FIGURES)
    assert gathered is not None
    assert gathered.workers[1].reason == "another process listens there"


@pytest.mark.faults
def test_files_that_are_none_of_ours_are_left_out(
    group: WorkerGroup, stack: ExitStack, tmp_path: Path
) -> None:
    ended = stack.enter_context(started(["true"]))
    ended.wait()
    files = Files(SERVICE)
    secret = tmp_path / "secret"
    secret.write_text("mine")
    for number, text in enumerate([b"", b"{}", b"[" * 100_000, b'{"version": 1, "head": 5}']):
        Path(files.folder, f"{ended.pid}-{number + 1}-{SERVICE}{TOTALS}").write_bytes(text)
    Path(files.folder, f"{ended.pid}-9-{SERVICE}{TOTALS}").symlink_to(secret)
    Path(files.folder, f"x-y-{SERVICE}{TOTALS}").write_bytes(b"?")
    another(stack, calls=1)
    assert calls(group.gathered(FIGURES)) == 6
    assert secret.read_text() == "mine"


def test_what_another_version_left_behind_is_removed_without_a_word(stack: ExitStack) -> None:
    files = Files(SERVICE)
    text = b'{"version":0,"head":{},"sections":{}}'
    whole = struct.pack(">II", len(text) + 4, len(text)) + text
    earlier = struct.pack(">I", len(text)) + text
    for number, left in enumerate((whole, earlier, text)):
        Path(files.name(members.Member(2**22 + 1, number), TOTALS)).write_bytes(left)
    Path(files.past).write_bytes(earlier)
    group = WorkerGroup(SERVICE, Ledger(Recorder(), []), str, lambda: None)
    stack.callback(group.end)
    assert group.join()
    assert faults.fault_counts() == {}
    found = {path.name for path in Path(files.folder).iterdir()}
    assert not [name for name in found if name.startswith("4194305-") or name.endswith(".past")]


def test_a_worker_asks_no_more_of_a_line_than_a_question(
    group: WorkerGroup, stack: ExitStack
) -> None:
    other = another(stack, calls=7)
    path = Files(SERVICE).name(members.member(other.process.pid), SOCKET)

    for question in (
        b"\xff" * 5000,
        b"\x00\x00\x00\x02{}",
        framed({"sections": 5}),
        b"GET / HTTP",
    ):
        line = Line(members.member(other.process.pid), path)
        try:
            line.ask(question)
        finally:
            line.close()
    assert calls(group.gathered(FIGURES)) == 12


def test_a_forked_child_takes_no_part_until_it_joins(group: WorkerGroup) -> None:
    pid = os.fork()
    if not pid:
        try:
            group.forked()
            code = 0 if not group.has_joined and not group.join() else 1
            group.end()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert group.join()  # it still holds the port
