"""A worker believes nothing that it is told: wrong answers, late ones, and files of others."""

from __future__ import annotations

import math
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
import tracemalloc
from contextlib import ExitStack
from pathlib import Path

import pytest

from metertap import faults
from metertap.recording import Recorder
from metertap.workers import holder, members
from metertap.workers.group import WorkerGroup
from metertap.workers.holder import NOT_REACHED, REACHED, Gathered, Holder
from metertap.workers.holding import Hold
from metertap.workers.ledger import Ledger
from metertap.workers.lines import Incoming, Line, ask_all
from metertap.workers.members import SOCKET, TOTALS, Files
from metertap.workers.sections import FIGURES
from metertap.workers.wire import MOST_BYTES, framed
from support.members import ASK_SECONDS, SERVICE, another, calls
from support.programs import started
from support.waiting import stop, wait_for

pytestmark = pytest.mark.programs
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


def test_of_a_wrong_answer_nothing_stays(stack: ExitStack) -> None:
    process = lies(stack, b"\x00\x03\x0d\x40" + b"[" * 200_000)
    other = members.member(process.pid)
    line = Line(other, Files(SERVICE).name(other, SOCKET))
    stack.callback(line.close)
    failed = ask_all([line], framed({"sections": []}), 60.0, lambda _member, _message: None)
    assert (failed[other].__traceback__, failed[other].__context__) == (None, None)


def test_of_an_answer_that_breaks_off_nothing_stays() -> None:
    line = Line(members.member(os.getpid()), "")
    at_first = len(line._incoming._bytes)
    ours, its = socket.socketpair()
    with ours, its:
        line.socket = ours
        its.sendall(struct.pack(">I", MOST_BYTES) + b"x" * 100_000)
        its.close()
        with pytest.raises(ConnectionError):
            any(line.take() for _ in range(99))
        assert len(line._incoming._bytes) > at_first
        line.close()
    assert len(line._incoming._bytes) == at_first


def test_a_length_alone_takes_no_memory() -> None:
    ours, its = socket.socketpair()
    with ours, its:
        its.sendall(struct.pack(">I", MOST_BYTES) + b"x")
        tracemalloc.start()
        try:
            incoming = Incoming(MOST_BYTES)
            for _ in range(3):
                assert incoming.take(ours) is None
                its.sendall(b"x")
            assert tracemalloc.get_traced_memory()[1] < 100_000
        finally:
            tracemalloc.stop()


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


@pytest.mark.parametrize("umask", [0, 0o777])
def test_files_of_workers_are_their_users_whatever_the_umask(umask: int) -> None:
    before = os.umask(umask)
    try:
        files = Files(SERVICE)
        written = files.name(members.me(), TOTALS)
        files.write(written, b"totals")
        held = Hold(files.lock)
        assert held.take()
        for path in (written, files.lock):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
        held.free(remove=True)
    finally:
        os.umask(before)
    members.remove(written)
